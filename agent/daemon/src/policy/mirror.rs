//! Bringing a version of the policy into the inbox: everything that root will need to admit it, in as few round
//! trips as it takes. The timestamp comes last, so that root sees the version before or the whole of this one.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use hostward_protocol::report::{Finding, Responsible};
use tokio::task::JoinSet;

use super::metadata::{self, MetadataError, Target};
use super::repository::{FetchError, Repository};
use crate::backend::Fault;
use crate::disk::DiskError;
use crate::inbox::{Inbox, TIMESTAMP};

/// How many targets are fetched at a time.
const CONCURRENCY: usize = 8;
/// How many rotations of the root are followed at a time; the rest next time.
const MAX_ROOTS: u64 = 256;

/// What to mirror.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The timestamp as polled.
    pub timestamp: Vec<u8>,
    /// The first `root.json` that root does not have.
    pub first_root: u64,
    /// The first `root.json` after its pin, where it must follow the chain from there.
    pub pinned_root: u64,
    /// Targets that root accepted before.
    pub known: HashSet<String>,
    /// Whether files of the inbox are believed to be whole.
    pub reuse: Reuse,
}

/// Whether anything that was fetched before is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// What root accepted and what is in the inbox is not fetched again.
    Known,
    /// Everything is fetched.
    Nothing,
}

/// What is in the inbox now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// Version of the timestamp.
    pub version: u64,
    /// The targets of this version.
    pub targets: Vec<String>,
    /// Metadata files in the inbox.
    pub metadata: Vec<String>,
    /// What the repository does not have although it should: root will say what that means.
    pub gaps: Vec<Finding>,
}

/// Why nothing new is in the inbox.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The repository could not be read; it may pass.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The inbox could not be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is no metadata.
    #[error("the repository's `{file}` is of no use: {source}")]
    Metadata {
        /// The file.
        file: String,
        /// What is wrong.
        source: MetadataError,
    },
}

impl MirrorError {
    /// For people and programs.
    pub fn finding(&self, subject: &str) -> Finding {
        let (code, responsible, mend) = match self {
            MirrorError::Fault(fault) => return fault.finding(subject),
            MirrorError::Disk(_) => (
                "inbox-unwritable",
                Responsible::Host,
                "see whether the disk is full, or owner and mode of /var/lib/hostward-agent were changed; it is tried again by itself",
            ),
            MirrorError::Metadata { .. } => {
                ("repository-unusable", Responsible::Backend, "see what is served at the repository's URL")
            }
        };
        Finding {
            code: code.into(),
            subject: subject.into(),
            message: self.to_string(),
            responsible,
            mend: mend.into(),
        }
    }
}

/// Brings it in.
pub async fn mirror(
    repository: Arc<Repository>,
    inbox: Inbox,
    wanted: Wanted,
) -> Result<Mirrored, MirrorError> {
    let (version, hint) =
        metadata::timestamp(&wanted.timestamp).map_err(|source| malformed(TIMESTAMP, source))?;
    let snapshot_name = format!("{hint}.snapshot.json");
    let mut targets_name = format!("{hint}.targets.json");
    let mut pass =
        Pass { repository: &repository, inbox: &inbox, metadata: vec![TIMESTAMP.into()], gaps: Vec::new() };
    let (snapshot, mut targets, roots) = tokio::try_join!(
        repository.metadata(&snapshot_name),
        repository.metadata(&targets_name),
        roots(&repository, wanted.first_root),
    )?;
    for (name, bytes) in roots {
        pass.put(name, &bytes)?;
    }
    if let Some(bytes) = &snapshot {
        let version = metadata::snapshot(bytes).map_err(|e| malformed(&snapshot_name, e))?;
        if version != hint {
            // Not every publisher numbers them alike.
            targets_name = format!("{version}.targets.json");
            targets = repository.metadata(&targets_name).await?;
        }
    }
    pass.put_or_miss(snapshot_name, snapshot.as_deref())?;
    let list = match &targets {
        Some(bytes) => metadata::targets(bytes).map_err(|e| malformed(&targets_name, e))?,
        None => Vec::new(),
    };
    pass.put_or_miss(targets_name, targets.as_deref())?;
    drop(targets);
    pass.fetch(&list, &wanted).await?;
    let Pass { metadata, gaps, .. } = pass;
    let targets: Vec<String> = list.into_iter().map(|t| t.file).collect();
    inbox.put(TIMESTAMP, &wanted.timestamp)?;
    let keep: BTreeSet<String> = metadata.iter().chain(&targets).cloned().collect();
    inbox.sweep(&keep)?;
    Ok(Mirrored { version, targets, metadata, gaps })
}

struct Pass<'a> {
    repository: &'a Arc<Repository>,
    inbox: &'a Inbox,
    metadata: Vec<String>,
    gaps: Vec<Finding>,
}

impl Pass<'_> {
    fn put(&mut self, name: String, bytes: &[u8]) -> Result<(), DiskError> {
        self.inbox.put(&name, bytes)?;
        self.metadata.push(name);
        Ok(())
    }

    fn put_or_miss(&mut self, name: String, bytes: Option<&[u8]>) -> Result<(), DiskError> {
        match bytes {
            Some(bytes) => self.put(name, bytes),
            None => {
                self.gap(format!("the repository's `{name}` is missing"));
                Ok(())
            }
        }
    }

    fn gap(&mut self, message: String) {
        self.gaps.push(Finding {
            code: "repository-incomplete".into(),
            subject: format!("repository `{}`", self.repository.url()),
            message,
            responsible: Responsible::Backend,
            mend: "publish the policy again; hosts keep what is in force until then".into(),
        });
    }

    async fn fetch(&mut self, list: &[Target], wanted: &Wanted) -> Result<(), MirrorError> {
        let mut missing = list
            .iter()
            .filter(|target| match wanted.reuse {
                Reuse::Nothing => true,
                Reuse::Known => !wanted.known.contains(&target.file) && !self.inbox.has(&target.file),
            })
            .cloned();
        // Dropped with what is under way, where this fails.
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < CONCURRENCY {
                let Some(target) = missing.next() else { break };
                let (repository, inbox) = (self.repository.clone(), self.inbox.clone());
                under_way.spawn(async move { repository.target(&target, &inbox).await });
            }
            match under_way.join_next().await {
                None => return Ok(()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(FetchError::Fault(fault)))) => return Err(fault.into()),
                Some(Ok(Err(FetchError::Disk(error)))) => return Err(error.into()),
                Some(Ok(Err(wrong @ FetchError::Wrong { .. }))) => self.gap(wrong.to_string()),
                Some(Err(error)) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }
}

/// The roots from `first` on, as many as there are.
async fn roots(repository: &Repository, first: u64) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let mut found = Vec::new();
    for version in first..first.saturating_add(MAX_ROOTS) {
        let name = format!("{version}.root.json");
        match repository.metadata(&name).await? {
            Some(bytes) => found.push((name, bytes)),
            None => break,
        }
    }
    Ok(found)
}

fn malformed(file: &str, source: MetadataError) -> MirrorError {
    MirrorError::Metadata { file: file.into(), source }
}
