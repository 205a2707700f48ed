//! Decides what is published: the policy of the file, revocations, and what is wrong on purpose.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hostward_protocol::document::Kind;
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::documents::{self, Documents, Flaws, Shards};
use crate::faults::{Fault, Faults};
use crate::file::{self, Access, FileError};
use crate::keys::Role;
use crate::policy::{Policy, SshLists, json};
use crate::reach::Reach;
use crate::repository::{Lifetimes, Repository, RepositoryError, Signing};
use crate::ssh::{Ca, SshError};
use crate::team::TeamError;

/// Why something cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The team file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The team file cannot be understood; what was published before stays.
    #[error("cannot use `{}`", path.display())]
    Team {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TeamError,
    },
    /// The team file is of another project than the state directory.
    #[error(
        "`{}` is of project `{found}`, the state directory of project `{known}`: give one of its own to each project", path.display()
    )]
    OtherProject {
        /// The file.
        path: PathBuf,
        /// Its project.
        found: String,
        /// The state directory's.
        known: String,
    },
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The CAs.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// A file of the state directory that this backend did not write.
    #[error("`{}` is not a file that this backend wrote", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A version to replay that is not kept.
    #[error("version {0} was not published, or so long ago that it is not kept")]
    NoVersion(u64),
}

/// What is served at this moment.
pub struct View {
    /// Project id.
    pub project: String,
    /// The policy.
    pub policy: Arc<Policy>,
    reach: OnceLock<Reach>,
    /// Version of what was published last.
    pub version: u64,
    /// `timestamp.json`
    pub timestamp: Bytes,
    /// Its strong entity tag, quotes included.
    pub etag: String,
    /// All other metadata by file name.
    pub metadata: HashMap<String, Bytes>,
    /// Targets by SHA-256 and name.
    pub targets: Arc<HashMap<String, Bytes>>,
    /// Target names with length and SHA-256.
    pub contents: Vec<(String, u64, String)>,
    /// Version and SHA-256 of every root.
    pub roots: Vec<(u64, String)>,
}

impl View {
    /// Who may enter which hosts by this policy.
    pub fn reach(&self) -> &Reach {
        self.reach.get_or_init(|| Reach::of(&self.policy))
    }
}

/// What was revoked by command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// Serial numbers.
    pub serials: Vec<u64>,
    /// Key ids.
    pub key_ids: Vec<String>,
    /// Public keys.
    pub keys: Vec<String>,
}

impl Revocations {
    fn path(state: &std::path::Path) -> PathBuf {
        state.join("revoked.json")
    }
}

/// What to publish from, and where the state is.
#[derive(Clone, Debug)]
pub struct Source {
    /// The `team.toml`.
    pub team: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// How long metadata is good for.
    pub lifetimes: Lifetimes,
    /// How old a timestamp gets before it is signed anew.
    pub resign: Duration,
}

/// Publishes.
pub struct Publisher {
    source: Source,
    repository: Repository,
    policy: Arc<Policy>,
    read: String,
    revocations: Revocations,
    authorities: (String, String),
    shards: Shards,
    documents: Documents,
}

impl Publisher {
    /// Reads state and file, and publishes what they say where that is not what was published last.
    pub fn open(source: Source, now: DateTime<Utc>) -> Result<Publisher, PublishError> {
        let text = file::read_text(&source.team)?;
        let policy = parse(&source, &text)?;
        check_project(&source, &policy)?;
        let path = Revocations::path(&source.state);
        let revocations = if path.exists() {
            let parsed = serde_json::from_slice(&file::read(&path)?);
            parsed.map_err(|source| PublishError::Foreign { path, source })?
        } else {
            Revocations::default()
        };
        let repository = Repository::open(&source.state, source.lifetimes, now)?;
        let documents = repository.documents();
        let mut publisher = Publisher {
            authorities: (Ca::User.public_line(&source.state)?, Ca::Host.public_line(&source.state)?),
            shards: Shards::of(documents.keys()),
            source,
            repository,
            policy: Arc::new(policy),
            read: sha256_hex(text.as_bytes()),
            revocations,
            documents,
        };
        publisher.publish(&Faults::default(), false, now)?;
        Ok(publisher)
    }

    /// The policy that was read last.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Reads the file again; returns whether it had changed.
    pub fn reload(&mut self, faults: &Faults, now: DateTime<Utc>) -> Result<bool, PublishError> {
        let text = file::read_text(&self.source.team)?;
        let read = sha256_hex(text.as_bytes());
        if read == self.read {
            return Ok(false);
        }
        let policy = parse(&self.source, &text)?;
        check_project(&self.source, &policy)?;
        self.policy = Arc::new(policy);
        self.publish(faults, false, now)?;
        self.read = read;
        Ok(true)
    }

    /// Whether the newest timestamp must be signed anew.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.repository.newest().is_none_or(|(_, version)| {
            (now - version.signed).to_std().unwrap_or_default() >= self.source.resign
        })
    }

    /// Publishes what holds now, as a new version where that differs from the last one or `always`.
    pub fn publish(&mut self, faults: &Faults, always: bool, now: DateTime<Utc>) -> Result<(), PublishError> {
        let (signing, flaws) = wrong_on_purpose(faults);
        let shards = Shards::choose(&self.policy, self.shards);
        let documents = documents::assemble(&self.policy, &self.ssh_lists(), shards, &flaws);
        if always || self.is_due(now) || documents != self.documents {
            self.repository.publish(&documents, &signing, now)?;
            self.documents = documents;
            self.shards = shards;
        }
        Ok(())
    }

    /// Publishes new roots, each with new keys for `roles`.
    pub fn rotate(
        &mut self,
        roles: &[Role],
        steps: u32,
        faults: &Faults,
        now: DateTime<Utc>,
    ) -> Result<u64, PublishError> {
        let mut version = 0;
        for _ in 0..steps.max(1) {
            version = self.repository.rotate(roles, now)?;
        }
        self.publish(faults, true, now)?;
        Ok(version)
    }

    /// Changes what is revoked by command.
    pub fn revoke(
        &mut self,
        revocations: Revocations,
        faults: &Faults,
        now: DateTime<Utc>,
    ) -> Result<(), PublishError> {
        let path = Revocations::path(&self.source.state);
        file::replace(&path, json(&revocations).as_bytes(), Access::Owner)?;
        self.revocations = revocations;
        self.publish(faults, false, now)
    }

    /// What is revoked by command.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// What is to be served.
    pub fn view(&self, faults: &Faults) -> Result<View, PublishError> {
        let (mut newest_root, mut replayed) = (None, None);
        for fault in faults.iter() {
            match fault {
                Fault::WithholdRoots { newest } => newest_root = Some(*newest),
                Fault::Replay { version } => replayed = Some(*version),
                _ => {}
            }
        }
        let (version, newest) = self.repository.newest().ok_or(PublishError::NoVersion(1))?;
        let served = match replayed {
            Some(number) => {
                let version = self.repository.version(number);
                version.ok_or(PublishError::NoVersion(number))?
            }
            None => newest,
        };
        let contents = newest.contents.iter();
        Ok(View {
            project: self.policy.project.clone(),
            policy: Arc::clone(&self.policy),
            reach: OnceLock::new(),
            version,
            timestamp: served.timestamp.clone(),
            etag: format!("\"{}\"", &sha256_hex(&served.timestamp)[..32]),
            metadata: self.repository.metadata_files(newest_root),
            targets: self.repository.target_files(),
            contents: contents
                .map(|(name, (length, sha256))| (name.clone(), *length, sha256.clone()))
                .collect(),
            roots: self.repository.root_hashes(),
        })
    }

    fn ssh_lists(&self) -> SshLists {
        let each = |list: &[String]| list.iter().map(json).collect();
        SshLists {
            user_cas: vec![json(&self.authorities.0)],
            host_cas: vec![json(&self.authorities.1)],
            serials: self.revocations.serials.iter().map(json).collect(),
            key_ids: each(&self.revocations.key_ids),
            keys: each(&self.revocations.keys),
        }
    }
}

fn parse(source: &Source, text: &str) -> Result<Policy, PublishError> {
    Policy::parse(text).map_err(|error| PublishError::Team { path: source.team.clone(), source: error })
}

/// A state directory is of one project for ever, and remembers where its team file is.
fn check_project(source: &Source, policy: &Policy) -> Result<(), PublishError> {
    let path = source.state.join("project");
    if !path.exists() {
        let line = format!("{}\n", policy.project);
        file::replace(&path, line.as_bytes(), Access::Everybody)?;
        return Ok(());
    }
    let known = file::read_text(&path)?;
    if known.trim_end() == policy.project {
        return Ok(());
    }
    Err(PublishError::OtherProject {
        path: source.team.clone(),
        found: policy.project.clone(),
        known: known.trim_end().to_owned(),
    })
}

fn wrong_on_purpose(faults: &Faults) -> (Signing, Flaws) {
    let (mut signing, mut flaws) = (Signing::default(), Flaws::default());
    for fault in faults.iter() {
        match fault {
            Fault::SameVersion => signing.same_version = true,
            Fault::WrongKey { role } => _ = signing.wrong_key.insert(*role),
            Fault::BelowThreshold { role } => _ = signing.below_threshold.insert(*role),
            Fault::Expired { role } => _ = signing.expired.insert(*role),
            Fault::OldKeys { root } => signing.old_keys = Some(*root),
            Fault::WrongProject { id } => flaws.project = Some(id.clone()),
            Fault::LargeTarget { name } => flaws.oversized = Some(name.clone()),
            Fault::UnknownMembers => flaws.unknown_members = true,
            Fault::UnknownMajor { kind: Some(kind) } => flaws.unknown_major.push(*kind),
            Fault::UnknownMajor { kind: None } => flaws.unknown_major.extend(Kind::ALL),
            _ => {}
        }
    }
    (signing, flaws)
}

/// What is served, shared by all who wait for it to change.
pub type SharedView = Arc<View>;
