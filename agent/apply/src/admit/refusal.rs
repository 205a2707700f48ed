//! Why the policy that was offered is not in force. None of these quotes what was offered.

use hostward_plan::policy::PolicyError;
use hostward_protocol::document::DocumentError;
use hostward_protocol::report::{Finding, Responsible};

use crate::durable::WriteError;
use crate::finding::{chain, finding};
use crate::inbox::InboxError;
use crate::store::StoreError;
use crate::trust::TrustError;

/// One of the four kinds of signed metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `N.root.json`
    Root,
    /// `timestamp.json`
    Timestamp,
    /// `N.snapshot.json`
    Snapshot,
    /// `N.targets.json`
    Targets,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Root => "root",
            Role::Timestamp => "timestamp",
            Role::Snapshot => "snapshot",
            Role::Targets => "targets",
        })
    }
}

/// Why the policy that was offered is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no root of trust.
    #[error("there is no root of trust to hold the policy against")]
    Trust(#[source] TrustError),
    /// The committed store cannot be used.
    #[error("the committed policy cannot be used")]
    Store(#[source] StoreError),
    /// Nothing was offered.
    #[error("the agent has mirrored no policy yet")]
    NothingOffered,
    /// A file in the inbox is not one that root reads.
    #[error("the agent's inbox is not as it should be")]
    Inbox(#[source] InboxError),
    /// The pinned root is not in the inbox.
    #[error("the pinned root, version {version}, is not in the inbox")]
    PinnedRootMissing {
        /// Its version.
        version: u64,
    },
    /// The root has another hash than the pin.
    #[error("root version {version} is not the one that this host is pinned to")]
    PinMismatch {
        /// Its version.
        version: u64,
    },
    /// The pin is of a root that the offered chain does not reach.
    #[error("this host is pinned to root version {pinned}, but only versions up to {reached} are offered")]
    PinNotReached {
        /// Version of the pin.
        pinned: u64,
        /// Newest version offered.
        reached: u64,
    },
    /// Metadata have expired.
    #[error("the {0} metadata have expired")]
    Expired(Role),
    /// Older than what is committed.
    #[error("{role} version {offered} was offered, but version {committed} is already in force")]
    Rollback {
        /// Of what.
        role: Role,
        /// The version offered.
        offered: u64,
        /// The version in force.
        committed: u64,
    },
    /// The same version as committed with another content.
    #[error("{role} version {version} was offered with another content than the one already accepted")]
    SameVersion {
        /// Of what.
        role: Role,
        /// Its version.
        version: u64,
    },
    /// Fewer good signatures than the root demands.
    #[error("the {role} metadata have {valid} valid signatures of the {threshold} that the root demands")]
    Signatures {
        /// Of what.
        role: Role,
        /// Valid signatures.
        valid: u64,
        /// How many are needed.
        threshold: u64,
    },
    /// Not metadata, or metadata that contradict themselves.
    #[error("the {0} metadata are malformed")]
    Malformed(Role),
    /// A metadata file is missing in the inbox.
    #[error("the {0} metadata are missing in the inbox")]
    MetadataMissing(Role),
    /// A metadata file is not the one that the signed metadata above it name.
    #[error("the {0} metadata are not those that the metadata above them name")]
    MetadataMismatch(Role),
    /// Timestamp, snapshot and targets do not share one version.
    #[error(
        "timestamp {timestamp}, snapshot {snapshot} and targets {targets} do not share one version number"
    )]
    VersionsDiffer {
        /// Version of the timestamp.
        timestamp: u64,
        /// Version of the snapshot.
        snapshot: u64,
        /// Version of the targets.
        targets: u64,
    },
    /// The root does not demand consistent snapshots.
    #[error("the root does not say `consistent_snapshot`")]
    NotConsistent,
    /// The targets metadata delegate.
    #[error("the targets metadata delegate to other roles")]
    Delegations,
    /// A document is missing.
    #[error("document `{0}` is missing in the inbox")]
    TargetMissing(String),
    /// A document is not what the targets metadata say.
    #[error("document `{0}` is not the one that was signed: cut or altered")]
    TargetMismatch(String),
    /// A document is larger than a host reads.
    #[error("document `{name}` is larger than the {max} bytes that a host reads")]
    TargetTooLarge {
        /// Its target name.
        name: String,
        /// The limit.
        max: u64,
    },
    /// What was signed is no policy for this host.
    #[error("what was signed is no policy for this host")]
    Policy(#[source] PolicyError),
    /// It was verified, but could not be committed.
    #[error("the policy could not be committed")]
    Commit(#[source] WriteError),
    /// No scratch directory.
    #[error("cannot make a scratch directory in `/run/hostward`")]
    Scratch(#[source] std::io::Error),
    /// Something that the TUF library refuses and that has no name here.
    #[error("the policy was refused by the TUF library ({0})")]
    Other(&'static str),
}

impl Refusal {
    /// A stable word for programs.
    pub fn code(&self) -> String {
        let word = match self {
            Refusal::Trust(error) => return error.finding().code,
            Refusal::Expired(role) => return format!("expired-{role}"),
            Refusal::Store(_) => "store-damaged",
            Refusal::NothingOffered => "inbox-empty",
            Refusal::Inbox(_) => "inbox-refused",
            Refusal::PinnedRootMissing { .. } => "pinned-root-missing",
            Refusal::PinMismatch { .. } | Refusal::PinNotReached { .. } => "root-pin-mismatch",
            Refusal::Rollback { .. } => "rollback",
            Refusal::SameVersion { .. } => "same-version-other-content",
            Refusal::Signatures { valid: 0, .. } => "bad-signature",
            Refusal::Signatures { .. } => "threshold",
            Refusal::Malformed(_) => "malformed-metadata",
            Refusal::MetadataMissing(_) => "metadata-missing",
            Refusal::MetadataMismatch(_) => "metadata-mismatch",
            Refusal::VersionsDiffer { .. } => "versions-differ",
            Refusal::NotConsistent => "not-consistent-snapshot",
            Refusal::Delegations => "delegations",
            Refusal::TargetMissing(_) => "target-missing",
            Refusal::TargetMismatch(_) => "target-mismatch",
            Refusal::TargetTooLarge { .. } => "target-too-large",
            Refusal::Policy(error) => policy_code(error),
            Refusal::Commit(_) => "commit-failed",
            Refusal::Scratch(_) => "scratch-failed",
            Refusal::Other(_) => "admission-failed",
        };
        word.into()
    }

    /// As a finding.
    pub fn finding(&self) -> Finding {
        if let Refusal::Trust(error) = self {
            return error.finding();
        }
        let (responsible, mend) = self.mend();
        finding(responsible, &self.code(), "policy", chain(self), mend)
    }

    fn mend(&self) -> (Responsible, &'static str) {
        use Responsible::{Backend, Host, Operator};
        match self {
            Refusal::Trust(_) => (Operator, ""),
            Refusal::Store(_) => (
                Operator,
                "the accounts in place stay as they are; to start again from the pinned root, move `/var/lib/hostward/store` aside and run `hostward sync` (the protection against replayed older policies starts anew then)",
            ),
            Refusal::NothingOffered => {
                (Host, "wait for the agent, or look at its journal: `journalctl -u hostward`")
            }
            Refusal::Inbox(_) => (
                Operator,
                "find out who put it there: only the agent may write there; if it was not somebody with root, treat the agent as captured; then `hostward sync`",
            ),
            Refusal::PinnedRootMissing { .. } => (
                Backend,
                "publish every version of `root.json` for ever; if it is published, look at the agent's journal",
            ),
            Refusal::PinMismatch { .. } | Refusal::PinNotReached { .. } => (
                Operator,
                "find out which root is the project's: if the pin is wrong, correct it (`/etc/hostward/root.json`, `[trust]`, or a new token); if it is right, somebody serves another project's policy",
            ),
            Refusal::Expired(Role::Timestamp) => (
                Backend,
                "publish a fresh timestamp, and look at this host's clock; what was accepted last stays in force",
            ),
            Refusal::Expired(_) => (
                Backend,
                "sign and publish the metadata anew, and look at this host's clock; what was accepted last stays in force",
            ),
            Refusal::Rollback { .. } | Refusal::SameVersion { .. } => (
                Backend,
                "publish a version above the one in force; if nobody restored the repository from a backup, somebody replays old policy",
            ),
            Refusal::Signatures { .. } => (
                Backend,
                "sign with the keys and the threshold that the newest root names; if that was done, somebody forges policy",
            ),
            Refusal::MetadataMissing(_) | Refusal::TargetMissing(_) => {
                (Backend, "publish the file; if it is published, the agent fetches it at its next attempt")
            }
            Refusal::TargetTooLarge { .. } => (Backend, "split the documents into more shards"),
            Refusal::Policy(PolicyError::OtherProject { .. }) => (
                Operator,
                "find out which project this host belongs to; enroll it there with a token of that project",
            ),
            Refusal::Policy(_) => (Backend, "correct the documents and publish them"),
            Refusal::Commit(_) | Refusal::Scratch(_) => (
                Host,
                "the next pass tries again; if it stays, look at free space and mount options of /var and /run",
            ),
            Refusal::Malformed(_)
            | Refusal::MetadataMismatch(_)
            | Refusal::VersionsDiffer { .. }
            | Refusal::NotConsistent
            | Refusal::Delegations
            | Refusal::TargetMismatch(_)
            | Refusal::Other(_) => {
                (Backend, "publish the repository anew, all files of one version together")
            }
        }
    }
}

fn policy_code(error: &PolicyError) -> &'static str {
    match error {
        PolicyError::OtherProject { .. } => "wrong-project",
        PolicyError::NoUsers => "policy-empties-host",
        PolicyError::Missing(_) => "document-missing",
        PolicyError::Document { source, .. } => match source {
            DocumentError::UnknownMajor { .. } => "unknown-major",
            DocumentError::Empty => "document-empty",
            DocumentError::TooLarge { .. } => "target-too-large",
            DocumentError::Malformed { .. } | DocumentError::OtherKind { .. } => "document-malformed",
        },
    }
}
