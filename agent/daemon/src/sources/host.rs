//! What the host knows of those whom events name.

use std::path::{Path, PathBuf};

use hostward_events::Process;
use hostward_protocol::grants::Grants;
use nix::unistd::{Uid, User};

/// This host.
pub struct OfHost {
    /// What root says of grants.
    pub grants: PathBuf,
}

impl hostward_sources::Host for OfHost {
    fn name_of(&self, uid: u32) -> Option<String> {
        User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
    }

    fn grants_of(&self, user: &str) -> Vec<String> {
        let grants = std::fs::read(&self.grants).ok().and_then(|json| Grants::parse(&json));
        grants.map(|grants| grants.logins_of(user)).unwrap_or_default()
    }
}

/// Whether a process is there, and no other that has its number by now. Where that cannot be said, it is.
pub fn is_there(proc: &str, process: Process) -> bool {
    let path = Path::new(proc).join(process.pid.to_string()).join("stat");
    match std::fs::read_to_string(path) {
        Ok(text) => start(&text).is_none_or(|start| start == process.start),
        Err(error) => {
            !matches!(error.kind(), std::io::ErrorKind::NotFound) && error.raw_os_error() != Some(3)
        }
    }
}

/// Field 22 of proc_pid_stat(5). The second is the program's name, in which anything may stand.
fn start(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_with_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let stat = "7 (a) S) b) S 1 7 7 0 -1 4194560 1 1 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        std::fs::create_dir(dir.path().join("7")).unwrap();
        std::fs::write(dir.path().join("7/stat"), stat).unwrap();
        let is = |pid, start| is_there(dir.path().to_str().unwrap(), Process { pid, start });
        assert!(is(7, 4711));
        assert!(!is(7, 4712));
        assert!(!is(8, 4711));
        assert!(is_there("/proc", Process { pid: std::process::id(), start: own_start() }));
    }

    fn own_start() -> u64 {
        start(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap()
    }
}
