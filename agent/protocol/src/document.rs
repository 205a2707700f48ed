//! Policy documents: the JSON targets of a project's TUF repository.
//!
//! Each document is an object with a `schema` member, `hostward/<kind>/<major>`. Members this version
//! does not know are ignored; a major it does not know is refused. An entry of a list that does not have
//! the shape of its kind is kept as [`Entry::Malformed`], so that one bad entry never costs the others.

mod entitlement;
mod entry;
mod grant;
mod person;
mod project;
mod service;
mod ssh;

pub use entitlement::{Arguments, Command, Entitlement, Entitlements, RunAs};
pub use entry::Entry;
pub use grant::{Grant, Grants};
pub use person::{Group, Groups, SubidRange, User, UserStatus, Users};
pub use project::{HomeRemoval, Project, Removal, Settings};
pub use service::{Service, Services};
pub use ssh::{Revoked, Ssh};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A kind of document, and with it its target names and size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `project.json`
    Project,
    /// `users-NN.json`, sharded
    Users,
    /// `groups-NN.json`, sharded
    Groups,
    /// `grants-NN.json`, sharded
    Grants,
    /// `entitlements.json`
    Entitlements,
    /// `ssh.json`
    Ssh,
    /// `services.json`, which a policy may be without
    Services,
}

/// Most shards that one kind may be split into.
pub const MAX_SHARDS: u32 = 1024;

impl Kind {
    /// All kinds, in the order in which a host reads them.
    pub const ALL: [Kind; 7] = [
        Kind::Project,
        Kind::Users,
        Kind::Groups,
        Kind::Grants,
        Kind::Entitlements,
        Kind::Ssh,
        Kind::Services,
    ];

    /// The word in target names and schemas.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Project => "project",
            Kind::Users => "users",
            Kind::Groups => "groups",
            Kind::Grants => "grants",
            Kind::Entitlements => "entitlements",
            Kind::Ssh => "ssh",
            Kind::Services => "services",
        }
    }

    /// The largest document of this kind that a host reads, in bytes.
    pub fn max_len(self) -> u64 {
        match self {
            Kind::Project => 64 << 10,
            Kind::Users | Kind::Groups | Kind::Grants => 16 << 20,
            Kind::Entitlements | Kind::Services => 4 << 20,
            Kind::Ssh => 16 << 20,
        }
    }

    /// Whether the kind comes in shards `NAME-NN.json`.
    pub fn is_sharded(self) -> bool {
        matches!(self, Kind::Users | Kind::Groups | Kind::Grants)
    }

    /// The kind and shard number of a flat target name; `None` for a name that is no policy document
    /// (which a host ignores). Shard numbers are decimal, at least two digits, `00` to `1023`.
    pub fn of_target(name: &str) -> Option<(Kind, Option<u32>)> {
        let stem = name.strip_suffix(".json")?;
        if let Some(kind) = Kind::ALL.into_iter().find(|k| !k.is_sharded() && k.name() == stem) {
            return Some((kind, None));
        }
        let (word, digits) = stem.split_once('-')?;
        let kind = Kind::ALL.into_iter().find(|k| k.is_sharded() && k.name() == word)?;
        let well_formed = (2..=4).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.len() == 2 || !digits.starts_with('0'));
        let shard = digits.parse().ok()?;
        (well_formed && shard < MAX_SHARDS).then_some((kind, Some(shard)))
    }

    /// The target name of a shard, or of the whole kind.
    pub fn target(self, shard: Option<u32>) -> String {
        match shard {
            Some(n) => format!("{}-{n:02}.json", self.name()),
            None => format!("{}.json", self.name()),
        }
    }
}

/// A document that can be read from a target.
pub trait Document: DeserializeOwned {
    /// Which kind it is.
    const KIND: Kind;
    /// The major version of the schema that this type reads.
    const MAJOR: u32 = 1;
}

/// Why a document cannot be read. None of these quotes the document's content.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// No bytes at all: never a legal document.
    #[error("the document is empty; an empty list is written out, never an empty file")]
    Empty,
    /// Larger than [`Kind::max_len`].
    #[error("the document has {len} bytes, more than the {max} that this host reads")]
    TooLarge {
        /// Length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Not JSON, or not an object of this kind.
    #[error("not a valid document (line {line}, column {column})")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A `schema` of another kind.
    #[error("its schema is not that of a {expected} document")]
    OtherKind {
        /// The kind's word.
        expected: &'static str,
    },
    /// A major version that this host does not know.
    #[error("it needs major version {found} of the {kind} schema, this host knows {known}: upgrade hostward")]
    UnknownMajor {
        /// The kind's word.
        kind: &'static str,
        /// What the document says.
        found: u32,
        /// What this host reads.
        known: u32,
    },
}

impl From<serde_json::Error> for DocumentError {
    fn from(error: serde_json::Error) -> Self {
        DocumentError::Malformed { line: error.line(), column: error.column() }
    }
}

/// Reads one document: size, schema and shape.
pub fn parse<D: Document>(bytes: &[u8]) -> Result<D, DocumentError> {
    #[derive(Deserialize)]
    struct Header {
        schema: String,
    }
    let max = D::KIND.max_len();
    let len = bytes.len() as u64;
    if len > max {
        return Err(DocumentError::TooLarge { len, max });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DocumentError::Empty);
    }
    let header: Header = serde_json::from_slice(bytes)?;
    check_schema(&header.schema, D::KIND, D::MAJOR)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// The `schema` member of a kind at a major version.
pub fn schema(kind: Kind, major: u32) -> String {
    format!("hostward/{}/{major}", kind.name())
}

fn check_schema(schema: &str, kind: Kind, known: u32) -> Result<(), DocumentError> {
    let other = DocumentError::OtherKind { expected: kind.name() };
    let Some(rest) = schema.strip_prefix("hostward/") else {
        return Err(other);
    };
    let Some((word, major)) = rest.split_once('/') else {
        return Err(other);
    };
    if word != kind.name() {
        return Err(other);
    }
    match major.parse::<u32>() {
        Ok(found) if found == known => Ok(()),
        Ok(found) => Err(DocumentError::UnknownMajor { kind: kind.name(), found, known }),
        Err(_) => Err(other),
    }
}

#[cfg(test)]
mod tests;
