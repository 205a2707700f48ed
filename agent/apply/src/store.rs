//! The committed store: the newest policy that was accepted whole, and nothing else.
//!
//! `committed.json` names and hashes everything; `targets/` holds the documents by hash. The documents are written
//! first, then `committed.json` is renamed into place, so that a kill leaves the old or the new policy. A store that
//! does not parse is an error, never "no store": taking it for none would forget what was already accepted, and with
//! it the protection against replay.

mod committed;

pub use committed::{Committed, DocumentName, StoreError};

use std::collections::BTreeSet;
use std::path::PathBuf;

use hostward_plan::facts::OwnDirectory;
use sha2::{Digest, Sha256};

use crate::distrust::{self, Demands, ReadError};
use crate::durable::{self, Attributes, WriteError};
use crate::root::{Root, STORE};

/// The largest `committed.json` that is read, in bytes.
const MAX_COMMITTED: u64 = 64 << 20;

/// A document with its bytes, whose hash was checked.
#[derive(Clone, Debug)]
pub struct Document {
    /// Target name.
    pub name: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// The store on disk.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The store of a host.
    pub fn new(root: &Root) -> Store {
        Store { directory: root.path(STORE) }
    }

    /// What is committed; `None` where nothing ever was.
    pub fn load(&self) -> Result<Option<Committed>, StoreError> {
        let demands = Demands { owner: 0, cap: MAX_COMMITTED, forbidden_mode: 0o022 };
        match distrust::read(&self.directory.join("committed.json"), demands) {
            Ok(bytes) => Committed::parse(&bytes).map(Some),
            Err(ReadError::NotFound) => Ok(None),
            Err(source) => Err(StoreError::Read { source }),
        }
    }

    /// The bytes of a document, `None` where they are missing or are not what the hash says.
    pub fn target(&self, sha256: &str, cap: u64) -> Option<Vec<u8>> {
        let demands = Demands { owner: 0, cap, forbidden_mode: 0o022 };
        let bytes = distrust::read(&self.target_path(sha256), demands).ok()?;
        (hex_sha256(&bytes) == sha256).then_some(bytes)
    }

    /// All documents of a committed policy.
    pub fn documents(&self, committed: &Committed) -> Result<Vec<Document>, StoreError> {
        let one = |document: &DocumentName| {
            let bytes = self
                .target(&document.sha256, document.length)
                .ok_or_else(|| StoreError::Target { name: document.name.clone() })?;
            Ok(Document { name: document.name.clone(), sha256: document.sha256.clone(), bytes })
        };
        committed.documents.iter().map(one).collect()
    }

    /// Makes `committed` the policy in force. Documents that are in the store already are not written again.
    pub fn commit(&self, committed: &Committed, documents: &[Document]) -> Result<(), WriteError> {
        let path = self.directory.join("committed.json");
        let bytes = committed.to_bytes().map_err(|error| WriteError {
            step: "write",
            path: path.clone(),
            source: error.into(),
        })?;
        durable::directory(&self.directory, OwnDirectory::Store.mode())?;
        durable::directory(&self.directory.join("targets"), OwnDirectory::Targets.mode())?;
        let is_new = |d: &&Document| self.target(&d.sha256, d.bytes.len() as u64).is_none();
        let new = documents.iter().filter(is_new).map(|d| (d.sha256.as_str(), d.bytes.as_slice()));
        durable::replace_all(&self.directory.join("targets"), new, Attributes::root(0o400))?;
        durable::replace(&path, &bytes, Attributes::root(0o600))?;
        self.collect_garbage(committed);
        Ok(())
    }

    /// Removes documents that `committed` does not name. What cannot be removed now is removed next time.
    fn collect_garbage(&self, committed: &Committed) {
        let wanted: BTreeSet<&str> = committed.documents.iter().map(|d| d.sha256.as_str()).collect();
        let Ok(entries) = std::fs::read_dir(self.directory.join("targets")) else {
            return;
        };
        for entry in entries.flatten() {
            if !entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Removes the store: the host forgets what it accepted.
    pub fn remove(&self) -> Result<(), WriteError> {
        durable::remove(&self.directory.join("committed.json"))?;
        match std::fs::remove_dir_all(&self.directory) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(WriteError { step: "remove", path: self.directory.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn target_path(&self, sha256: &str) -> PathBuf {
        self.directory.join("targets").join(sha256)
    }
}

/// SHA-256 of `bytes`, lower-case hex.
pub fn hex_sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
