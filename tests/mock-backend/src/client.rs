//! Asks a running backend through its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::control::{
    ActiveFault, Command, Condition, EnrolledHost, Published, PublishedRoot, Reply, SOCKET,
};
use crate::keys::Role;
use crate::publisher::Revocations;
use crate::registry::{EventState, Issued, StoredReport};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no backend runs on `{}`; start one with `serve`", state.display())]
    NotRunning {
        /// The state directory.
        state: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It takes too long.
    #[error(
        "the backend on `{}` did not answer within {}: it is suspended, or very busy", state.display(), humantime::format_duration(*patience)
    )]
    Silent {
        /// The state directory.
        state: PathBuf,
        /// How long it had.
        patience: Duration,
    },
    /// It went away.
    #[error("the backend did not answer")]
    Lost(#[source] std::io::Error),
    /// It answers something else.
    #[error("the backend's answer cannot be understood; is it of another version?")]
    Foreign(#[from] serde_json::Error),
    /// It refuses.
    #[error("{0}")]
    Refused(String),
}

/// A running backend, by its state directory.
#[derive(Clone, Debug)]
pub struct Client {
    state: PathBuf,
    patience: Duration,
}

/// What publishing for a very large team takes at most.
const PATIENCE: Duration = Duration::from_secs(300);

impl Client {
    /// For the backend that serves from `state`.
    pub fn new(state: impl Into<PathBuf>) -> Client {
        Client { state: state.into(), patience: PATIENCE }
    }

    /// Waits this long for an answer.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// An enrollment token: the content of the file on the host.
    pub fn token(&self, uses: u32, lifetime: Duration, pin: bool) -> Result<String, ClientError> {
        self.ask(&Command::Token { uses, seconds: lifetime.as_secs(), pin })
    }

    /// All hosts.
    pub fn hosts(&self) -> Result<Vec<EnrolledHost>, ClientError> {
        self.ask(&Command::Hosts)
    }

    /// Forgets a host, by id or name.
    pub fn remove_host(&self, host: &str) -> Result<(), ClientError> {
        let host = host.to_owned();
        let _: bool = self.ask(&Command::RemoveHost { host })?;
        Ok(())
    }

    /// Reports of one host or all, oldest first.
    pub fn reports(&self, host: Option<&str>) -> Result<Vec<StoredReport>, ClientError> {
        let host = host.map(str::to_owned);
        self.ask(&Command::Reports { host })
    }

    /// SSH certificates that hosts and services got since the backend started, the oldest first.
    pub fn certificates(&self) -> Result<Vec<Issued>, ClientError> {
        self.ask(&Command::Certificates)
    }

    /// Events of a host, by id or name, in the order in which they came.
    pub fn events(&self, host: &str) -> Result<Vec<serde_json::Value>, ClientError> {
        self.ask(&Command::Events { host: host.to_owned() })
    }

    /// How it stands with the events of a host, by id or name.
    pub fn event_state(&self, host: &str) -> Result<EventState, ClientError> {
        self.ask(&Command::EventState { host: host.to_owned() })
    }

    /// Certificate principals of a user.
    pub fn principals(&self, user: &str) -> Result<Vec<String>, ClientError> {
        let user = user.to_owned();
        self.ask(&Command::Principals { user })
    }

    /// Revokes, or takes that back; returns the version that says so.
    pub fn revoke(&self, revocations: Revocations, undo: bool) -> Result<u64, ClientError> {
        self.ask(&Command::Revoke { revocations, undo })
    }

    /// Switches a fault on; arguments are `key=value`.
    pub fn fault_on(&self, name: &str, arguments: &[&str]) -> Result<Vec<ActiveFault>, ClientError> {
        self.ask(&Command::FaultOn {
            name: name.to_owned(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
        })
    }

    /// Switches a fault off, or all.
    pub fn fault_off(&self, name: Option<&str>) -> Result<Vec<ActiveFault>, ClientError> {
        let name = name.map(str::to_owned);
        self.ask(&Command::FaultOff { name })
    }

    /// The faults that are on.
    pub fn faults(&self) -> Result<Vec<ActiveFault>, ClientError> {
        self.ask(&Command::Faults)
    }

    /// Ends all connections.
    pub fn disconnect(&self) -> Result<(), ClientError> {
        self.ask(&Command::Disconnect)
    }

    /// Publishes `steps` roots with new keys for `roles`; returns the newest version.
    pub fn rotate_root(&self, roles: &[Role], steps: u32) -> Result<u64, ClientError> {
        let roles = roles.to_vec();
        self.ask(&Command::RotateRoot { roles, steps })
    }

    /// What is published, with the documents' text if asked for.
    pub fn policy(&self, documents: bool) -> Result<Published, ClientError> {
        self.ask(&Command::Policy { documents })
    }

    /// All roots, oldest first.
    pub fn roots(&self) -> Result<Vec<PublishedRoot>, ClientError> {
        self.ask(&Command::Roots)
    }

    /// Has the team file read now; returns the version that reflects it.
    pub fn sync(&self) -> Result<u64, ClientError> {
        self.ask(&Command::Sync)
    }

    /// How it goes.
    pub fn condition(&self) -> Result<Condition, ClientError> {
        self.ask(&Command::Condition)
    }

    fn ask<T: DeserializeOwned>(&self, command: &Command) -> Result<T, ClientError> {
        let socket = UnixStream::connect(self.state.join(SOCKET));
        let mut socket =
            socket.map_err(|source| ClientError::NotRunning { state: self.state.clone(), source })?;
        let request = serde_json::to_string(command)? + "\n";
        let mut line = String::new();
        socket
            .set_read_timeout(Some(self.patience))
            .and_then(|()| socket.write_all(request.as_bytes()))
            .and_then(|()| BufReader::new(socket).read_line(&mut line))
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    ClientError::Silent { state: self.state.clone(), patience: self.patience }
                }
                _ => ClientError::Lost(error),
            })?;
        match serde_json::from_str(&line)? {
            Reply::Ok(value) => Ok(serde_json::from_value(value)?),
            Reply::Error(text) => Err(ClientError::Refused(text)),
        }
    }
}
