//! How far a place has come: `siem-NAME.json` in the agent's directory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::disk::{self, Durability};

/// The first event that is still to be handed over.
#[derive(Debug)]
pub struct Position {
    path: PathBuf,
    next: u64,
    /// Whether anything was handed over yet: before that nothing can be missed.
    has_begun: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    next: u64,
}

impl Position {
    /// Where an earlier run ended; the oldest event that there is where none was. A file that is damaged has
    /// everything handed over again.
    pub fn at(path: PathBuf) -> Self {
        let kept = disk::read_json::<Kept>(&path).unwrap_or_else(|error| {
            log::warn!("{error}; what is in the log is handed over again");
            None
        });
        Position { path, next: kept.as_ref().map_or(1, |kept| kept.next.max(1)), has_begun: kept.is_some() }
    }

    /// The first event that is still to be handed over.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The log ends with `end`: one that was begun anew is read from its beginning.
    pub fn bound(&mut self, end: u64) {
        if end > 0 && self.next > end + 1 {
            (self.next, self.has_begun) = (1, false);
        }
    }

    /// How many events are gone, where the next one that there is is `first`.
    pub fn skipped(&self, first: u64) -> u64 {
        if self.has_begun { first.saturating_sub(self.next) } else { 0 }
    }

    /// There is nothing up to `end`; answers with how many that are.
    pub fn pass(&mut self, end: u64) -> u64 {
        let skipped = self.skipped(end + 1);
        self.set(end + 1);
        skipped
    }

    /// Everything before `next` is handed over.
    pub fn set(&mut self, next: u64) {
        (self.next, self.has_begun) = (next, true);
        // After a power cut the old one is as good: some are handed over twice.
        if let Err(error) = disk::replace_json(&self.path, &Kept { next }, Durability::Lazy) {
            log::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_it_ended_and_counts_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("siem-syslog.json");
        let mut position = Position::at(path.clone());
        assert_eq!((position.next(), position.skipped(300)), (1, 0));
        position.set(301);
        let mut again = Position::at(path.clone());
        assert_eq!((again.next(), again.skipped(301), again.skipped(311)), (301, 0, 10));
        assert_eq!((again.pass(400), again.next()), (100, 401));
        again.bound(400);
        assert_eq!(again.next(), 401);
        again.bound(20);
        assert_eq!((again.next(), again.skipped(5)), (1, 0));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Position::at(path).next(), 1);
    }
}
