//! Admits a policy: decides whether what the agent mirrored is the project's newest signed policy.
//!
//! The TUF library is used as a stateless judge: it runs in a scratch directory seeded from the committed store,
//! starts from the newest accepted root, and always enforces expiry. What it leaves open is decided in `rules`.
//! Nothing is written here; whoever called commits.

mod refusal;
mod rules;
mod start;
mod transport;

pub use refusal::{Refusal, Role};

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hostward_protocol::document::Kind;
use tough::schema::{RoleType, Target};
use tough::{
    ExpirationEnforcement, IntoVec, Limits, Repository, RepositoryLoader, TargetName, TransportErrorKind,
};
use url::Url;

use crate::inbox::{Inbox, Name};
use crate::store::{Committed, Document, DocumentName, Store};
use crate::trust::Effective;
use start::Start;
use transport::{Sources, Trouble};

/// A policy that was verified whole.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What to commit.
    pub committed: Committed,
    /// All its documents.
    pub documents: Vec<Document>,
    /// Whether it differs from what is committed.
    pub is_new: bool,
}

/// What an admission is held against.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Project and anchor.
    pub trust: &'a Effective,
    /// What is committed, of this project and enrollment.
    pub committed: Option<&'a Committed>,
    /// Where unchanged documents are.
    pub store: &'a Store,
    /// Where scratch directories may be made.
    pub scratch: &'a Path,
}

/// Verifies what is in the inbox.
pub fn admit(inbox: Inbox, held: Held<'_>) -> Result<Admitted, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Refusal::Scratch)?;
    runtime.block_on(verify(inbox, held))
}

async fn verify(inbox: Inbox, held: Held<'_>) -> Result<Admitted, Refusal> {
    match inbox.read("timestamp.json") {
        Err(error) if error.is_not_found() => return Err(Refusal::NothingOffered),
        Err(error) => return Err(Refusal::Inbox(error)),
        Ok(_) => {}
    }
    let start = start::choose(&inbox, held.trust, held.committed)?;
    let scratch =
        tempfile::Builder::new().prefix(".admit-").tempdir_in(held.scratch).map_err(Refusal::Scratch)?;
    seed(scratch.path(), held.committed).map_err(Refusal::Scratch)?;
    let sources = Sources::new(inbox, held.committed.map(metadata_files).unwrap_or_default());
    let repository = load(&sources, &start, scratch.path()).await?;
    let roots = start.accepted_roots(&sources, &repository, held.committed)?;
    rules::check(&repository, held.committed)?;
    let documents = documents(&repository, &sources, held.store).await?;
    let committed = committed(&repository, &sources, &start, roots, held, &documents)?;
    let is_new = held.committed != Some(&committed);
    Ok(Admitted { committed, documents, is_new })
}

fn seed(scratch: &Path, committed: Option<&Committed>) -> std::io::Result<()> {
    if let Some(committed) = committed {
        std::fs::write(scratch.join("timestamp.json"), &committed.timestamp)?;
        std::fs::write(scratch.join("snapshot.json"), &committed.snapshot)?;
    }
    Ok(())
}

fn metadata_files(committed: &Committed) -> BTreeMap<String, Bytes> {
    let version = committed.version;
    [
        (format!("{version}.snapshot.json"), committed.snapshot.clone().into()),
        (format!("{version}.targets.json"), committed.targets.clone().into()),
    ]
    .into()
}

async fn load(sources: &Sources, start: &Start, scratch: &Path) -> Result<Repository, Refusal> {
    let base = |directory: &str| {
        Url::parse(&format!("inbox://hostward/{directory}/")).map_err(|_| Refusal::Other("internal address"))
    };
    let cap = |name: Name| name.cap();
    RepositoryLoader::new(&start.root, base("metadata")?, base("targets")?)
        .transport(sources.clone())
        .datastore(scratch)
        .expiration_enforcement(ExpirationEnforcement::Safe)
        .limits(Limits {
            max_root_size: cap(Name::Root(1)),
            max_targets_size: cap(Name::Targets(1)),
            max_timestamp_size: cap(Name::Timestamp),
            max_snapshot_size: cap(Name::Snapshot(1)),
            max_root_updates: 1024,
        })
        .load()
        .await
        .map_err(|error| match sources.trouble() {
            Some(trouble) => trouble.into(),
            None => refused(error),
        })
}

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Refusal {
        match trouble {
            Trouble::Inbox(error) => Refusal::Inbox(error),
            Trouble::NotConsistent => Refusal::NotConsistent,
            Trouble::Delegated => Refusal::Delegations,
        }
    }
}

async fn documents(
    repository: &Repository,
    sources: &Sources,
    store: &Store,
) -> Result<Vec<Document>, Refusal> {
    let mut targets: Vec<(&TargetName, &Target)> = repository
        .targets()
        .signed
        .targets
        .iter()
        .filter(|(name, _)| Kind::of_target(name.raw()).is_some())
        .collect();
    targets.sort_by_key(|(name, _)| name.raw());
    let mut documents = Vec::with_capacity(targets.len());
    for (name, target) in targets {
        documents.push(document(repository, sources, store, name, target).await?);
    }
    Ok(documents)
}

async fn document(
    repository: &Repository,
    sources: &Sources,
    store: &Store,
    name: &TargetName,
    target: &Target,
) -> Result<Document, Refusal> {
    let max = Kind::of_target(name.raw()).map_or(0, |(kind, _)| kind.max_len());
    let too_large = || Refusal::TargetTooLarge { name: name.raw().into(), max };
    let mismatch = || Refusal::TargetMismatch(name.raw().into());
    if target.length > max {
        return Err(too_large());
    }
    let sha256 = hex(&target.hashes.sha256);
    let bytes = match store.target(&sha256, target.length) {
        Some(bytes) => bytes,
        None => fetch(repository, name).await.map_err(|error| match (sources.trouble(), error) {
            (Some(Trouble::Inbox(error)), _) if error.is_too_large() => too_large(),
            (Some(trouble), _) => trouble.into(),
            (None, FetchError::Missing) => Refusal::TargetMissing(name.raw().into()),
            (None, FetchError::Expired(role)) => Refusal::Expired(role),
            (None, FetchError::Mismatch) => mismatch(),
        })?,
    };
    if bytes.len() as u64 != target.length {
        return Err(mismatch());
    }
    Ok(Document { name: name.raw().into(), sha256, bytes })
}

enum FetchError {
    Missing,
    Mismatch,
    Expired(Role),
}

async fn fetch(repository: &Repository, name: &TargetName) -> Result<Vec<u8>, FetchError> {
    use tough::error::Error;
    let failed = |error: Error| match error {
        Error::Transport { source, .. } if source.kind() == TransportErrorKind::FileNotFound => {
            FetchError::Missing
        }
        Error::ExpiredMetadata { role, .. } => {
            role_of(role).map_or(FetchError::Mismatch, FetchError::Expired)
        }
        _ => FetchError::Mismatch,
    };
    let stream = repository.read_target(name).await.map_err(failed)?;
    stream.ok_or(FetchError::Missing)?.into_vec().await.map_err(failed)
}

fn committed(
    repository: &Repository,
    sources: &Sources,
    start: &Start,
    roots: BTreeMap<u64, String>,
    held: Held<'_>,
    documents: &[Document],
) -> Result<Committed, Refusal> {
    let version = repository.timestamp().signed.version.get();
    let root_version = repository.root().signed.version.get();
    let text = |name: String, role| {
        let bytes = sources.served(&name).ok_or(Refusal::MetadataMissing(role))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Refusal::Malformed(role))
    };
    let root = if root_version == start.version {
        String::from_utf8(start.root.clone()).map_err(|_| Refusal::Malformed(Role::Root))?
    } else {
        text(format!("{root_version}.root.json"), Role::Root)?
    };
    let expires = repository.timestamp().signed.expires;
    Ok(Committed {
        project: held.trust.project.clone(),
        version,
        root_version,
        expires: DateTime::<Utc>::from_timestamp(expires.as_second(), 0)
            .ok_or(Refusal::Malformed(Role::Timestamp))?,
        roots,
        root,
        timestamp: text("timestamp.json".into(), Role::Timestamp)?,
        snapshot: text(format!("{version}.snapshot.json"), Role::Snapshot)?,
        targets: text(format!("{version}.targets.json"), Role::Targets)?,
        documents: documents
            .iter()
            .map(|document| DocumentName {
                name: document.name.clone(),
                sha256: document.sha256.clone(),
                length: document.bytes.len() as u64,
            })
            .collect(),
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn role_of(role: RoleType) -> Option<Role> {
    match role {
        RoleType::Root => Some(Role::Root),
        RoleType::Timestamp => Some(Role::Timestamp),
        RoleType::Snapshot => Some(Role::Snapshot),
        RoleType::Targets => Some(Role::Targets),
        RoleType::DelegatedTargets => None,
    }
}

/// What an error of the library means, without its text, which may quote what was offered.
fn refused(error: tough::error::Error) -> Refusal {
    use tough::error::Error;
    let known = |role, refusal: fn(Role) -> Refusal| role_of(role).map_or(Refusal::Delegations, refusal);
    match error {
        Error::ExpiredMetadata { role, .. } => known(role, Refusal::Expired),
        Error::ParseMetadata { role, .. } => known(role, Refusal::Malformed),
        Error::ParseTrustedMetadata { .. } => Refusal::Malformed(Role::Root),
        Error::VerifyTrustedMetadata { source, .. } => badly_signed(Role::Root, source),
        Error::VerifyMetadata { role, source, .. } => match role_of(role) {
            Some(role) => badly_signed(role, source),
            None => Refusal::Delegations,
        },
        Error::OlderMetadata { role, current_version, new_version, .. } => match role_of(role) {
            // The library says "older" of a root whose number is not the next one.
            Some(Role::Root) | None => Refusal::Malformed(Role::Root),
            Some(role) => Refusal::Rollback { role, offered: new_version, committed: current_version },
        },
        Error::OlderSnapshotInTimestamp { snapshot_new, snapshot_old, .. } => {
            Refusal::Rollback { role: Role::Snapshot, offered: snapshot_new, committed: snapshot_old }
        }
        Error::SnapshotRoleRollback { old_role_version, new_role_version, .. } => {
            Refusal::Rollback { role: Role::Targets, offered: new_role_version, committed: old_role_version }
        }
        Error::VersionMismatch { role, .. } => known(role, Refusal::MetadataMismatch),
        Error::TimestampMetaLength { .. } | Error::MissingSnapshotMeta { .. } => {
            Refusal::Malformed(Role::Timestamp)
        }
        Error::SnapshotTargetsMetaMissing { .. }
        | Error::SnapshotRoleMissing { .. }
        | Error::MetaMissing { .. } => Refusal::Malformed(Role::Snapshot),
        Error::Transport { url, source, .. } => {
            let name = url.path_segments().and_then(|mut s| s.next_back());
            let role = match name.and_then(Name::parse) {
                Some(Name::Timestamp) => Role::Timestamp,
                Some(Name::Snapshot(_)) => Role::Snapshot,
                Some(Name::Root(_)) => Role::Root,
                _ => Role::Targets,
            };
            if source.kind() == TransportErrorKind::FileNotFound {
                Refusal::MetadataMissing(role)
            } else {
                Refusal::MetadataMismatch(role)
            }
        }
        Error::MaxUpdatesExceeded { .. } => Refusal::Other("too many root versions at once"),
        Error::DatastoreCreate { source, .. }
        | Error::DatastoreOpen { source, .. }
        | Error::DatastoreRemove { source, .. } => Refusal::Scratch(source),
        _ => Refusal::Other("unexpected"),
    }
}

fn badly_signed(role: Role, error: tough::schema::Error) -> Refusal {
    match error {
        tough::schema::Error::SignatureThreshold { threshold, valid, .. } => {
            Refusal::Signatures { role, valid, threshold }
        }
        _ => Refusal::Malformed(role),
    }
}
