//! Numbers and hashes of a host's events.

use std::collections::BTreeMap;

use hostward_protocol::events::Head;
use serde::{Deserialize, Serialize};

/// What of an event counts for its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// SHA-256 of its bytes, hex.
    pub hash: String,
    /// What it says of the one before.
    pub previous: String,
}

/// Numbers that a host has no events for: it lost them before they were delivered, or somebody removed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The event before; 0 where there is none.
    pub after: u64,
    /// The event behind.
    pub next: u64,
}

impl Gap {
    pub(super) fn between(after: u64, next: u64) -> Option<Gap> {
        (after + 1 < next).then_some(Gap { after, next })
    }
}

/// A place at which an event does not follow from the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// Number of the event.
    pub sequence: u64,
    /// The hash that it says the one before has.
    pub said: String,
    /// The hash that it has.
    pub found: String,
}

/// The events of a host by number.
#[derive(Default)]
pub(super) struct Chain {
    links: BTreeMap<u64, Link>,
    gaps: BTreeMap<u64, u64>,
    head: u64,
}

impl Chain {
    pub fn put(&mut self, number: u64, link: Link) {
        self.links.entry(number).or_insert(link);
        self.advance();
    }

    pub fn skip(&mut self, gap: Gap) {
        self.gaps.insert(gap.after, gap.next);
        self.advance();
    }

    pub fn get(&self, number: u64) -> Option<&Link> {
        self.links.get(&number)
    }

    /// The newest event up to which every one that there is, is here.
    pub fn head(&self) -> Option<Head> {
        let link = self.links.get(&self.head)?;
        Some(Head { sequence: self.head, hash: link.hash.clone() })
    }

    pub fn gaps(&self) -> Vec<Gap> {
        self.gaps.iter().map(|(after, next)| Gap { after: *after, next: *next }).collect()
    }

    pub fn breaks(&self) -> Vec<Break> {
        let pairs = self.links.iter().zip(self.links.iter().skip(1));
        let broken = pairs
            .filter(|((before, link), (number, next))| *before + 1 == **number && link.hash != next.previous);
        broken
            .map(|((_, link), (number, next))| Break {
                sequence: *number,
                said: next.previous.clone(),
                found: link.hash.clone(),
            })
            .collect()
    }

    fn advance(&mut self) {
        loop {
            let next = self.head + 1;
            if self.links.contains_key(&next) {
                self.head = next;
            } else if let Some(next) = self.gaps.get(&self.head).filter(|next| self.links.contains_key(next))
            {
                self.head = *next;
            } else {
                return;
            }
        }
    }
}
