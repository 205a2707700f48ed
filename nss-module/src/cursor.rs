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
pub(crate) struct Cursor {
    position: AtomicU64,
    /// Number of the mapping and of the record that the last entry was in. Only ever a hint: whose record it is is looked
    /// at again, and two threads may leave here what the other one found.
    record: AtomicU64,
}

/// One kind of entry of one mapping.
pub(crate) trait Entries {
    type Entry;
    /// The entry behind this id.
    fn after(&self, last: Option<u32>) -> Lookup<Self::Entry>;
    /// The same, if the record of this number is the one with that id.
    fn behind(&self, record: u32, last: u32) -> Option<Lookup<Self::Entry>>;
    /// Id and record number.
    fn place(entry: &Self::Entry) -> (u32, u32);
    /// What tells this mapping from all others, if it is kept.
    fn mapping(&self) -> Option<u32>;
}

impl Cursor {
    pub(crate) const fn new() -> Self {
        Self { position: AtomicU64::new(START), record: AtomicU64::new(0) }
    }

    pub(crate) fn rewind(&self) {
        self.position.store(START, Ordering::Release);
    }

    /// Gives the entry behind the last one to `fill`. Moves on only if `fill` succeeds, so that a buffer too small
    /// loses nobody; two threads never get the same entry.
    #[inline(always)]
    pub(crate) fn next<E: Entries>(&self, entries: &E, fill: impl Fn(&E::Entry) -> Outcome) -> Outcome {
        let position = self.position.load(Ordering::Acquire);
        let record = self.record.load(Ordering::Acquire);
        // Nearly always: an entry behind one that is where it was.
        if let Some(mapping) = entries.mapping()
            && u64::from(mapping) == record >> 32
            && position & BEHIND != 0
            && let Some(Lookup::Found(entry)) = entries.behind(record as u32, position as u32)
        {
            let outcome = fill(&entry);
            if outcome != Outcome::SUCCESS || self.move_on::<E>(position, &entry, mapping) {
                return outcome;
            }
        }
        self.look_up_next(entries, fill)
    }

    /// Whether nobody else did.
    #[inline(always)]
    fn move_on<E: Entries>(&self, from: u64, to: &E::Entry, mapping: u32) -> bool {
        let (id, record) = E::place(to);
        let position = BEHIND | u64::from(id);
        let moved =
            self.position.compare_exchange(from, position, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if moved {
            self.record.store(u64::from(mapping) << 32 | u64::from(record), Ordering::Release);
        }
        moved
    }

    #[cold]
    #[inline(never)]
    fn look_up_next<E: Entries>(&self, entries: &E, fill: impl Fn(&E::Entry) -> Outcome) -> Outcome {
        loop {
            let position = self.position.load(Ordering::Acquire);
            let last = match position {
                START => None,
                END => return Outcome::END,
                behind => Some(behind as u32),
            };
            match entries.after(last) {
                Lookup::Found(entry) => {
                    let outcome = fill(&entry);
                    // No mapping is number 0, so that the record is not looked for there.
                    let mapping = entries.mapping().unwrap_or_default();
                    if outcome != Outcome::SUCCESS || self.move_on::<E>(position, &entry, mapping) {
                        return outcome;
                    }
                }
                Lookup::NotFound => {
                    let ended =
                        self.position.compare_exchange(position, END, Ordering::AcqRel, Ordering::Acquire);
                    if ended.is_ok() {
                        return Outcome::END;
                    }
                }
                Lookup::Corrupt => return Outcome::CORRUPT,
            }
        }
    }
}
