//! What the repository's metadata names, read only to know what to fetch. Nothing here is believed: root checks
//! the signatures. Sizes and names are bounded before anything is asked for.

use std::collections::BTreeMap;

use hostward_protocol::document::Kind;
use serde::Deserialize;

/// The longest metadata file that is fetched, in bytes.
pub const MAX_METADATA: u64 = 4 << 20;
/// The most bytes of targets that are fetched for one version of the policy.
pub const MAX_TOTAL: u64 = 1 << 30;

/// A target that the policy consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `<sha256>.<name>`, its name in the repository and in the inbox.
    pub file: String,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    pub length: u64,
}

/// Why metadata names nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is not TUF metadata.
    #[error("it is not TUF metadata of the role `{0}`")]
    Malformed(&'static str),
    /// More than a host fetches.
    #[error("its targets have {0} bytes in all, more than the {MAX_TOTAL} that are fetched")]
    TooMuch(u64),
}

#[derive(Deserialize)]
struct Envelope<T> {
    signed: T,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    version: u64,
    meta: BTreeMap<String, Role>,
}

#[derive(Deserialize)]
struct Role {
    version: u64,
}

#[derive(Deserialize)]
struct Targets {
    targets: BTreeMap<String, Described>,
}

#[derive(Deserialize)]
struct Described {
    length: u64,
    hashes: Hashes,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: String,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// The version of a timestamp, and of the snapshot that it names.
pub fn timestamp(bytes: &[u8]) -> Result<(u64, u64), MetadataError> {
    let (version, snapshot) = meta(bytes, "snapshot.json").ok_or(MetadataError::Malformed("timestamp"))?;
    Ok((version, snapshot))
}

/// The version of the targets metadata that a snapshot names.
pub fn snapshot(bytes: &[u8]) -> Result<u64, MetadataError> {
    meta(bytes, "targets.json").map(|(_, targets)| targets).ok_or(MetadataError::Malformed("snapshot"))
}

/// The version of a `root.json`.
pub fn root(bytes: &[u8]) -> Option<u64> {
    let envelope: Envelope<Version> = serde_json::from_slice(bytes).ok()?;
    Some(envelope.signed.version)
}

/// The targets that are policy documents and that a host would read.
pub fn targets(bytes: &[u8]) -> Result<Vec<Target>, MetadataError> {
    let envelope: Envelope<Targets> =
        serde_json::from_slice(bytes).map_err(|_| MetadataError::Malformed("targets"))?;
    let targets: Vec<Target> = envelope
        .signed
        .targets
        .into_iter()
        .filter(|(name, described)| {
            // What is too long is refused by root; there is no use in fetching it.
            Kind::of_target(name).is_some_and(|(kind, _)| described.length <= kind.max_len())
                && is_sha256(&described.hashes.sha256)
        })
        .map(|(name, described)| Target {
            file: format!("{}.{name}", described.hashes.sha256),
            sha256: described.hashes.sha256,
            length: described.length,
        })
        .collect();
    let total = targets.iter().map(|t| t.length).sum();
    if total > MAX_TOTAL {
        return Err(MetadataError::TooMuch(total));
    }
    Ok(targets)
}

fn meta(bytes: &[u8], name: &str) -> Option<(u64, u64)> {
    let envelope: Envelope<Meta> = serde_json::from_slice(bytes).ok()?;
    let role = envelope.signed.meta.get(name)?;
    Some((envelope.signed.version, role.version))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, length: u64, sha256: &str) -> String {
        format!(
            r#"{{"signed":{{"version":7,"targets":{{"{name}":{{"length":{length},"hashes":{{"sha256":"{sha256}"}}}}}}}}}}"#
        )
    }

    #[test]
    fn versions() {
        let text = br#"{"signatures":[],"signed":{"version":9,"meta":{"snapshot.json":{"version":8}}}}"#;
        assert_eq!(timestamp(text), Ok((9, 8)));
        let text = br#"{"signed":{"version":8,"meta":{"targets.json":{"version":7}}}}"#;
        assert_eq!(snapshot(text), Ok(7));
        assert_eq!(root(br#"{"signed":{"version":3}}"#), Some(3));
        assert_eq!(timestamp(b"<html>"), Err(MetadataError::Malformed("timestamp")));
        assert_eq!(snapshot(b"{}"), Err(MetadataError::Malformed("snapshot")));
    }

    #[test]
    fn only_policy_documents_of_a_legal_size_are_fetched() {
        let sha = "ab".repeat(32);
        let found = targets(one("users-00.json", 5, &sha).as_bytes()).unwrap();
        assert_eq!(found[0].file, format!("{sha}.users-00.json"));
        for (name, length, sha) in [
            ("../../etc/passwd", 5, sha.as_str()),
            ("users-00.json/x", 5, &sha),
            ("notes.txt", 5, &sha),
            ("users-00.json", (16 << 20) + 1, &sha),
            ("users-00.json", 5, "../x"),
            ("users-00.json", 5, &"AB".repeat(32)),
        ] {
            assert_eq!(targets(one(name, length, sha).as_bytes()), Ok(Vec::new()));
        }
    }

    #[test]
    fn the_whole_is_bounded() {
        let sha = "ab".repeat(32);
        let entries: Vec<String> = (0..100)
            .map(|n| {
                format!(r#""users-{n:02}.json":{{"length":{},"hashes":{{"sha256":"{sha}"}}}}"#, 16 << 20)
            })
            .collect();
        let text = format!(r#"{{"signed":{{"targets":{{{}}}}}}}"#, entries.join(","));
        assert!(matches!(targets(text.as_bytes()), Err(MetadataError::TooMuch(_))));
    }
}
