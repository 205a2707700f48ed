//! What runs: a view of /proc, and whose it is.
//!
//! What runs in a pid namespace below ours is a container's, whatever its uid, unless the person made that namespace.
//! A process is meant by its pid and start time together, so that a reused pid is never signalled.

mod whose;

pub use whose::Whose;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::command::timespec;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// `PF_KTHREAD` among the flags in /proc/PID/stat.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its parent's pid.
    pub parent: i32,
    /// Its process group, by its leader's pid.
    pub group: i32,
    /// When it started, in clock ticks after boot.
    pub started: u64,
    /// Real, effective, saved and file system uid.
    pub uids: [u32; 4],
    /// The uid that logged in, where the kernel keeps it.
    pub login_uid: Option<u32>,
    /// The uid whose slice it is in, where logind put it into one. A container's own slices do not count.
    pub slice_uid: Option<u32>,
    /// Where its pid is from.
    pub pid_namespace: PidNamespace,
    /// Where its uids are from.
    pub user_namespace: UserNamespace,
}

/// Where a process has its pid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidNamespace {
    /// Ours.
    Ours,
    /// One below ours, as in a container.
    Below,
}

/// Where a process has its uids from. The owner of a namespace can be asked for only by those who may trace what is in
/// it; what everybody may read is its map, and who has no privileges can map only himself (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// Ours.
    Ours,
    /// One that whoever has this uid made: it is all that is mapped, or it is root there.
    MadeBy(u32),
    /// One that nothing is mapped in: whoever is in it made it.
    Unmapped,
    /// Another, such as a container's.
    Other,
}

impl Process {
    /// Whose it is among `uids`, by itself.
    fn owner(&self, whose: &Whose) -> Option<u32> {
        let own_uids: &[u32] = match (self.pid_namespace, self.user_namespace) {
            (PidNamespace::Ours, _) | (_, UserNamespace::Unmapped) => &self.uids,
            (PidNamespace::Below, _) => &[],
        };
        // In a container, sshd of the container's may have set it.
        let login_uid = self.login_uid.filter(|_| self.pid_namespace == PidNamespace::Ours);
        let made_by = match self.user_namespace {
            UserNamespace::MadeBy(uid) => Some(uid),
            _ => None,
        };
        let known = own_uids.iter().copied().chain(self.slice_uid).chain(login_uid).chain(made_by);
        let known = known.into_iter().find(|uid| whose.uids().contains(uid));
        // These ids are nobody else's anywhere on the host, in whatever namespaces.
        known.or_else(|| self.uids.iter().find_map(|uid| whose.above(*uid)))
    }
}

/// What others are compared with.
struct Ours {
    /// Our own uid_map; empty where it cannot be read.
    uid_map: String,
    /// The cgroup that systemd, if it is pid 1, sees as its root: empty, or a path.
    cgroup: String,
}

/// Reads /proc.
#[derive(Clone, Debug)]
pub struct Processes {
    proc: PathBuf,
}

impl Processes {
    /// `proc` is `/proc`.
    pub fn new(proc: PathBuf) -> Processes {
        Processes { proc }
    }

    /// All processes that can still run: no zombies, no threads of the kernel's.
    pub fn all(&self) -> Vec<Process> {
        let ours = self.ours();
        self.pids().filter_map(|pid| self.read(pid, &ours)).collect()
    }

    /// Which of them have a process, as far as a look tells: who forks fast enough is not seen by it.
    pub fn running(&self, whose: &Whose) -> BTreeSet<u32> {
        let ours = self.ours();
        // Not by the owner of /proc/PID, which is root where a process may not be traced, such as ssh-agent.
        self.pids().filter_map(|pid| self.read(pid, &ours)?.owner(whose)).collect()
    }

    fn pids(&self) -> impl Iterator<Item = i32> {
        std::fs::read_dir(&self.proc)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// One process, `None` where it is gone or a zombie.
    pub fn one(&self, pid: i32) -> Option<Process> {
        self.read(pid, &self.ours())
    }

    fn ours(&self) -> Ours {
        let text = |name: &str| {
            let bytes = std::fs::read(self.proc.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ours { uid_map: text("self/uid_map"), cgroup: root_cgroup(&text("1/cgroup")) }
    }

    fn read(&self, pid: i32, ours: &Ours) -> Option<Process> {
        let directory = self.proc.join(pid.to_string());
        let text = |name: &str| {
            let bytes = std::fs::read(directory.join(name)).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let stat = parse_stat(&text("stat")?)?;
        let (uids, pid_namespace) = parse_status(&text("status")?)?;
        let login_uid =
            text("loginuid").and_then(|text| text.trim().parse().ok()).filter(|uid| *uid != u32::MAX);
        let slice_uid = text("cgroup").and_then(|text| match pid_namespace {
            PidNamespace::Ours => slice_uid(&text),
            PidNamespace::Below => slice_uid_below(&text, &ours.cgroup),
        });
        let user_namespace = match text("uid_map") {
            Some(map) => parse_uid_map(&map, &ours.uid_map),
            None => UserNamespace::Ours,
        };
        let Stat { parent, group, started } = stat;
        Some(Process {
            pid,
            parent,
            group,
            started,
            uids,
            login_uid,
            slice_uid,
            pid_namespace,
            user_namespace,
        })
    }

    /// Signals exactly this process; answers with a descriptor to wait on. That it is gone already is no error.
    pub fn signal(&self, process: &Process, signal: Signal) -> Result<Option<OwnedFd>, Errno> {
        let Some(pidfd) = self.open(process)? else {
            return Ok(None);
        };
        match pidfd_send_signal(&pidfd, signal) {
            Ok(()) => Ok(Some(pidfd)),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A descriptor for exactly this process, `None` where it is gone.
    pub fn open(&self, process: &Process) -> Result<Option<OwnedFd>, Errno> {
        let Some(pid) = Pid::from_raw(process.pid) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Looked at after the descriptor holds it: it is the one that was seen, or it is not.
        let stat = std::fs::read(self.proc.join(process.pid.to_string()).join("stat"));
        let same = stat
            .ok()
            .and_then(|bytes| parse_stat(&String::from_utf8_lossy(&bytes)))
            .is_some_and(|stat| stat.started == process.started);
        Ok(same.then_some(pidfd))
    }
}

/// Waits until all of `pidfds` have ended, or for `limit`.
pub fn await_ends(mut pidfds: Vec<OwnedFd>, limit: Duration) {
    let deadline = Instant::now() + limit;
    while !pidfds.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut waits: Vec<PollFd> = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut waits, Some(&timespec(left))) {
            Ok(0) => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let ended: Vec<bool> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
        let mut ended = ended.into_iter();
        pidfds.retain(|_| !ended.next().unwrap_or(false));
    }
}

/// The processes that belong to them, and to which uid: under the uid or its subordinate ids, in its slice, of its login, in a user namespace of
/// its making, and all that descend from these (what sudo started runs as root). Of pid namespaces below ours those in
/// the uid's slice, in a user namespace of its making, or with an ancestor that is theirs: others only have the number.
/// Never pid 1, nor we ourselves and those we descend from.
pub fn belonging<'a>(all: &'a [Process], whose: &Whose, own: i32) -> Vec<(&'a Process, u32)> {
    let mut owners: BTreeMap<i32, u32> = all.iter().filter_map(|p| Some((p.pid, p.owner(whose)?))).collect();
    if owners.is_empty() {
        return Vec::new();
    }
    loop {
        let children: Vec<(i32, u32)> = all
            .iter()
            .filter(|p| !owners.contains_key(&p.pid))
            .filter_map(|p| Some((p.pid, *owners.get(&p.parent)?)))
            .collect();
        if children.is_empty() {
            break;
        }
        owners.extend(children);
    }
    let spared = ancestors(all, own);
    all.iter().filter(|p| !spared.contains(&p.pid)).filter_map(|p| Some((p, *owners.get(&p.pid)?))).collect()
}

/// We ourselves, those we descend from, and pid 1.
fn ancestors(all: &[Process], own: i32) -> BTreeSet<i32> {
    let parents: BTreeMap<i32, i32> = all.iter().map(|p| (p.pid, p.parent)).collect();
    let mut ancestors = BTreeSet::from([1]);
    let mut next = Some(own);
    while let Some(pid) = next.filter(|pid| ancestors.insert(*pid)) {
        next = parents.get(&pid).copied();
    }
    ancestors
}

/// What /proc/PID/stat says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    group: i32,
    started: u64,
}

/// `None` for a zombie, and for a thread of the kernel's. The name in parentheses may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X" | "x") {
        return None;
    }
    if fields.get(6)?.parse::<u64>().ok()? & KERNEL_THREAD != 0 {
        return None;
    }
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The uids out of /proc/PID/status, as they are in our user namespace, and where the pid is from.
fn parse_status(text: &str) -> Option<([u32; 4], PidNamespace)> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let below = line("NSpid:").is_some_and(|pids| pids.split_ascii_whitespace().count() > 1);
    let uids: Vec<u32> = line("Uid:")?.split_ascii_whitespace().filter_map(|uid| uid.parse().ok()).collect();
    let namespace = if below { PidNamespace::Below } else { PidNamespace::Ours };
    Some((uids.try_into().ok()?, namespace))
}

/// Who made the user namespace that a process is in, out of its /proc/PID/uid_map, where ours reads `ours`. The second
/// number of a line is a uid of our namespace, however deep the other is.
fn parse_uid_map(text: &str, ours: &str) -> UserNamespace {
    if text == ours || ours.is_empty() {
        return UserNamespace::Ours;
    }
    let lines: Vec<Vec<u32>> = text
        .lines()
        .map(|line| line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect())
        .collect();
    match lines.as_slice() {
        [] => UserNamespace::Unmapped,
        [only] if only.len() == 3 && only[2] == 1 => UserNamespace::MadeBy(only[1]),
        // With subordinate uids besides, as rootless containers have it.
        lines => match lines.iter().find(|line| line.len() == 3 && line[0] == 0 && line[2] == 1) {
            Some(root) if root[1] != 0 => UserNamespace::MadeBy(root[1]),
            _ => UserNamespace::Other,
        },
    }
}

/// The root of systemd's cgroups, out of /proc/1/cgroup.
fn root_cgroup(text: &str) -> String {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.filter_map(|path| path.strip_suffix("/init.scope")).next().unwrap_or_default().to_owned()
}

/// The uid whose slice of ours a process of a namespace below is in. A container's logind makes slices as well, below
/// the container's own cgroup.
fn slice_uid_below(text: &str, root: &str) -> Option<u32> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let slices = paths.filter_map(|path| path.strip_prefix(root)?.strip_prefix("/user.slice/"));
    slices.filter_map(slice_uid).next()
}

/// The uid out of a component `user-UID.slice` of /proc/PID/cgroup. systemd's own program that removes the user's
/// runtime directory is there as well: killed, it would leave a failed unit behind.
fn slice_uid(text: &str) -> Option<u32> {
    let mut components = text.split(['/', '\n']);
    let uid = components
        .find_map(|component| component.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok())?;
    let helper = format!("user-runtime-dir@{uid}.service");
    (components.next() != Some(&helper)).then_some(uid)
}

/// Our own pid.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Whether there is such a directory entry at all.
pub(crate) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, uid: u32) -> Process {
        Process {
            pid,
            parent,
            group: pid,
            started: 1,
            uids: [uid; 4],
            login_uid: None,
            slice_uid: None,
            pid_namespace: PidNamespace::Ours,
            user_namespace: UserNamespace::Ours,
        }
    }

    fn pids(processes: &[(&Process, u32)]) -> Vec<i32> {
        processes.iter().map(|(p, _)| p.pid).collect()
    }

    #[test]
    fn what_sudo_started_belongs_to_its_caller() {
        let all = [
            process(1, 0, 0),
            process(10, 1, 0),
            process(20, 10, 70_001),
            process(21, 20, 0),
            process(22, 21, 0),
            process(30, 10, 70_002),
        ];
        assert_eq!(pids(&belonging(&all, &[70_001].into(), 999)), [20, 21, 22]);
    }

    #[test]
    fn slice_and_login_count_although_the_parent_is_gone() {
        let mut in_slice = process(40, 1, 0);
        in_slice.slice_uid = Some(70_001);
        let mut of_login = process(41, 1, 0);
        of_login.login_uid = Some(70_001);
        let mut root_uid_is_real_only = process(42, 1, 0);
        root_uid_is_real_only.uids[0] = 70_001;
        let all = [process(1, 0, 0), in_slice, of_login, root_uid_is_real_only, process(43, 1, 0)];
        assert_eq!(pids(&belonging(&all, &[70_001].into(), 999)), [40, 41, 42]);
    }

    #[test]
    fn neither_init_nor_we_are_ever_theirs() {
        let all = [process(1, 0, 70_001), process(50, 1, 70_001), process(51, 50, 0)];
        assert_eq!(pids(&belonging(&all, &[70_001].into(), 51)), Vec::<i32>::new());
    }

    #[test]
    fn proc_is_read_as_the_kernel_writes_it() {
        let stat = "42 (a) Z b) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        assert_eq!(parse_stat(stat), Some(Stat { parent: 7, group: 42, started: 12345 }));
        let kernel = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 20 0 0";
        assert_eq!(parse_stat(kernel), None);
        assert_eq!(parse_stat("42 (x) Z 7 42 42 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 5 0"), None);
        let uids = [1, 2, 3, 4];
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nNSpid:\t42\n";
        assert_eq!(parse_status(status), Some((uids, PidNamespace::Ours)));
        assert_eq!(parse_status("Uid:\t1\t2\t3\t4\nNSpid:\t42\t1\n"), Some((uids, PidNamespace::Below)));
        assert_eq!(slice_uid("0::/user.slice/user-70001.slice/session-3.scope\n"), Some(70_001));
        assert_eq!(slice_uid("0::/system.slice/ssh.service\n"), None);
        let helper = "0::/user.slice/user-70001.slice/user-runtime-dir@70001.service\n";
        assert_eq!(slice_uid(helper), None);
        let pretender = "0::/user.slice/user-7.slice/user@7.service/user-runtime-dir@7.service\n";
        assert_eq!(slice_uid(pretender), Some(7));
    }

    #[test]
    fn who_made_a_user_namespace_is_told_by_its_map() {
        const OURS: &str = "         0          0 4294967295\n";
        let maps = [
            (OURS, UserNamespace::Ours),
            ("0 70001 1\n", UserNamespace::MadeBy(70_001)),
            ("70001 70001 1\n", UserNamespace::MadeBy(70_001)),
            ("0 70001 1\n1 100000 65536\n", UserNamespace::MadeBy(70_001)),
            ("", UserNamespace::Unmapped),
            // A container of root's, one that shares a uid with us, and a service with `PrivateUsers=`.
            ("0 100000 65536\n", UserNamespace::Other),
            ("0 100000 1000\n1000 70001 1\n1001 101001 64535\n", UserNamespace::Other),
            ("0 0 1\n70001 70001 1\n", UserNamespace::Other),
        ];
        for (map, expected) in maps {
            assert_eq!(parse_uid_map(map, OURS), expected, "{map:?}");
        }
        assert_eq!(parse_uid_map("0 70001 1\n", ""), UserNamespace::Ours);
    }

    #[test]
    fn of_namespaces_below_only_what_the_person_made_is_theirs() {
        let below =
            |pid, parent, uid| Process { pid_namespace: PidNamespace::Below, ..process(pid, parent, uid) };
        let mut of_login = below(20, 1, 70_001);
        of_login.login_uid = Some(70_001);
        let mut in_slice = below(21, 1, 0);
        in_slice.slice_uid = Some(70_001);
        let mut made = below(22, 1, 100_005);
        made.user_namespace = UserNamespace::MadeBy(70_001);
        let mut unmapped = below(23, 1, 70_001);
        unmapped.user_namespace = UserNamespace::Unmapped;
        let mut of_others = below(24, 1, 70_002);
        of_others.user_namespace = UserNamespace::MadeBy(70_002);
        let all = [
            process(1, 0, 0),
            process(10, 1, 70_001),
            below(11, 10, 0),
            below(12, 11, 70_002),
            of_login,
            in_slice,
            made,
            unmapped,
            of_others,
            below(25, 24, 70_001),
        ];
        assert_eq!(pids(&belonging(&all, &[70_001].into(), 999)), [10, 11, 12, 21, 22, 23]);
    }

    #[test]
    fn a_containers_slices_are_not_ours() {
        let own = "0::/user.slice/user-70001.slice/session-3.scope\n";
        let containers = "0::/machine.slice/x.scope/user.slice/user-70001.slice/session-3.scope\n";
        assert_eq!(slice_uid_below(own, ""), Some(70_001));
        assert_eq!(slice_uid_below(containers, ""), None);
        assert_eq!(
            root_cgroup("1:name=systemd:/lab/host/init.scope\n0::/lab/host/init.scope\n"),
            "/lab/host"
        );
        assert_eq!(root_cgroup("0::/init.scope\n"), "");
        assert_eq!(slice_uid_below("0::/lab/host/user.slice/user-7.slice/x\n", "/lab/host"), Some(7));
        assert_eq!(slice_uid_below(own, "/lab/host"), None);
    }

    #[test]
    fn we_are_seen_ourselves() {
        let processes = Processes::new("/proc".into());
        let own = processes.one(own_pid()).expect("we run");
        assert!(processes.all().contains(&own));
        assert!(processes.open(&own).expect("a descriptor").is_some());
        let other = Process { started: own.started + 1, ..own };
        assert!(processes.open(&other).expect("no error").is_none());
    }
}
