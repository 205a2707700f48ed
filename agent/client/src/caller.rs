//! Whose session this runs in: what ends that session would end this as well, half way.
//!
//! It sees what ending sessions goes by: the uid of the login, the slice, and the uids of all that this descends from.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// More generations than any process has; a circle in what changes while it is read ends here.
const MAX_GENERATIONS: usize = 1000;

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// /proc is not what it should be.
    #[error("cannot read `/proc/{file}` to see whose session this is")]
    Proc {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// getent cannot be run.
    #[error("cannot run `getent` to see whether uid {uid} is a managed user's")]
    Getent {
        /// The uid.
        uid: u32,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The managed user in whose session this runs.
pub fn managed() -> Result<Option<String>, CallerError> {
    for uid in uids(Path::new("/proc"), std::process::id())? {
        if let Some(name) = managed_name(uid)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What hostward's own module calls the user with this uid; `None` where nobody managed has it.
fn managed_name(uid: u32) -> Result<Option<String>, CallerError> {
    let output = Command::new("getent")
        .args(["-s", "hostward", "passwd", &uid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|source| CallerError::Getent { uid, source })?;
    let line = String::from_utf8_lossy(&output.stdout);
    let name = line.split(':').next().filter(|name| !name.is_empty());
    Ok(name.filter(|_| output.status.success()).map(str::to_owned))
}

/// Every uid other than root's that has to do with the process `own` or one that it descends from.
fn uids(proc: &Path, own: u32) -> Result<BTreeSet<u32>, CallerError> {
    let mut uids = BTreeSet::new();
    let mut pid = own;
    for _ in 0..MAX_GENERATIONS {
        let read = |name: &str| {
            std::fs::read(proc.join(pid.to_string()).join(name))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|source| CallerError::Proc { file: format!("{pid}/{name}"), source })
        };
        let status = match read("status") {
            // It ended meanwhile, or is beyond a pid namespace: this goes on under init.
            Err(_) if pid != own => break,
            status => status?,
        };
        uids.extend(field(&status, "Uid:"));
        // Kernels without audit or cgroups have neither.
        uids.extend(read("loginuid").ok().and_then(|text| text.trim().parse::<u32>().ok()));
        uids.extend(read("cgroup").ok().and_then(|text| slice_uid(&text)));
        match field(&status, "PPid:").first() {
            Some(&parent) if parent > 1 => pid = parent,
            _ => break,
        }
    }
    uids.remove(&0);
    // No login.
    uids.remove(&u32::MAX);
    Ok(uids)
}

fn field(status: &str, key: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.into_iter().flat_map(str::split_ascii_whitespace).filter_map(|number| number.parse().ok()).collect()
}

/// The uid out of a component `user-UID.slice` of /proc/PID/cgroup.
fn slice_uid(cgroup: &str) -> Option<u32> {
    cgroup
        .split(['/', '\n'])
        .find_map(|component| component.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Proc(tempfile::TempDir);

    impl Proc {
        /// dpkg's script, below sudo, below somebody's shell, below sshd.
        fn new() -> Self {
            let proc = Proc(tempfile::tempdir().unwrap());
            proc.process(1, 0, [0; 4]).process(10, 1, [0; 4]).process(20, 10, [0; 4]);
            proc.process(30, 20, [0; 4]).process(40, 30, [0; 4]);
            proc
        }

        fn process(&self, pid: u32, parent: u32, [real, effective, saved, fs]: [u32; 4]) -> &Self {
            let status = format!(
                "Name:\tUid:\nPid:\t{pid}\nPPid:\t{parent}\nUid:\t{real}\t{effective}\t{saved}\t{fs}\nGid:\t7\t7\t7\t7\n"
            );
            self.file(pid, "status", &status).file(pid, "loginuid", "4294967295").file(
                pid,
                "cgroup",
                "0::/system.slice/ssh.service\n",
            )
        }

        fn file(&self, pid: u32, name: &str, text: &str) -> &Self {
            let directory = self.0.path().join(pid.to_string());
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(name), text).unwrap();
            self
        }

        fn uids(&self) -> Vec<u32> {
            uids(self.0.path(), 40).unwrap().into_iter().collect()
        }
    }

    #[test]
    fn root_on_the_console_is_nobody_else() {
        assert_eq!(Proc::new().uids(), [0; 0]);
    }

    #[test]
    fn the_shell_below_sudo_counts() {
        let proc = Proc::new();
        proc.process(20, 10, [70_001; 4]);
        assert_eq!(proc.uids(), [70_001]);
        // su in the middle, and a program that has root only in part.
        proc.process(30, 20, [70_002, 0, 0, 0]);
        assert_eq!(proc.uids(), [70_001, 70_002]);
    }

    #[test]
    fn login_and_slice_count_although_the_shell_is_gone() {
        let proc = Proc::new();
        proc.process(30, 1, [0; 4]).file(40, "loginuid", "70001\n");
        assert_eq!(proc.uids(), [70_001]);
        proc.file(40, "loginuid", "0").file(
            30,
            "cgroup",
            "0::/user.slice/user-70002.slice/session-3.scope\n",
        );
        assert_eq!(proc.uids(), [70_002]);
        proc.file(30, "cgroup", "12:pids:/user.slice/user-70003.slice\n1:name=systemd:/x\n");
        assert_eq!(proc.uids(), [70_003]);
    }

    #[test]
    fn a_circle_and_a_parent_that_is_gone_end() {
        let proc = Proc::new();
        proc.process(20, 40, [70_001; 4]);
        assert_eq!(proc.uids(), [70_001]);
        proc.process(30, 999, [0; 4]);
        assert_eq!(proc.uids(), [0; 0]);
    }

    #[test]
    fn without_proc_it_is_not_told() {
        let empty = tempfile::tempdir().unwrap();
        let error = uids(empty.path(), 40).unwrap_err();
        assert!(error.to_string().contains("/proc/40/status"), "{error}");
    }

    #[test]
    fn we_are_seen_ourselves() {
        let own = nix::unistd::getuid().as_raw();
        let seen = uids(Path::new("/proc"), std::process::id()).unwrap();
        assert_eq!(seen.contains(&own), own != 0);
    }
}
