//! `ssh.json`: whose certificates count, and which do not any more.

use serde::{Deserialize, Serialize};

use super::{Document, Entry, Kind};

/// `ssh.json`, schema `hostward/ssh/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// `hostward/ssh/1`
    pub schema: String,
    /// CAs that sign user certificates, each a line as in an OpenSSH `.pub` file.
    #[serde(default)]
    pub user_cas: Vec<Entry<String>>,
    /// CAs that sign host certificates, likewise.
    #[serde(default)]
    pub host_cas: Vec<Entry<String>>,
    /// What is revoked although it has not expired.
    #[serde(default)]
    pub revoked: Revoked,
}

impl Document for Ssh {
    const KIND: Kind = Kind::Ssh;
}

/// Revoked certificates and keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Revoked {
    /// Serial numbers of certificates of any of the user CAs.
    pub serials: Vec<Entry<u64>>,
    /// Key ids of certificates of any of the user CAs.
    pub key_ids: Vec<Entry<String>>,
    /// Public keys, each a line as in an OpenSSH `.pub` file.
    pub keys: Vec<Entry<String>>,
}
