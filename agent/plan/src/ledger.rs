//! What hostward remembers about the host: `/var/lib/hostward/ledger.json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The ledger, schema `hostward/ledger/1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Everybody who ever had a uid on this host, by uid. Entries are never removed while the host is enrolled.
    pub people: BTreeMap<u32, Person>,
    /// The managed files that hostward wrote, by path: what they should be, so that drift is told from a first installation.
    pub files: BTreeMap<String, WrittenFile>,
}

/// Somebody who has or had a uid on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Stable id in the policy. The uid is never given to another id.
    pub id: String,
    /// Last login name.
    pub name: String,
    /// Last home.
    pub home: String,
    /// When the person lost login on this host; absent while they have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<DateTime<Utc>>,
    /// The home was archived or deleted after that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub home_settled: bool,
}

/// A file as it was last written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// SHA-256 of its content, hex.
    pub sha256: String,
    /// For a file compiled from something else (the KRL): SHA-256 of what it was compiled from, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_sha256: Option<String>,
}
