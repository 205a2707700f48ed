//! Where an enumeration is: the id of the last entry given out.
//!
//! Entries lie in the order of their ids, so the enumeration goes on behind that id in whatever database is in
//! force by then: a lookup or a replacement in between neither repeats nor skips anybody.

use core::sync::atomic::{AtomicU64, Ordering};

use hostward_accounts::Lookup;

use crate::status::Outcome;

const START: u64 = 0;
const BEHIND: u64 = 1 << 32;
const END: u64 = 2 << 32;

/// The position of one enumeration, which a process has only one of per database.
pub(crate) struct Cursor(AtomicU64);

impl Cursor {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(START))
    }

    pub(crate) fn rewind(&self) {
        self.0.store(START, Ordering::Release);
    }

    /// Gives the entry behind the last one to `fill`. Moves on only if `fill` succeeds, so that a buffer too small
    /// loses nobody; two threads never get the same entry.
    pub(crate) fn next<T>(
        &self,
        after: impl Fn(Option<u32>) -> Lookup<T>,
        id: impl Fn(&T) -> u32,
        mut fill: impl FnMut(&T) -> Outcome,
    ) -> Outcome {
        loop {
            let position = self.0.load(Ordering::Acquire);
            let last = match position {
                START => None,
                END => return Outcome::End,
                behind => Some(behind as u32),
            };
            let (next, outcome) = match after(last) {
                Lookup::Found(entry) => (BEHIND | u64::from(id(&entry)), fill(&entry)),
                Lookup::NotFound => (END, Outcome::End),
                Lookup::Corrupt => return Outcome::CORRUPT,
            };
            if !matches!(outcome, Outcome::Success | Outcome::End) {
                return outcome;
            }
            let moved = self.0.compare_exchange(position, next, Ordering::AcqRel, Ordering::Acquire);
            if moved.is_ok() {
                return outcome;
            }
        }
    }
}
