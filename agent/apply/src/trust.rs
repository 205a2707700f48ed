//! The root of trust: which project this host belongs to, and which `root.json` it starts from.
//!
//! Strongest first: `/etc/hostward/root.json`, the configuration, the enrollment token, the first root that came.
//! The agent never supplies a pin.

use hostward_config::{Config, TrustMode};
use hostward_protocol::report::{Finding, Responsible};
use serde::{Deserialize, Serialize};

use crate::distrust::{self, Demands, ReadError};
use crate::durable::{self, WriteError};
use crate::finding::{chain, finding};
use crate::root::{ROOT_JSON, Root, TRUST};
use crate::state::{self, StateError};
use crate::store::hex_sha256;

/// A `root.json` that is believed because somebody with the right to say so named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Its version.
    pub version: u64,
}

/// Where a pin came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `/etc/hostward/root.json`
    #[serde(rename = "root.json")]
    RootJson,
    /// `/etc/hostward/hostward.toml`
    Configuration,
    /// The enrollment token.
    Token,
    /// The first root that came.
    FirstUse,
}

impl Source {
    /// The word that `status.json` has for it.
    pub fn word(self) -> &'static str {
        match self {
            Source::RootJson => "root.json",
            Source::Configuration => "configuration",
            Source::Token => "token",
            Source::FirstUse => "first-use",
        }
    }
}

/// One project that the host belongs to, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Project id.
    pub project: String,
    /// The pin that came with the token, or that the first use left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Where that pin came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What the store holds is of an earlier enrollment: the first policy of this one is not held against it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starts_anew: bool,
}

/// `trust.json`, schema `hostward/trust/1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// `hostward/trust/1`
    pub schema: String,
    /// What the host belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Membership>,
    /// What a token that has not been used up yet names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Membership>,
    /// SHA-256 of a token that was used up but could not be removed from /etc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_token: Option<String>,
}

impl Trust {
    /// What is recorded; nothing where there is no file.
    pub fn load(root: &Root) -> Result<Trust, StateError> {
        Ok(state::read(&root.path(TRUST), TRUST)?.unwrap_or_default())
    }

    /// Records it.
    pub fn save(&mut self, root: &Root) -> Result<(), WriteError> {
        self.schema = "hostward/trust/1".into();
        state::write(&root.path(TRUST), self, 0o600)
    }

    /// Forgets it.
    pub fn remove(root: &Root) -> Result<(), WriteError> {
        durable::remove(&root.path(TRUST))
    }

    /// The membership that counts: a pending one only where there is no other.
    pub fn membership(&self) -> Option<&Membership> {
        self.current.as_ref().or(self.pending.as_ref())
    }
}

/// From where trust starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// This very file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its hash and version.
        pin: Pin,
    },
    /// Whatever file has this hash.
    Pinned {
        /// Hash and version.
        pin: Pin,
        /// Who says so.
        source: Source,
    },
    /// The first version 1 that comes.
    FirstUse,
}

impl Anchor {
    /// The pin, where there is one yet.
    pub fn pin(&self) -> Option<&Pin> {
        match self {
            Anchor::File { pin, .. } | Anchor::Pinned { pin, .. } => Some(pin),
            Anchor::FirstUse => None,
        }
    }

    /// Who says so.
    pub fn source(&self) -> Source {
        match self {
            Anchor::File { .. } => Source::RootJson,
            Anchor::Pinned { source, .. } => *source,
            Anchor::FirstUse => Source::FirstUse,
        }
    }
}

/// Why there is no root of trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The host belongs to no project.
    #[error("this host belongs to no project yet")]
    NotEnrolled,
    /// The operator configured one project, the host is enrolled in another.
    #[error("this host is enrolled in project `{enrolled}`, but its configuration says `{configured}`")]
    Project {
        /// The one it is enrolled in.
        enrolled: String,
        /// The one that the configuration names.
        configured: String,
    },
    /// Nobody pinned a root.
    #[error("no root of trust is pinned for this host")]
    Unpinned,
    /// `/etc/hostward/root.json` cannot be used.
    #[error("`{ROOT_JSON}` cannot be used")]
    RootJson(#[source] ReadError),
    /// `/etc/hostward/root.json` is no root metadata.
    #[error("`{ROOT_JSON}` is no TUF root metadata")]
    NotRoot,
}

impl TrustError {
    /// As a finding.
    pub fn finding(&self) -> Finding {
        let (code, subject, mend) = match self {
            TrustError::NotEnrolled => (
                "not-enrolled",
                "enrollment",
                "put an enrollment token at `/etc/hostward/enrollment.token` (owner root, mode 0600)",
            ),
            TrustError::Project { .. } => (
                "project-mismatch",
                "`/etc/hostward/hostward.toml`",
                "correct `[trust] project`, or run `hostward unenroll` and enroll in that project",
            ),
            TrustError::Unpinned => (
                "no-root-of-trust",
                "root of trust",
                "use a token that carries a pin, set `[trust] root_sha256` and `root_version`, put the project's root at `/etc/hostward/root.json`, or accept the risk with `[trust] mode = \"first-use\"`",
            ),
            TrustError::RootJson(_) | TrustError::NotRoot => (
                "root-json-unusable",
                "`/etc/hostward/root.json`",
                "put the project's `root.json` there, owned by root and writable by nobody else",
            ),
        };
        finding(Responsible::Operator, code, subject, chain(self), mend)
    }
}

/// Project and anchor that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Project id.
    pub project: String,
    /// From where trust starts.
    pub anchor: Anchor,
    /// What the store holds is not held against the next policy.
    pub starts_anew: bool,
}

/// Which project and anchor count for `membership`.
pub fn effective(
    root: &Root,
    config: &Config,
    membership: Option<&Membership>,
) -> Result<Effective, TrustError> {
    let configured = config.trust.project.as_ref();
    let project = match (membership, configured) {
        (Some(membership), Some(configured)) if membership.project != *configured => {
            return Err(TrustError::Project {
                enrolled: membership.project.clone(),
                configured: configured.clone(),
            });
        }
        (Some(membership), _) => membership.project.clone(),
        (None, Some(configured)) => configured.clone(),
        (None, None) => return Err(TrustError::NotEnrolled),
    };
    Ok(Effective {
        project,
        anchor: anchor(root, config, membership)?,
        starts_anew: membership.is_some_and(|m| m.starts_anew),
    })
}

fn anchor(root: &Root, config: &Config, membership: Option<&Membership>) -> Result<Anchor, TrustError> {
    if let Some(bytes) = root_json(root)? {
        let pin = Pin { sha256: hex_sha256(&bytes), version: version_of(&bytes).ok_or(TrustError::NotRoot)? };
        return Ok(Anchor::File { bytes, pin });
    }
    let trust = &config.trust;
    if let (Some(sha256), Some(version)) = (&trust.root_sha256, trust.root_version) {
        return Ok(Anchor::Pinned {
            pin: Pin { sha256: sha256.to_ascii_lowercase(), version },
            source: Source::Configuration,
        });
    }
    if let Some((pin, membership)) = membership.and_then(|m| Some((m.pin.clone()?, m))) {
        return Ok(Anchor::Pinned { pin, source: membership.source.unwrap_or(Source::Token) });
    }
    match trust.mode {
        Some(TrustMode::FirstUse) => Ok(Anchor::FirstUse),
        None => Err(TrustError::Unpinned),
    }
}

fn root_json(root: &Root) -> Result<Option<Vec<u8>>, TrustError> {
    let demands = Demands { owner: 0, cap: 1 << 20, forbidden_mode: 0o022 };
    match distrust::read(&root.path(ROOT_JSON), demands) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadError::NotFound) => Ok(None),
        Err(source) => Err(TrustError::RootJson(source)),
    }
}

/// The version that root metadata say they have.
fn version_of(bytes: &[u8]) -> Option<u64> {
    let root: tough::schema::Signed<tough::schema::Root> = serde_json::from_slice(bytes).ok()?;
    Some(root.signed.version.get())
}
