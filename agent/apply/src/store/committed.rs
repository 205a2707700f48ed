//! `committed.json`: the format of the committed store, schema `hostward/store/1`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hostward_protocol::document::Kind;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hex_sha256;
use crate::distrust::ReadError;

const SCHEMA: &str = "hostward/store/1";

/// A policy that was accepted whole: its signed metadata as they were, and the names of its documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The project whose policy it is.
    pub project: String,
    /// Version of the timestamp, snapshot and targets metadata.
    pub version: u64,
    /// Version of the newest accepted root.
    pub root_version: u64,
    /// When the timestamp expires.
    pub expires: DateTime<Utc>,
    /// SHA-256 (hex) of each root that was accepted, by version, so that a pin given later can be held against them.
    pub roots: BTreeMap<u64, String>,
    /// `N.root.json` of the newest accepted root.
    pub root: String,
    /// `timestamp.json`
    pub timestamp: String,
    /// `N.snapshot.json`
    pub snapshot: String,
    /// `N.targets.json`
    pub targets: String,
    /// The documents, by target name.
    pub documents: Vec<DocumentName>,
}

/// Name, hash and size of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentName {
    /// Target name.
    pub name: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Size in bytes.
    pub length: u64,
}

/// Why the committed store cannot be used. It is never taken for "no store".
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is there and cannot be read.
    #[error("cannot read `/var/lib/hostward/store/committed.json`")]
    Read {
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The file is cut or altered.
    #[error("`/var/lib/hostward/store/committed.json` is cut or altered")]
    Damaged,
    /// The file is of a later version of hostward.
    #[error("`/var/lib/hostward/store/committed.json` was written by a later version of hostward")]
    Later,
    /// A document of the committed policy is missing or altered.
    #[error("document `{name}` of the committed policy is missing or altered")]
    Target {
        /// Its target name.
        name: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    schema: String,
    sha256: String,
    #[serde(borrow)]
    committed: &'a RawValue,
}

impl Committed {
    /// Reads the file's bytes; anything but what [`Committed::to_bytes`] wrote is an error.
    pub fn parse(bytes: &[u8]) -> Result<Committed, StoreError> {
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|_| StoreError::Damaged)?;
        if hex_sha256(envelope.committed.get().as_bytes()) != envelope.sha256 {
            return Err(StoreError::Damaged);
        }
        if envelope.schema != SCHEMA {
            return Err(StoreError::Later);
        }
        let committed: Committed =
            serde_json::from_str(envelope.committed.get()).map_err(|_| StoreError::Damaged)?;
        let well_formed = |document: &DocumentName| {
            document.sha256.len() == 64
                && document.sha256.bytes().all(|b| b.is_ascii_hexdigit())
                && Kind::of_target(&document.name).is_some()
        };
        if committed.documents.iter().all(well_formed) { Ok(committed) } else { Err(StoreError::Damaged) }
    }

    /// The file's bytes, which end with the last byte that counts: a file cut anywhere does not parse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let committed = serde_json::value::to_raw_value(self)?;
        serde_json::to_vec(&Envelope {
            schema: SCHEMA.into(),
            sha256: hex_sha256(committed.get().as_bytes()),
            committed: &committed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Committed {
        Committed {
            project: "p1".into(),
            version: 7,
            root_version: 2,
            expires: DateTime::from_timestamp(1_700_000_000, 0).expect("a time"),
            roots: [(1, "aa".into()), (2, "bb".into())].into(),
            root: "{\"x\": 1}".into(),
            timestamp: "{}".into(),
            snapshot: "{}".into(),
            targets: "{}".into(),
            documents: vec![DocumentName { name: "project.json".into(), sha256: "a".repeat(64), length: 3 }],
        }
    }

    #[test]
    fn a_round_trip_keeps_everything() {
        let bytes = committed().to_bytes().expect("json");
        assert_eq!(Committed::parse(&bytes).expect("whole"), committed());
    }

    #[test]
    fn a_file_cut_at_any_byte_is_damaged() {
        let bytes = committed().to_bytes().expect("json");
        for end in 0..bytes.len() {
            assert!(matches!(Committed::parse(&bytes[..end]), Err(StoreError::Damaged)), "cut at {end}");
        }
    }

    #[test]
    fn a_changed_byte_of_the_body_is_damage() {
        let bytes = committed().to_bytes().expect("json");
        let body = bytes.len() - 2;
        for at in (bytes.len() - 200)..body {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Committed::parse(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_later_schema_is_not_read() {
        let text = String::from_utf8(committed().to_bytes().expect("json")).expect("text");
        let later = text.replace("hostward/store/1", "hostward/store/2");
        assert!(matches!(Committed::parse(later.as_bytes()), Err(StoreError::Later)));
    }
}
