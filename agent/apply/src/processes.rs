//! What runs: a view of /proc, limited to our own pid namespace.
//!
//! A process is meant by its pid and start time together, so that a reused pid is never signalled.

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
    /// When it started, in clock ticks after boot.
    pub started: u64,
    /// Real, effective, saved and file system uid.
    pub uids: [u32; 4],
    /// The uid that logged in, where the kernel keeps it.
    pub login_uid: Option<u32>,
    /// The uid whose slice it is in, where logind put it into one.
    pub slice_uid: Option<u32>,
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

    /// All processes of our pid namespace that can still run: no zombies, none of a container's.
    pub fn all(&self) -> Vec<Process> {
        self.pids().filter_map(|pid| self.one(pid)).collect()
    }

    /// Whether anything of the user's is left in the slice of `uid`, in whatever pid namespace.
    pub fn any_in_slice(&self, uid: u32) -> bool {
        self.pids().any(|pid| {
            let cgroup = std::fs::read(self.proc.join(pid.to_string()).join("cgroup"));
            cgroup.is_ok_and(|bytes| slice_uid(&String::from_utf8_lossy(&bytes)) == Some(uid))
        })
    }

    /// Which of `uids` have a process, as far as a quick look tells.
    pub fn running(&self, uids: &BTreeSet<u32>) -> BTreeSet<u32> {
        use std::os::unix::fs::MetadataExt;
        let mut running = BTreeSet::new();
        for pid in self.pids() {
            let owner = std::fs::metadata(self.proc.join(pid.to_string())).map(|m| m.uid());
            if let Ok(uid) = owner
                && uids.contains(&uid)
                && !running.contains(&uid)
                && self.one(pid).is_some()
            {
                running.insert(uid);
            }
        }
        running
    }

    fn pids(&self) -> impl Iterator<Item = i32> {
        std::fs::read_dir(&self.proc)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// One process, `None` where it is gone, a zombie, or in a pid namespace below ours.
    pub fn one(&self, pid: i32) -> Option<Process> {
        let directory = self.proc.join(pid.to_string());
        let text = |name: &str| std::fs::read(directory.join(name)).ok();
        let (parent, started) = parse_stat(&String::from_utf8_lossy(&text("stat")?))?;
        let uids = parse_status(&String::from_utf8_lossy(&text("status")?))?;
        let login_uid = text("loginuid")
            .and_then(|bytes| String::from_utf8_lossy(&bytes).trim().parse().ok())
            .filter(|uid| *uid != u32::MAX);
        let slice_uid = text("cgroup").and_then(|bytes| slice_uid(&String::from_utf8_lossy(&bytes)));
        Some(Process { pid, parent, started, uids, login_uid, slice_uid })
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
            .is_some_and(|(_, started)| started == process.started);
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

/// The processes that belong to `uids`, and to which: under the uid, in its slice, of its login, and all that descend
/// from these (what sudo started runs as root). Never pid 1, nor we ourselves and those we descend from.
pub fn belonging<'a>(all: &'a [Process], uids: &BTreeSet<u32>, own: i32) -> Vec<(&'a Process, u32)> {
    let theirs = |p: &Process| {
        let known = p.uids.iter().copied().chain(p.slice_uid).chain(p.login_uid);
        known.into_iter().find(|uid| uids.contains(uid))
    };
    let mut owners: BTreeMap<i32, u32> = all.iter().filter_map(|p| Some((p.pid, theirs(p)?))).collect();
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

/// Parent and start time out of /proc/PID/stat; `None` for a zombie, and for a thread of the kernel's. The name in
/// parentheses may hold anything.
fn parse_stat(text: &str) -> Option<(i32, u64)> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X" | "x") {
        return None;
    }
    if fields.get(6)?.parse::<u64>().ok()? & KERNEL_THREAD != 0 {
        return None;
    }
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// The uids out of /proc/PID/status; `None` for a process of a pid namespace below ours.
fn parse_status(text: &str) -> Option<[u32; 4]> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    if line("NSpid:").is_some_and(|pids| pids.split_ascii_whitespace().count() > 1) {
        return None;
    }
    let uids: Vec<u32> = line("Uid:")?.split_ascii_whitespace().filter_map(|uid| uid.parse().ok()).collect();
    uids.try_into().ok()
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
        Process { pid, parent, started: 1, uids: [uid; 4], login_uid: None, slice_uid: None }
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
        assert_eq!(parse_stat(stat), Some((7, 12345)));
        let kernel = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 20 0 0";
        assert_eq!(parse_stat(kernel), None);
        assert_eq!(parse_stat("42 (x) Z 7 42 42 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 5 0"), None);
        assert_eq!(parse_status("Name:\tx\nUid:\t1\t2\t3\t4\nNSpid:\t42\n"), Some([1, 2, 3, 4]));
        assert_eq!(parse_status("Uid:\t1\t2\t3\t4\nNSpid:\t42\t1\n"), None);
        assert_eq!(slice_uid("0::/user.slice/user-70001.slice/session-3.scope\n"), Some(70_001));
        assert_eq!(slice_uid("0::/system.slice/ssh.service\n"), None);
        let helper = "0::/user.slice/user-70001.slice/user-runtime-dir@70001.service\n";
        assert_eq!(slice_uid(helper), None);
        let pretender = "0::/user.slice/user-7.slice/user@7.service/user-runtime-dir@7.service\n";
        assert_eq!(slice_uid(pretender), Some(7));
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
