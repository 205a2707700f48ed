//! One version of the policy: into the inbox, then before root.

use std::sync::Arc;
use std::time::Duration;

use hostward_protocol::report::Report;

use super::mirror::{self, MirrorError, Reuse, Wanted};
use super::repository::Repository;
use crate::apply::{Root, RootError};
use crate::inbox::Inbox;

/// How a timestamp is recognised.
#[derive(Clone, Debug)]
pub struct Label {
    /// Its entity tag.
    pub etag: Option<String>,
    /// SHA-256, base64url.
    pub digest: String,
}

/// A version that is in the inbox.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its timestamp.
    pub label: Label,
    /// The timestamp's version.
    pub version: u64,
    /// Its targets.
    pub targets: Vec<String>,
    /// Its metadata files.
    pub metadata: Vec<String>,
    /// What the repository lacks.
    pub gaps: Vec<hostward_protocol::report::Finding>,
}

impl Candidate {
    /// Whether root says that this version is what it obeys now.
    pub fn is_in_force(&self, report: &Report) -> bool {
        report.admission.is_none()
            && report.policy.as_ref().is_some_and(|policy| policy.version >= self.version)
    }
}

/// What root made of it.
#[derive(Debug)]
pub struct Adopted {
    /// The version.
    pub candidate: Candidate,
    /// Root's report.
    pub report: Box<Report>,
}

/// Why root made nothing of it.
#[derive(Debug)]
pub enum AdoptError {
    /// It is not in the inbox.
    Mirror(MirrorError),
    /// It is in the inbox, and root did not answer.
    Root(RootError, Candidate),
}

impl MirrorError {
    /// When the repository wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            MirrorError::Fault(fault) => fault.retry_after(),
            _ => None,
        }
    }
}

/// Brings a version in and puts it before root.
pub async fn adopt(
    root: Root,
    repository: Arc<Repository>,
    inbox: Inbox,
    wanted: Wanted,
    label: Label,
) -> Result<Adopted, AdoptError> {
    let candidate = bring(&repository, &inbox, wanted.clone(), &label).await?;
    let adopted = admit(&root, candidate).await?;
    if adopted.candidate.gaps.is_empty() && lacks_something(&adopted.report) {
        // Root does not have what it is believed to have: its store was replaced, or its pin.
        log::info!("hostward-apply lacks files of the policy: all of them are fetched");
        let everything = Wanted { reuse: Reuse::Nothing, first_root: wanted.pinned_root, ..wanted };
        let candidate = bring(&repository, &inbox, everything, &label).await?;
        return admit(&root, candidate).await;
    }
    Ok(adopted)
}

/// Puts before root what is in the inbox.
pub fn again(root: &Root, candidate: Candidate) -> impl Future<Output = Result<Adopted, AdoptError>> + use<> {
    let root = root.clone();
    async move { admit(&root, candidate).await }
}

async fn bring(
    repository: &Arc<Repository>,
    inbox: &Inbox,
    wanted: Wanted,
    label: &Label,
) -> Result<Candidate, AdoptError> {
    let mirrored =
        mirror::mirror(repository.clone(), inbox.clone(), wanted).await.map_err(AdoptError::Mirror)?;
    Ok(Candidate {
        label: label.clone(),
        version: mirrored.version,
        targets: mirrored.targets,
        metadata: mirrored.metadata,
        gaps: mirrored.gaps,
    })
}

async fn admit(root: &Root, candidate: Candidate) -> Result<Adopted, AdoptError> {
    match root.admit().await {
        Ok(report) => Ok(Adopted { candidate, report }),
        Err(error) => Err(AdoptError::Root(error, candidate)),
    }
}

fn lacks_something(report: &Report) -> bool {
    const CODES: [&str; 4] = ["target-missing", "target-mismatch", "metadata-missing", "pinned-root-missing"];
    report.admission.as_ref().is_some_and(|finding| CODES.contains(&finding.code.as_str()))
}
