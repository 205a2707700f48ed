//! Reading what the processes wrote down of themselves.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use hostward_protocol::local::{AgentStatus, HostStatus};
use hostward_protocol::report::Report;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::de::DeserializeOwned;

/// What root tells everybody.
pub const HOST_STATUS: &str = "/var/lib/hostward/status.json";
/// What the agent says of itself; its directory is closed to everybody else but root.
pub const AGENT_STATUS: &str = "/var/lib/hostward-agent/status.json";
/// The last report.
pub const REPORT: &str = "/var/lib/hostward/report.json";

const MAX_LEN: u64 = 64 << 20;

/// Why a file of state cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is there and cannot be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no regular file, or holds something else.
    #[error("`{path}` is not what hostward writes there", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// What root knows; `None` before the first apply.
pub fn host() -> Result<Option<HostStatus>, StateError> {
    read(Path::new(HOST_STATUS))
}

/// What the agent knows; `None` before its first start. Readable by root only.
pub fn agent() -> Result<Option<AgentStatus>, StateError> {
    read(Path::new(AGENT_STATUS))
}

/// The last report. Readable by root only.
pub fn report() -> Result<Option<Report>, StateError> {
    read(Path::new(REPORT))
}

/// The agent's file is in a directory of a less privileged process: never follow a link there, never wait on a
/// FIFO, never read without bound.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let failed = |source: std::io::Error| StateError::Read { path: path.into(), source };
    let foreign = || StateError::Foreign { path: path.into() };
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = match nix::fcntl::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(nix::Error::ENOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno.into())),
    };
    let stat = nix::sys::stat::fstat(fd.as_fd()).map_err(|e| failed(e.into()))?;
    if stat.st_mode & nix::libc::S_IFMT != nix::libc::S_IFREG {
        return Err(foreign());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd).take(MAX_LEN).read_to_end(&mut bytes).map_err(failed)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|_| foreign())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        assert!(read::<serde_json::Value>(&path).unwrap().is_none());
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        assert!(matches!(read::<serde_json::Value>(&path), Err(StateError::Foreign { .. })));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(read::<serde_json::Value>(&path), Err(StateError::Read { .. })));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"{\"a\":1}").unwrap();
        assert_eq!(read::<serde_json::Value>(&path).unwrap().unwrap()["a"], 1);
    }
}
