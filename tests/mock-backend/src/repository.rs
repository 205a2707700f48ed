//! The project's repository: every root for ever, the newest versions, and their targets.
//!
//! On disk as it is served, so that a restart goes on where it was; targets lie there by hash alone,
//! because their names may be hostile on purpose.

mod disk;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::Value;

use crate::digest::sha256_hex;
use crate::documents::Documents;
use crate::file::FileError;
use crate::keys::{Key, KeyError, KeyRing, Role};
use crate::metadata::{self, Head, RoleKeys, Signature};

/// How many versions can be replayed.
const KEPT_VERSIONS: usize = 64;

/// Why the repository cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Metadata of this repository that cannot be read back.
    #[error("`{}` is not metadata that this backend wrote", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A root that is asked for but was never published.
    #[error("there is no root version {0}")]
    NoRoot(u64),
}

/// How long metadata is good for.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of the timestamp.
    pub timestamp: Duration,
    /// Of snapshot and targets.
    pub content: Duration,
    /// Of the root.
    pub root: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Lifetimes { timestamp: DAY, content: 30 * DAY, root: 365 * DAY }
    }
}

/// What is wrong on purpose in signatures and expiries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signing {
    /// Roles signed with keys that the root does not know.
    pub wrong_key: HashSet<Role>,
    /// Roles with one signature fewer than the threshold.
    pub below_threshold: HashSet<Role>,
    /// Roles that have expired.
    pub expired: HashSet<Role>,
    /// The root version whose keys sign.
    pub old_keys: Option<u64>,
    /// Whether the version stays what it was.
    pub same_version: bool,
}

impl Signing {
    fn spoils(&self, role: Role) -> bool {
        [&self.wrong_key, &self.below_threshold, &self.expired].into_iter().any(|roles| roles.contains(&role))
    }
}

struct Root {
    bytes: Bytes,
    keys: RoleKeys,
    expires: DateTime<Utc>,
}

/// One published version.
pub struct Version {
    /// `timestamp.json`
    pub timestamp: Bytes,
    snapshot: Bytes,
    targets: Bytes,
    /// Length and SHA-256 of its targets by name.
    pub contents: BTreeMap<String, (u64, String)>,
    /// When its timestamp was signed.
    pub signed: DateTime<Utc>,
}

/// The repository.
pub struct Repository {
    directory: PathBuf,
    ring: KeyRing,
    roots: Vec<Root>,
    /// A root after the newest one, wrong on purpose and not for ever.
    spoiled_root: Option<Bytes>,
    versions: BTreeMap<u64, Version>,
    /// Targets by SHA-256.
    blobs: HashMap<String, Bytes>,
    /// Targets by SHA-256 and name, as they are asked for. Shared with whoever serves them.
    files: Arc<HashMap<String, Bytes>>,
    lifetimes: Lifetimes,
}

impl Repository {
    /// Reads the repository of a state directory; makes keys and the first root where there is none.
    pub fn open(
        state: &Path,
        lifetimes: Lifetimes,
        now: DateTime<Utc>,
    ) -> Result<Repository, RepositoryError> {
        let mut repository = Repository {
            directory: state.join("tuf"),
            ring: KeyRing::open(&state.join("keys"))?,
            roots: Vec::new(),
            spoiled_root: None,
            versions: BTreeMap::new(),
            blobs: HashMap::new(),
            files: Arc::default(),
            lifetimes,
        };
        repository.load()?;
        if repository.roots.is_empty() {
            let mut keys = RoleKeys::default();
            for role in Role::ALL {
                keys.0.insert(role, repository.ring.make(role)?);
            }
            repository.append_root(keys, now)?;
        }
        let renewal = now + TimeDelta::days(30);
        if repository.newest_root().is_some_and(|root| root.expires < renewal)
            && lifetimes.root > Duration::from_secs(60 * 86_400)
        {
            repository.rotate(&[], now)?;
        }
        Ok(repository)
    }

    /// The newest version, where anything was published.
    pub fn newest(&self) -> Option<(u64, &Version)> {
        let (number, version) = self.versions.last_key_value()?;
        Some((*number, version))
    }

    /// A version that is kept.
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.get(&number)
    }

    /// The documents of the newest version.
    pub fn documents(&self) -> Documents {
        let contents = self.newest().map(|(_, version)| &version.contents);
        let contents = contents.into_iter().flatten();
        contents
            .filter_map(|(name, (_, sha256))| Some((name.clone(), self.blobs.get(sha256)?.clone())))
            .collect()
    }

    /// Version and SHA-256 of every root.
    pub fn root_hashes(&self) -> Vec<(u64, String)> {
        let hashes = self.roots.iter().map(|root| sha256_hex(&root.bytes));
        (1..).zip(hashes).collect()
    }

    /// Publishes documents as a version of their own; returns its number.
    pub fn publish(
        &mut self,
        documents: &Documents,
        signing: &Signing,
        now: DateTime<Utc>,
    ) -> Result<u64, RepositoryError> {
        let newest = self.newest().map_or(0, |(number, _)| number);
        let number = if signing.same_version { newest.max(1) } else { newest + 1 };
        let mut contents = BTreeMap::new();
        for (name, bytes) in documents {
            let sha256 = sha256_hex(bytes);
            self.store_blob(&sha256, bytes)?;
            contents.insert(name.clone(), (bytes.len() as u64, sha256));
        }
        let head = |role: Role, lifetime: Duration| Head {
            version: number,
            expires: expiry(now, lifetime, signing.expired.contains(&role)),
        };
        let keys = match signing.old_keys {
            Some(root) => self.root(root).ok_or(RepositoryError::NoRoot(root))?.keys.clone(),
            None => self.newest_root().map(|root| root.keys.clone()).unwrap_or_default(),
        };
        let content = self.lifetimes.content;
        let targets = metadata::targets(head(Role::Targets, content), &contents);
        let targets = self.signed(Role::Targets, &targets, &keys, signing)?;
        let snapshot = head(Role::Snapshot, content);
        let snapshot = metadata::pointer(Role::Snapshot, snapshot, Role::Targets, &targets);
        let snapshot = self.signed(Role::Snapshot, &snapshot, &keys, signing)?;
        let timestamp = head(Role::Timestamp, self.lifetimes.timestamp);
        let timestamp = metadata::pointer(Role::Timestamp, timestamp, Role::Snapshot, &snapshot);
        let timestamp = self.signed(Role::Timestamp, &timestamp, &keys, signing)?;
        let version = Version { timestamp, snapshot, targets, contents, signed: now };
        self.store_version(number, &version)?;
        self.list_targets(&version.contents);
        self.versions.insert(number, version);
        self.prune();
        self.spoil_root(signing, now)?;
        Ok(number)
    }

    /// Publishes a root with new keys for some roles; returns its version.
    pub fn rotate(&mut self, replaced: &[Role], now: DateTime<Utc>) -> Result<u64, RepositoryError> {
        let mut keys = self.newest_root().map(|root| root.keys.clone()).unwrap_or_default();
        for role in replaced {
            keys.0.insert(*role, self.ring.make(*role)?);
        }
        self.append_root(keys, now)
    }

    /// All targets that are served, by SHA-256 and name.
    pub fn target_files(&self) -> Arc<HashMap<String, Bytes>> {
        Arc::clone(&self.files)
    }

    /// All metadata but `timestamp.json`, by file name; roots up to `newest_root`.
    pub fn metadata_files(&self, newest_root: Option<u64>) -> HashMap<String, Bytes> {
        let mut files = HashMap::new();
        let roots = self.roots.iter().map(|root| &root.bytes);
        for (number, bytes) in (1..).zip(roots.chain(&self.spoiled_root)) {
            if newest_root.is_none_or(|newest| number <= newest) {
                files.insert(format!("{number}.root.json"), bytes.clone());
            }
        }
        for (number, version) in &self.versions {
            files.insert(format!("{number}.snapshot.json"), version.snapshot.clone());
            files.insert(format!("{number}.targets.json"), version.targets.clone());
        }
        files
    }

    /// Makes the targets of a version available by name.
    fn list_targets(&mut self, contents: &BTreeMap<String, (u64, String)>) {
        for (name, (_, sha256)) in contents {
            let file = format!("{sha256}.{name}");
            if let Some(bytes) = self.blobs.get(sha256)
                && !self.files.contains_key(&file)
            {
                Arc::make_mut(&mut self.files).insert(file, bytes.clone());
            }
        }
    }

    fn append_root(&mut self, keys: RoleKeys, now: DateTime<Utc>) -> Result<u64, RepositoryError> {
        let version = self.roots.len() as u64 + 1;
        let head = Head { version, expires: expiry(now, self.lifetimes.root, false) };
        let body = metadata::root(head, &keys, &self.ring)?;
        let message = metadata::canonical(&body);
        let mut signers: Vec<&String> = Vec::new();
        let before = self.newest_root().map(|root| root.keys.of(Role::Root));
        for id in before.into_iter().flatten().chain(keys.of(Role::Root)) {
            if !signers.contains(&id) {
                signers.push(id);
            }
        }
        let mut signatures = Vec::new();
        for id in signers {
            signatures.push(Signature::by(self.ring.key(id)?, &message));
        }
        let bytes = Bytes::from(metadata::envelope(&body, &signatures));
        self.store_root(version, &bytes)?;
        self.roots.push(Root { bytes, keys, expires: head.expires });
        Ok(version)
    }

    /// Puts a wrong root after the newest, or takes it away.
    fn spoil_root(&mut self, signing: &Signing, now: DateTime<Utc>) -> Result<(), RepositoryError> {
        self.spoiled_root = None;
        if !signing.spoils(Role::Root) {
            return Ok(());
        }
        let keys = self.newest_root().map(|root| root.keys.clone()).unwrap_or_default();
        let head = Head {
            version: self.roots.len() as u64 + 1,
            expires: expiry(now, self.lifetimes.root, signing.expired.contains(&Role::Root)),
        };
        let body = metadata::root(head, &keys, &self.ring)?;
        self.spoiled_root = Some(self.signed(Role::Root, &body, &keys, signing)?);
        Ok(())
    }

    fn signed(
        &self,
        role: Role,
        body: &Value,
        keys: &RoleKeys,
        signing: &Signing,
    ) -> Result<Bytes, RepositoryError> {
        let message = metadata::canonical(body);
        let mut ids = keys.of(role);
        if signing.below_threshold.contains(&role) {
            ids = &ids[..role.threshold() - 1];
        }
        let mut signatures = Vec::new();
        for id in ids {
            signatures.push(if signing.wrong_key.contains(&role) {
                Signature::forged(&Key::stranger()?, id, &message)
            } else {
                Signature::by(self.ring.key(id)?, &message)
            });
        }
        Ok(Bytes::from(metadata::envelope(body, &signatures)))
    }

    fn root(&self, version: u64) -> Option<&Root> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.roots.get(index)
    }

    fn newest_root(&self) -> Option<&Root> {
        self.roots.last()
    }
}

/// Whole seconds, because that is what metadata can say.
fn expiry(now: DateTime<Utc>, lifetime: Duration, expired: bool) -> DateTime<Utc> {
    let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::days(365));
    let expires = if expired { now - TimeDelta::hours(1) } else { now + lifetime };
    expires.trunc_subsecs(0)
}
