//! From which root an admission starts, and which roots it must pass.

use std::collections::BTreeMap;

use tough::Repository;
use tough::schema::{Root, Signed};

use super::refusal::{Refusal, Role};
use super::transport::Sources;
use crate::inbox::Inbox;
use crate::store::{Committed, hex_sha256};
use crate::trust::{Anchor, Effective, Pin};

/// The root that is trusted before anything is read.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its bytes.
    pub root: Vec<u8>,
    /// Its version.
    pub version: u64,
    /// A pin that the chain has to pass.
    pass: Option<Pin>,
}

/// Chooses it. After a first admission that is the newest accepted root, not the pin: a key revoked since must not
/// count again because somebody withholds the root that revoked it.
pub fn choose(inbox: &Inbox, trust: &Effective, committed: Option<&Committed>) -> Result<Start, Refusal> {
    let Some(committed) = committed else {
        return from_anchor(inbox, &trust.anchor);
    };
    check_same_version(inbox, committed)?;
    let newest = |pass| Start::new(committed.root.clone().into_bytes(), pass);
    let Some(pin) = trust.anchor.pin() else {
        return newest(None);
    };
    match committed.roots.get(&pin.version) {
        Some(accepted) if *accepted == pin.sha256 => newest(None),
        Some(_) => Err(Refusal::PinMismatch { version: pin.version }),
        None if pin.version > committed.root_version => newest(Some(pin.clone())),
        // The operator pins an earlier root than the one that this host began with: the chain from there must lead
        // to what was accepted (`accepted_roots`).
        None => from_anchor(inbox, &trust.anchor),
    }
}

fn from_anchor(inbox: &Inbox, anchor: &Anchor) -> Result<Start, Refusal> {
    let pinned = |pin: &Pin, bytes: Vec<u8>| {
        let start = Start::new(bytes, None)?;
        if start.version == pin.version && hex_sha256(&start.root) == pin.sha256 {
            Ok(start)
        } else {
            Err(Refusal::PinMismatch { version: pin.version })
        }
    };
    match anchor {
        Anchor::File { bytes, pin } => pinned(pin, bytes.clone()),
        Anchor::Pinned { pin, .. } => {
            let bytes = read_root(inbox, pin.version)?;
            // Held against the pin before it is even parsed.
            if hex_sha256(&bytes) != pin.sha256 {
                return Err(Refusal::PinMismatch { version: pin.version });
            }
            pinned(pin, bytes)
        }
        Anchor::FirstUse => {
            let start = Start::new(read_root(inbox, 1)?, None)?;
            if start.version == 1 { Ok(start) } else { Err(Refusal::Malformed(Role::Root)) }
        }
    }
}

fn read_root(inbox: &Inbox, version: u64) -> Result<Vec<u8>, Refusal> {
    match inbox.read(&format!("{version}.root.json")) {
        Err(error) if error.is_not_found() => Err(Refusal::PinnedRootMissing { version }),
        other => other.map_err(Refusal::Inbox),
    }
}

/// The library never looks at a root of the version it starts from; a second one of that version is a forgery or a
/// mistake, and is said so.
fn check_same_version(inbox: &Inbox, committed: &Committed) -> Result<(), Refusal> {
    let version = committed.root_version;
    let offered = match inbox.read(&format!("{version}.root.json")) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other.map_err(Refusal::Inbox)?,
    };
    if parse(&offered)?.signed == parse(committed.root.as_bytes())?.signed {
        Ok(())
    } else {
        Err(Refusal::SameVersion { role: Role::Root, version })
    }
}

impl Start {
    fn new(root: Vec<u8>, pass: Option<Pin>) -> Result<Start, Refusal> {
        let version = parse(&root)?.signed.version.get();
        Ok(Start { root, version, pass })
    }

    /// Hashes of all roots accepted so far, by version, once the chain has been checked against pin and store.
    pub fn accepted_roots(
        &self,
        sources: &Sources,
        repository: &Repository,
        committed: Option<&Committed>,
    ) -> Result<BTreeMap<u64, String>, Refusal> {
        let reached = repository.root().signed.version.get();
        let mut roots = BTreeMap::from([(self.version, hex_sha256(&self.root))]);
        for version in self.version.saturating_add(1)..=reached {
            let bytes = sources
                .served(&format!("{version}.root.json"))
                .ok_or(Refusal::MetadataMissing(Role::Root))?;
            roots.insert(version, hex_sha256(&bytes));
        }
        if let Some(pin) = &self.pass {
            match roots.get(&pin.version) {
                Some(sha256) if *sha256 == pin.sha256 => {}
                Some(_) => {
                    return Err(Refusal::PinMismatch { version: pin.version });
                }
                None => {
                    return Err(Refusal::PinNotReached { pinned: pin.version, reached });
                }
            }
        }
        let Some(committed) = committed else {
            return Ok(roots);
        };
        if reached < committed.root_version {
            return Err(Refusal::Rollback {
                role: Role::Root,
                offered: reached,
                committed: committed.root_version,
            });
        }
        for (version, sha256) in &committed.roots {
            let before = roots.entry(*version).or_insert_with(|| sha256.clone());
            if before != sha256 {
                return Err(Refusal::SameVersion { role: Role::Root, version: *version });
            }
        }
        Ok(roots)
    }
}

fn parse(bytes: &[u8]) -> Result<Signed<Root>, Refusal> {
    serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed(Role::Root))
}
