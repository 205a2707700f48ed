//! How the backend can be told to misbehave: a table of faults that are switched while it serves.

mod set;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hostward_protocol::document::Kind;
use hostward_protocol::problem::Code;

use crate::keys::Role;

pub use set::{FaultError, Faults, TABLE, parse};

/// One way to misbehave.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answer later.
    Delay {
        /// How much later.
        time: Duration,
        /// Which requests.
        scope: Scope,
    },
    /// Answer with a status.
    Status {
        /// Which one.
        code: u16,
        /// Seconds in `Retry-After`.
        retry_after: Option<u64>,
        /// Which requests.
        scope: Scope,
    },
    /// Refuse API requests with 401.
    Unauthorized {
        /// The problem given.
        code: Code,
        /// Which requests.
        scope: Scope,
    },
    /// End the connection in the middle of the body.
    Cut {
        /// Bytes of the body that are sent; half of them where absent.
        after: Option<u64>,
        /// Which requests.
        scope: Scope,
    },
    /// End the connection without an answer.
    Close {
        /// Which requests.
        scope: Scope,
    },
    /// A body that never ends.
    Endless {
        /// Which requests.
        scope: Scope,
    },
    /// A body that means nothing.
    Garbage {
        /// Which requests.
        scope: Scope,
    },
    /// Send the client elsewhere.
    Redirect {
        /// Value of `Location`.
        to: String,
        /// Which requests.
        scope: Scope,
    },
    /// Ignore `Prefer: wait`.
    NoWait,
    /// The backend's clock is off.
    Clock {
        /// By how many seconds.
        offset: i64,
    },
    /// A server certificate that has expired.
    TlsExpired,
    /// A server certificate of a CA that nobody knows.
    TlsOtherCa,
    /// A server certificate for another name.
    TlsOtherName,
    /// Roots after a version are not found.
    WithholdRoots {
        /// The newest that is found.
        newest: u64,
    },
    /// An older timestamp.
    Replay {
        /// Of which version.
        version: u64,
    },
    /// Publish changes without raising the version.
    SameVersion,
    /// Signatures of a key that the root does not know.
    WrongKey {
        /// On whose metadata.
        role: Role,
    },
    /// One signature fewer than the threshold.
    BelowThreshold {
        /// On whose metadata.
        role: Role,
    },
    /// Metadata that has expired.
    Expired {
        /// Whose.
        role: Role,
    },
    /// Metadata signed with the keys of an older root.
    OldKeys {
        /// Its version.
        root: u64,
    },
    /// A `project.json` of another project.
    WrongProject {
        /// The id in it.
        id: String,
    },
    /// Targets that are not found.
    MissingTarget {
        /// Start of their names.
        name: String,
    },
    /// Targets of which half is sent, as if it were whole.
    CutTarget {
        /// Start of their names.
        name: String,
    },
    /// Targets that are longer than their metadata says.
    LongTarget {
        /// Start of their names.
        name: String,
    },
    /// One target that is longer than a host reads of its kind, and rightly signed.
    LargeTarget {
        /// Start of its name.
        name: String,
    },
    /// SSH certificates for hosts and services that are not what was asked for.
    WrongCertificate {
        /// What is wrong with them.
        flaw: CertificateFlaw,
        /// Which requests.
        scope: Scope,
    },
    /// Do what was asked for, and end the connection without the answer.
    LoseAnswer {
        /// Which requests.
        scope: Scope,
    },
    /// Say that another event is the newest that is had of a host.
    LieHead {
        /// Which.
        lie: HeadLie,
        /// Which requests.
        scope: Scope,
    },
    /// Never take events of a kind.
    RefuseEvents {
        /// Start of their types.
        kind: String,
        /// Refuse every batch that has one, without a word which.
        whole: bool,
    },
    /// Take no batch of events that is larger.
    SmallBatches {
        /// Than so many bytes.
        bytes: usize,
    },
    /// Members in documents that no version knows.
    UnknownMembers,
    /// Documents of a major version that no host knows.
    UnknownMajor {
        /// Of which kind; all where absent.
        kind: Option<Kind>,
    },
}

/// What may be wrong with an SSH certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFlaw {
    /// Signed by a CA that nobody trusts.
    OtherCa,
    /// For another key.
    OtherKey,
    /// A host's instead of a user's, or the other way round.
    OtherType,
    /// With a principal that is not the user's or host's.
    MorePrincipals,
    /// Without any principal.
    NoPrincipals,
    /// Over.
    Expired,
    /// Not begun.
    NotYet,
    /// Good for ten years.
    Long,
    /// With a critical option that nobody knows.
    CriticalOption,
    /// With everything that `ssh-keygen` allows by default.
    MoreExtensions,
    /// No certificate.
    Garbage,
}

impl CertificateFlaw {
    const ALL: [(&str, CertificateFlaw); 11] = [
        ("other-ca", CertificateFlaw::OtherCa),
        ("other-key", CertificateFlaw::OtherKey),
        ("other-type", CertificateFlaw::OtherType),
        ("more-principals", CertificateFlaw::MorePrincipals),
        ("no-principals", CertificateFlaw::NoPrincipals),
        ("expired", CertificateFlaw::Expired),
        ("not-yet", CertificateFlaw::NotYet),
        ("long", CertificateFlaw::Long),
        ("critical-option", CertificateFlaw::CriticalOption),
        ("more-extensions", CertificateFlaw::MoreExtensions),
        ("garbage", CertificateFlaw::Garbage),
    ];

    /// The flaw of a word.
    pub fn parse(word: &str) -> Option<CertificateFlaw> {
        Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, flaw)| flaw)
    }
}

/// What is said instead of the newest event that is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadLie {
    /// One that no host has.
    Ahead,
    /// None.
    Behind,
    /// The right one, with another hash.
    OtherHash,
}

impl HeadLie {
    /// The lie of a word.
    pub fn parse(word: &str) -> Option<HeadLie> {
        match word {
            "ahead" => Some(HeadLie::Ahead),
            "behind" => Some(HeadLie::Behind),
            "other-hash" => Some(HeadLie::OtherHash),
            _ => None,
        }
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only paths that contain this.
    path: Option<String>,
    /// Only so many more requests.
    left: Option<Arc<AtomicU64>>,
}

impl Scope {
    /// Whether a request to `path` is meant; counts it if it is.
    pub fn takes(&self, path: &str) -> bool {
        if !self.path.as_ref().is_none_or(|part| path.contains(part)) {
            return false;
        }
        let Some(left) = &self.left else { return true };
        let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        taken.is_ok()
    }
}

/// What a fault acts on, and so what switching it must cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Single answers; nothing but those changes.
    Answer,
    /// The server certificate; open connections end.
    Tls,
    /// What is served of what was published; those who wait look again.
    Serving,
    /// What is published; a new version is.
    Publication,
}

impl Fault {
    /// What it acts on.
    pub fn layer(&self) -> Layer {
        match self {
            Fault::Delay { .. }
            | Fault::Status { .. }
            | Fault::Unauthorized { .. }
            | Fault::Cut { .. }
            | Fault::Close { .. }
            | Fault::Endless { .. }
            | Fault::Garbage { .. }
            | Fault::Redirect { .. }
            | Fault::NoWait
            | Fault::Clock { .. }
            | Fault::WrongCertificate { .. }
            | Fault::LoseAnswer { .. }
            | Fault::LieHead { .. }
            | Fault::RefuseEvents { .. }
            | Fault::SmallBatches { .. }
            | Fault::MissingTarget { .. }
            | Fault::CutTarget { .. }
            | Fault::LongTarget { .. } => Layer::Answer,
            Fault::TlsExpired | Fault::TlsOtherCa | Fault::TlsOtherName => Layer::Tls,
            Fault::WithholdRoots { .. } | Fault::Replay { .. } => Layer::Serving,
            Fault::SameVersion
            | Fault::WrongKey { .. }
            | Fault::BelowThreshold { .. }
            | Fault::Expired { .. }
            | Fault::OldKeys { .. }
            | Fault::WrongProject { .. }
            | Fault::LargeTarget { .. }
            | Fault::UnknownMembers
            | Fault::UnknownMajor { .. } => Layer::Publication,
        }
    }
}
