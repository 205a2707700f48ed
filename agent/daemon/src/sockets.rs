//! The sockets that systemd hands over, told apart by the names of their units.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

const CONTROL: &str = "hostward.socket";
const SSH_AGENT: &str = "hostward-ssh-agent.socket";

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// What systemd handed over is not it.
    #[error("cannot use the socket from systemd (see {unit}): {source}")]
    Inherited {
        /// The socket unit.
        unit: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be made.
    #[error("cannot listen at `{path}`: {source}", path = path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What was handed over.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The control socket.
    pub control: Option<UnixListener>,
    /// The socket of the SSH agent.
    pub ssh_agent: Option<UnixListener>,
}

impl Inherited {
    /// Takes them: sd_listen_fds_with_names(3). A second call gets none.
    pub fn take() -> Result<Self, SocketError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = listenfd::ListenFd::from_env();
        let mut inherited = Inherited::default();
        for (index, name) in names.split(':').take(handed.len()).enumerate() {
            let place = match name {
                CONTROL => &mut inherited.control,
                SSH_AGENT => &mut inherited.ssh_agent,
                other => {
                    log::warn!("systemd handed over a socket `{other}`, which is not known");
                    continue;
                }
            };
            let taken = handed.take_unix_listener(index);
            *place = taken.map_err(|source| SocketError::Inherited { unit: name.into(), source })?;
        }
        Ok(inherited)
    }
}

/// A listener that is waited on.
pub fn listening(unit: &str, listener: UnixListener) -> Result<tokio::net::UnixListener, SocketError> {
    let open = || {
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    };
    open().map_err(|source| SocketError::Inherited { unit: unit.into(), source })
}

/// A socket of the agent's own, for tests.
pub fn bound(path: &Path) -> Result<tokio::net::UnixListener, SocketError> {
    let bind = || match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => tokio::net::UnixListener::bind(path),
    };
    bind().map_err(|source| SocketError::Bind { path: path.into(), source })
}
