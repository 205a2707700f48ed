//! What hostward remembers about the host: `/var/lib/hostward/ledger.json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hostward_protocol::document::SubidRange;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where the account database is.
pub const DATABASE_PATH: &str = "/var/lib/misc/hostward.db";

/// The ledger, schema `hostward/ledger/1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Everybody who ever had a uid on this host, by uid. Entries are never removed while the host is enrolled.
    pub people: BTreeMap<u32, Person>,
    /// The managed files that hostward wrote, by path: what they should be, so that drift is told from a first installation.
    /// [`crate::sshd::MAIN_PATH`] is among them while hostward has a block in it, [`DATABASE_PATH`] once it was written.
    pub files: BTreeMap<String, WrittenFile>,
    /// sshd's configuration was or is about to be changed, and sshd did not read it since. Set in
    /// [`crate::Plan::ledger_before`], cleared when [`crate::Step::ReloadSshd`] succeeded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sshd_reload_due: bool,
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
    /// Every subordinate id they ever had here, which nobody else gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subids: Vec<SubidRange>,
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

impl WrittenFile {
    /// A file that was written with this content.
    pub fn of(content: &[u8]) -> Self {
        WrittenFile { sha256: sha256_hex(content), source_sha256: None }
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
