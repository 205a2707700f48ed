//! What the backend remembers of tokens and hosts, one file each.

mod events;
mod issued;
mod reports;
mod tokens;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use hostward_protocol::api::HostInfo;
use serde::{Deserialize, Serialize};

use crate::digest::{hex, random};
use crate::file::{self, Access, FileError};

pub use events::{Batch, BatchRefusal, Break, Delivery, Distaste, EventState, Gap};
pub use issued::Issued;
pub use reports::StoredReport;
pub use tokens::{Token, TokenRefusal};

/// Why the registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is not one of the registry.
    #[error("`{}` is not a file that this backend wrote", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// An enrolled host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Its id.
    pub id: String,
    /// Its public key, base64url.
    pub key: String,
    /// The token that it enrolled with.
    pub token: String,
    /// When it enrolled.
    pub enrolled: DateTime<Utc>,
    /// When it last sent a request.
    pub last_seen: DateTime<Utc>,
    /// Where its requests come from.
    #[serde(default)]
    pub address: Option<String>,
    /// What it says of itself.
    pub info: HostInfo,
    /// The idempotency key of its enrollment and the hash of that request's body.
    pub enrollment: Option<(String, String)>,
}

/// How an enrollment ends.
pub enum Enrolled {
    /// A new host, or the same one that asks again.
    Host(String),
    /// The key belongs to another machine.
    OtherMachine,
    /// The idempotency key was used for another request.
    OtherRequest,
    /// The token does not do.
    Refused(TokenRefusal),
}

/// Somebody who wants to be a host.
pub struct Applicant<'a> {
    /// Public key, base64url.
    pub key: &'a str,
    /// The token's secret.
    pub secret: &'a str,
    /// What it says of itself.
    pub info: HostInfo,
    /// Idempotency key and hash of the body.
    pub request: Option<(String, String)>,
}

/// Tokens, hosts and their reports.
pub struct Registry {
    directory: PathBuf,
    tokens: HashMap<String, Token>,
    hosts: BTreeMap<String, Host>,
    by_key: HashMap<String, String>,
    issued: VecDeque<Issued>,
    events: HashMap<String, events::HostEvents>,
}

impl Registry {
    /// Reads the registry of a state directory.
    pub fn open(state: &Path) -> Result<Registry, RegistryError> {
        let mut registry = Registry {
            directory: state.to_owned(),
            tokens: HashMap::new(),
            hosts: BTreeMap::new(),
            by_key: HashMap::new(),
            issued: VecDeque::new(),
            events: HashMap::new(),
        };
        for part in ["tokens", "hosts", "reports", "events"] {
            file::make_private_dir(&state.join(part))?;
        }
        for token in read_all::<Token>(&state.join("tokens"))? {
            registry.tokens.insert(token.secret_sha256.clone(), token);
        }
        for host in read_all::<Host>(&state.join("hosts"))? {
            registry.by_key.insert(host.key.clone(), host.id.clone());
            registry.hosts.insert(host.id.clone(), host);
        }
        Ok(registry)
    }

    /// All hosts, by id.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// A host by id.
    pub fn host(&self, id: &str) -> Option<&Host> {
        self.hosts.get(id)
    }

    /// A host by id, host name or canonical name, where that is unambiguous.
    pub fn find(&self, name: &str) -> Option<&Host> {
        let named = |host: &&Host| {
            host.id == name || host.info.hostname == name || host.info.canonical_name.as_deref() == Some(name)
        };
        let mut found = self.hosts.values().filter(named);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Enrolls a host whose key was proven. One that asks again (its answer was lost) gets the same id and
    /// uses nothing up. A machine that comes with a new key takes the place of its older self.
    pub fn enroll(
        &mut self,
        applicant: Applicant<'_>,
        now: DateTime<Utc>,
    ) -> Result<Enrolled, RegistryError> {
        if let Some(id) = self.by_key.get(applicant.key).cloned() {
            return self.enroll_again(&id, applicant, now);
        }
        let token = match self.redeem(applicant.secret, now)? {
            Ok(token) => token,
            Err(refusal) => return Ok(Enrolled::Refused(refusal)),
        };
        for id in self.same_machine(&applicant.info.machine) {
            self.remove(&id)?;
        }
        let host = Host {
            id: format!("h-{}", hex(&random::<8>())),
            key: applicant.key.to_owned(),
            token,
            enrolled: now,
            last_seen: now,
            address: None,
            info: applicant.info,
            enrollment: applicant.request,
        };
        let id = host.id.clone();
        self.store(host)?;
        Ok(Enrolled::Host(id))
    }

    fn enroll_again(
        &mut self,
        id: &str,
        applicant: Applicant<'_>,
        now: DateTime<Utc>,
    ) -> Result<Enrolled, RegistryError> {
        if self.token_of(applicant.secret).is_none() {
            return Ok(Enrolled::Refused(TokenRefusal::Unknown));
        }
        let Some(host) = self.hosts.get(id) else {
            return Ok(Enrolled::OtherMachine);
        };
        if let (Some((key, body)), Some((new_key, new_body))) = (&host.enrollment, &applicant.request)
            && key == new_key
            && body != new_body
        {
            return Ok(Enrolled::OtherRequest);
        }
        if host.info.machine != applicant.info.machine {
            return Ok(Enrolled::OtherMachine);
        }
        let mut host = host.clone();
        host.info = applicant.info;
        host.last_seen = now;
        host.enrollment = applicant.request.or(host.enrollment);
        self.store(host)?;
        Ok(Enrolled::Host(id.to_owned()))
    }

    /// Replaces what a host says of itself.
    pub fn describe(&mut self, id: &str, info: HostInfo, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let Some(host) = self.hosts.get(id) else {
            return Ok(());
        };
        let mut host = host.clone();
        host.info = info;
        host.last_seen = now;
        self.store(host)
    }

    /// Notes that a host sent a request. That is not worth a write for each request, but where it comes from is.
    pub fn seen(&mut self, id: &str, from: Option<IpAddr>, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let Some(host) = self.hosts.get_mut(id) else {
            return Ok(());
        };
        host.last_seen = now;
        let before = host.address.take();
        host.address = from.map(|from| from.to_string()).or_else(|| before.clone());
        if host.address == before {
            return Ok(());
        }
        let host = host.clone();
        self.store(host)
    }

    /// Forgets a host and its reports.
    pub fn remove(&mut self, id: &str) -> Result<bool, RegistryError> {
        let Some(host) = self.hosts.remove(id) else {
            return Ok(false);
        };
        self.by_key.remove(&host.key);
        let path = self.host_path(id);
        std::fs::remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
        self.remove_reports(id)?;
        Ok(true)
    }

    fn same_machine(&self, machine: &str) -> Vec<String> {
        let same = |host: &&Host| !machine.is_empty() && host.info.machine == machine;
        let hosts = self.hosts.values().filter(same);
        hosts.map(|host| host.id.clone()).collect()
    }

    fn store(&mut self, host: Host) -> Result<(), RegistryError> {
        write(&self.host_path(&host.id), &host)?;
        self.by_key.insert(host.key.clone(), host.id.clone());
        self.hosts.insert(host.id.clone(), host);
        Ok(())
    }

    fn host_path(&self, id: &str) -> PathBuf {
        self.directory.join("hosts").join(format!("{id}.json"))
    }
}

fn read_all<T: serde::de::DeserializeOwned>(directory: &Path) -> Result<Vec<T>, RegistryError> {
    file::list(directory)?.iter().map(|path| read(path)).collect()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, RegistryError> {
    serde_json::from_slice(&file::read(path)?)
        .map_err(|source| RegistryError::Foreign { path: path.to_owned(), source })
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), RegistryError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|source| RegistryError::Foreign { path: path.to_owned(), source })?;
    Ok(file::replace(path, &text, Access::Owner)?)
}
