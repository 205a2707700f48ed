//! What root has, as far as the agent needs to know it to fetch no more than is missing.

use std::collections::HashSet;
use std::path::Path;

use hostward_config::Trust;
use hostward_protocol::local::HostStatus;
use serde::{Deserialize, Serialize};

use super::metadata;
use crate::disk;
use crate::identity::Enrollment;
use crate::paths::Options;

/// The newest version that root accepted: `accepted.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The repository's URL.
    pub repository: String,
    /// Version of the timestamp.
    pub version: u64,
    /// The timestamp's entity tag.
    pub etag: Option<String>,
    /// SHA-256 of the timestamp, base64url.
    pub timestamp: String,
    /// The targets.
    pub targets: Vec<String>,
}

/// What root tells everybody; `None` where it tells nothing that the agent understands.
pub fn host_status(path: &Path) -> Option<HostStatus> {
    disk::read_json(path).ok().flatten()
}

/// What root accepted of `repository`, where root still has it.
pub fn accepted(options: &Options, enrollment: &Enrollment) -> Option<Accepted> {
    let accepted: Accepted = disk::read_json(&options.accepted()).ok().flatten()?;
    let status = host_status(&options.host_status)?;
    let same = accepted.repository == enrollment.repository
        && status.project.as_deref() == Some(&enrollment.project)
        && status.policy?.version == accepted.version;
    same.then_some(accepted)
}

/// The targets that root accepted.
pub fn known(accepted: Option<Accepted>) -> HashSet<String> {
    accepted.map(|a| a.targets.into_iter().collect()).unwrap_or_default()
}

/// The first `root.json` that root does not have: after the newest that it accepted; before it accepted any, what
/// its pin needs.
pub fn first_root(options: &Options, trust: &Trust, enrollment: &Enrollment) -> u64 {
    let accepted = host_status(&options.host_status)
        .filter(|status| status.project.as_deref() == Some(&enrollment.project))
        .and_then(|status| status.policy)
        .map(|policy| policy.root_version);
    match accepted {
        Some(have) => have.saturating_add(1),
        None => pinned_root(options, trust, enrollment),
    }
}

/// The first `root.json` that root needs to follow the chain from its pin. The strongest pin counts: the operator's
/// file, the configuration, the token.
pub fn pinned_root(options: &Options, trust: &Trust, enrollment: &Enrollment) -> u64 {
    let file = std::fs::read(options.pinned_root()).ok();
    match file.and_then(|bytes| metadata::root(&bytes)) {
        Some(have) => have.saturating_add(1),
        None => trust.root_version.or(enrollment.first_root).unwrap_or(1),
    }
}
