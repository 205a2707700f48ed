//! Ends everything that runs under a uid: linger off, sessions terminated so that PAM closes them, then killed.

mod strike;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hostward_plan::Ledger;
use hostward_protocol::report::{Finding, Responsible};

use crate::bus;
use crate::finding::{chain, finding};
use crate::processes::{Process, Processes, Whose, await_ends, belonging, exists, own_pid};
use crate::root::Root;
use rustix::process::Signal;
use strike::{Blow, NOBODYS, Reach, strike};

/// Where logind keeps who has a session, by uid.
pub const LOGIND_USERS: &str = "/run/systemd/users";
/// Where logind keeps who lingers, by name.
pub const LINGER: &str = "/var/lib/systemd/linger";
/// How long sessions may take to close on their own.
const GRACE: Duration = Duration::from_millis(300);
/// How long the killing may go on against processes that start others.
const LIMIT: Duration = Duration::from_secs(5);
/// So many looks in a row, each after a pause, must find nothing: one may miss what forks and ends at once.
const QUIET_LOOKS: usize = 3;
/// The pause between looks that find nothing.
const PAUSE: Duration = Duration::from_millis(10);
/// Descriptors that are waited on at once.
const MAX_WAITS: usize = 256;

/// Whose sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// The uid.
    pub uid: u32,
    /// The name it had.
    pub name: String,
    /// The uid, with the subordinate ids that go with it.
    pub whose: Whose,
}

impl Leaver {
    /// Whoever has this uid, with what the ledger knows of them.
    pub fn new(uid: u32, name: &str, ledger: &Ledger) -> Self {
        let mut whose = Whose::default();
        whose.add(uid, ledger.people.get(&uid));
        Leaver { uid, name: name.to_owned(), whose }
    }
}

/// Ends what runs under the uids of `leavers`, all at the same time. For each uid: how many processes ended, or what is left.
pub fn end(root: &Root, leavers: &[Leaver]) -> BTreeMap<u32, Result<usize, Finding>> {
    let processes = Processes::new(root.path("/proc"));
    let mut uids = Whose::default();
    leavers.iter().for_each(|leaver| uids.extend(leaver.whose.clone()));
    let mut seen = Seen::default();
    // Before anything is terminated: what sudo started can be told by its parent only while that lives.
    let before = seen.look(&processes, &uids);
    let (with_session, without): (Vec<&Leaver>, Vec<&Leaver>) =
        leavers.iter().partition(|leaver| exists(&logind_user(root, leaver.uid)));
    leavers.iter().for_each(|leaver| stop_lingering(root, leaver));
    if !before.is_empty() || !with_session.is_empty() {
        close(root, &processes, &before, &with_session, &without);
    }
    // Also where nothing was seen: what forks fast enough is not.
    kill(&processes, &uids, &mut seen);
    let left = processes.all();
    let left = belonging(&left, &uids, own_pid());
    let ended = seen.counts();
    let outcome = |leaver: &Leaver| match left.iter().filter(|(_, uid)| *uid == leaver.uid).count() {
        0 => Ok(ended.get(&leaver.uid).copied().unwrap_or(0)),
        left => Err(survivors(leaver, left)),
    };
    leavers.iter().map(|leaver| (leaver.uid, outcome(leaver))).collect()
}

/// Lets PAM close sessions, for as long as that may take.
fn close(
    root: &Root,
    processes: &Processes,
    before: &[Process],
    with_session: &[&Leaver],
    without: &[&Leaver],
) {
    for leaver in with_session {
        bus::logind(root, "TerminateUser", "u", &[&leaver.uid.to_string()]);
    }
    for leaver in without {
        terminate(processes, before, leaver.uid);
    }
    let pidfds =
        before.iter().take(MAX_WAITS).filter_map(|process| processes.open(process).ok().flatten()).collect();
    // What is left then is killed, but not by logind's KillUser: that would also hit systemd's own program that removes
    // the user's runtime directory, and leave a failed unit behind.
    await_ends(pidfds, GRACE);
}

/// Without logind: asks the user's own processes, sshd's among them, so that root's monitor closes the PAM session.
fn terminate(processes: &Processes, before: &[Process], uid: u32) {
    for process in before.iter().filter(|process| process.uids[0] == uid) {
        let _ = processes.signal(process, Signal::HUP);
        let _ = processes.signal(process, Signal::TERM);
    }
}

/// Kills what has appeared since, once more, for uids that nobody has now.
pub fn end_again(root: &Root, whose: &Whose) {
    let processes = Processes::new(root.path("/proc"));
    kill(&processes, whose, &mut Seen::default());
}

fn kill(processes: &Processes, whose: &Whose, seen: &mut Seen) {
    let deadline = Instant::now() + LIMIT;
    let mut quiet = 0;
    let mut first = true;
    loop {
        let all = processes.all();
        let found = seen.note(&all, whose);
        if found.is_empty() {
            quiet += 1;
        } else {
            quiet = 0;
        }
        if (quiet >= QUIET_LOOKS && !first) || Instant::now() > deadline {
            return;
        }
        if first || !found.is_empty() {
            let nobodys = NOBODYS.into_iter().filter(|nobody| all.iter().all(|p| !p.uids.contains(nobody)));
            if let Err(error) = strike(blows(&all, whose), nobodys.collect()) {
                log::warn!("cannot end everything under a uid at one stroke: {}", chain(&error));
            }
        }
        first = false;
        let mut pidfds = Vec::new();
        for process in &found {
            match processes.signal(process, Signal::KILL) {
                Ok(Some(pidfd)) if pidfds.len() < MAX_WAITS => pidfds.push(pidfd),
                Ok(_) => {}
                Err(error) => log::warn!("cannot kill process {}: {error}", process.pid),
            }
        }
        if found.is_empty() {
            std::thread::sleep(PAUSE);
        } else {
            await_ends(pidfds, Duration::from_millis(100));
        }
    }
}

/// How each of the uids is struck without hitting anybody else: a container's process that has the number, or one that we
/// descend from. Where there is one, only the process groups are that none of these is in.
fn blows(all: &[Process], whose: &Whose) -> Vec<Blow> {
    let ending: BTreeSet<i32> =
        belonging(all, whose, own_pid()).into_iter().map(|(process, _)| process.pid).collect();
    let mut own: BTreeMap<u32, BTreeSet<i32>> = BTreeMap::new();
    let mut foreign: BTreeMap<u32, BTreeSet<i32>> = BTreeMap::new();
    for process in all {
        let groups = if ending.contains(&process.pid) { &mut own } else { &mut foreign };
        for uid in process.uids.iter().filter(|uid| whose.uids().contains(uid)) {
            groups.entry(*uid).or_default().insert(process.group);
        }
    }
    let reach = |uid| match foreign.get(&uid) {
        None => Reach::All,
        Some(foreign) => Reach::Groups(
            own.get(&uid).into_iter().flatten().copied().filter(|g| !foreign.contains(g)).collect(),
        ),
    };
    whose.uids().iter().map(|uid| Blow { uid: *uid, reach: reach(*uid) }).collect()
}

/// Processes found so far, by pid and start time: a child of sudo stays theirs after its parent has ended.
#[derive(Default)]
struct Seen(BTreeMap<(i32, u64), u32>);

impl Seen {
    fn look(&mut self, processes: &Processes, whose: &Whose) -> Vec<Process> {
        self.note(&processes.all(), whose)
    }

    fn note(&mut self, all: &[Process], whose: &Whose) -> Vec<Process> {
        for (process, uid) in belonging(all, whose, own_pid()) {
            self.0.entry((process.pid, process.started)).or_insert(uid);
        }
        all.iter().filter(|p| self.0.contains_key(&(p.pid, p.started))).cloned().collect()
    }

    /// How many there were of each uid.
    fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for uid in self.0.values() {
            *counts.entry(*uid).or_default() += 1;
        }
        counts
    }
}

/// logind looks the user up by name first, who does not exist any more: the file is what counts.
fn stop_lingering(root: &Root, leaver: &Leaver) {
    if leaver.name.is_empty() || leaver.name.contains('/') || leaver.name.starts_with('.') {
        return;
    }
    let file = root.path(LINGER).join(&leaver.name);
    if !exists(&file) {
        return;
    }
    let uid = leaver.uid.to_string();
    bus::logind(root, "SetUserLinger", "ubb", &[&uid, "false", "false"]);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            log::warn!("cannot turn lingering off for uid {uid}: {error}");
        }
        _ => {}
    }
}

/// Where logind keeps what it knows of one user.
fn logind_user(root: &Root, uid: u32) -> std::path::PathBuf {
    root.path(LOGIND_USERS).join(uid.to_string())
}

fn survivors(leaver: &Leaver, left: usize) -> Finding {
    finding(
        Responsible::Host,
        "sessions-survive",
        format!("user `{}` (uid {})", leaver.name, leaver.uid),
        format!("{left} processes survived being killed"),
        "the next pass tries again; processes in uninterruptible sleep end when the device or server they wait for answers",
    )
}
