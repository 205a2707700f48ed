//! The keys that sign the repository: made here, kept for ever, so that old ones can be abused too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use crate::digest::{hex, sha256_hex};
use crate::file::{self, Access, FileError};
use crate::metadata::canonical;

/// A top-level role of The Update Framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Says which keys count.
    Root,
    /// Says which targets there are.
    Targets,
    /// Says which targets metadata is the newest.
    Snapshot,
    /// Says that the snapshot is still the newest.
    Timestamp,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp];

    /// The word in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Targets => "targets",
            Role::Snapshot => "snapshot",
            Role::Timestamp => "timestamp",
        }
    }

    /// The role of a word.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == word)
    }

    /// How many keys the role has here.
    pub fn key_count(self) -> usize {
        match self {
            Role::Root => 3,
            Role::Targets => 2,
            Role::Snapshot | Role::Timestamp => 1,
        }
    }

    /// How many of them must sign.
    pub fn threshold(self) -> usize {
        match self {
            Role::Root | Role::Targets => 2,
            Role::Snapshot | Role::Timestamp => 1,
        }
    }
}

/// Why keys cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The directory or a file in it.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is no key.
    #[error("`{}` is no Ed25519 key", path.display())]
    Rejected {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyRejected,
    },
    /// No randomness.
    #[error("cannot make a key")]
    Generate(#[source] Unspecified),
    /// A key that metadata names is not there.
    #[error("the key {0} of the root metadata is not in the state directory")]
    Unknown(String),
}

/// A signing key and what metadata says of it.
pub struct Key {
    /// SHA-256 of its canonical form.
    pub id: String,
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(pair: Ed25519KeyPair) -> Key {
        let id = sha256_hex(&canonical(&public_form(&pair)));
        Key { id, pair }
    }

    /// A key that nobody knows.
    pub fn stranger() -> Result<Key, KeyError> {
        Ok(Key::new(Ed25519KeyPair::generate().map_err(KeyError::Generate)?))
    }

    /// Its public half, as metadata has it.
    pub fn public(&self) -> serde_json::Value {
        public_form(&self.pair)
    }

    /// A signature in hex.
    pub fn sign(&self, message: &[u8]) -> String {
        hex(self.pair.sign(message).as_ref())
    }
}

fn public_form(pair: &Ed25519KeyPair) -> serde_json::Value {
    serde_json::json!({
        "keytype": "ed25519",
        "scheme": "ed25519",
        "keyval": { "public": hex(pair.public_key().as_ref()) },
    })
}

/// All keys that were ever made, by id.
pub struct KeyRing {
    directory: PathBuf,
    keys: HashMap<String, Key>,
}

impl KeyRing {
    /// Reads the keys of a directory, which is made where there is none.
    pub fn open(directory: &Path) -> Result<KeyRing, KeyError> {
        file::make_private_dir(directory)?;
        let mut keys = HashMap::new();
        for path in file::list(directory)? {
            let bytes = file::read(&path)?;
            let pair =
                Ed25519KeyPair::from_pkcs8(&bytes).map_err(|source| KeyError::Rejected { path, source })?;
            let key = Key::new(pair);
            keys.insert(key.id.clone(), key);
        }
        Ok(KeyRing { directory: directory.to_owned(), keys })
    }

    /// Makes the keys of a role; returns their ids.
    pub fn make(&mut self, role: Role) -> Result<Vec<String>, KeyError> {
        let mut ids = Vec::new();
        for _ in 0..role.key_count() {
            let pair = Ed25519KeyPair::generate().map_err(KeyError::Generate)?;
            let document = pair.to_pkcs8().map_err(KeyError::Generate)?;
            let key = Key::new(pair);
            let name = format!("{}-{}.pk8", role.name(), &key.id[..16]);
            let path = self.directory.join(name);
            file::replace(&path, document.as_ref(), Access::Owner)?;
            ids.push(key.id.clone());
            self.keys.insert(key.id.clone(), key);
        }
        Ok(ids)
    }

    /// A key by id.
    pub fn key(&self, id: &str) -> Result<&Key, KeyError> {
        let unknown = || KeyError::Unknown(id.to_owned());
        self.keys.get(id).ok_or_else(unknown)
    }
}
