//! Where an enumeration is: the id of the last entry given out.
//!
//! Entries lie in the order of their ids, so the enumeration goes on behind that id in whatever database is in
//! force by then: a lookup or a replacement in between neither repeats nor skips anybody.
//!
//! glibc holds a lock of its own around each step of an enumeration, so two threads never get the same entry. Nothing is
//! exchanged here to have that once more: whoever calls a module's functions without glibc, from several threads at once, may
//! get an entry twice, and nothing worse.

use core::sync::atomic::{AtomicU64, Ordering};

use hostward_accounts::Lookup;

use crate::status::Outcome;

/// The position of one enumeration, which a process has only one of per database: the id of the last entry, and in the lower
/// half the place of the mapping that it was in (two bits) with the number of the record behind it there. All in one, so that
/// nobody can find half of it. Without a place, the number says what else there is to say.
pub(crate) struct Cursor {
    position: AtomicU64,
}

const START: u64 = 0;
const BEHIND: u64 = 1;
const END: u64 = 2;

const NUMBER_BITS: u32 = 30;
const NUMBERS: u32 = 1 << NUMBER_BITS;

/// One kind of entry of one mapping.
pub(crate) trait Entries {
    type Entry;
    /// The entry behind this id.
    fn after(&self, last: Option<u32>) -> Lookup<Self::Entry>;
    /// The same, if the record of this number is the one behind that of this id.
    fn at(&self, record: u32, last: u32) -> Lookup<Self::Entry>;
    /// The id, and the number of the record behind.
    fn place(entry: &Self::Entry) -> (u32, u32);
    /// Where the mapping is kept, 0 for one that is not: no other is there before all cursors have forgotten the place.
    fn mapping(&self) -> u32;
}

impl Cursor {
    pub(crate) const fn new() -> Self {
        Self { position: AtomicU64::new(START) }
    }

    pub(crate) fn rewind(&self) {
        self.position.store(START, Ordering::Release);
    }

    /// Forgets which record is the next if that is in the mapping of this place. Nobody reads that any more, so that
    /// nobody can come to know it anew meanwhile.
    pub(crate) fn forget(&self, mapping: u32) {
        let mut position = self.position.load(Ordering::Acquire);
        while is_in(position, mapping) {
            let behind = position >> 32 << 32 | BEHIND;
            match self.position.compare_exchange(position, behind, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(moved) => position = moved,
            }
        }
    }

    /// Gives the entry behind the last one to `fill`. Moves on only if `fill` succeeds, so that a buffer too small
    /// loses nobody.
    #[inline(always)]
    pub(crate) fn next<E: Entries>(&self, entries: &E, fill: impl Fn(&E::Entry) -> Outcome) -> Outcome {
        let position = self.position.load(Ordering::Acquire);
        // Nearly always: an entry behind one that is where it was.
        if is_in(position, entries.mapping())
            && let Lookup::Found(entry) = entries.at(position as u32 % NUMBERS, (position >> 32) as u32)
        {
            return self.give(entries, &entry, fill);
        }
        self.look_up_next(position, entries, fill)
    }

    #[inline(always)]
    fn give<E: Entries>(
        &self,
        entries: &E,
        entry: &E::Entry,
        fill: impl Fn(&E::Entry) -> Outcome,
    ) -> Outcome {
        let outcome = fill(entry);
        if outcome == Outcome::SUCCESS {
            let ((id, behind), mapping) = (E::place(entry), entries.mapping());
            let known = mapping != 0 && behind < NUMBERS;
            let low = if known { u64::from(mapping << NUMBER_BITS | behind) } else { BEHIND };
            self.position.store(u64::from(id) << 32 | low, Ordering::Release);
        }
        outcome
    }

    #[cold]
    #[inline(never)]
    fn look_up_next<E: Entries>(
        &self,
        position: u64,
        entries: &E,
        fill: impl Fn(&E::Entry) -> Outcome,
    ) -> Outcome {
        let last = match position {
            START => None,
            END => return Outcome::END,
            behind => Some((behind >> 32) as u32),
        };
        match entries.after(last) {
            Lookup::Found(entry) => self.give(entries, &entry, fill),
            Lookup::NotFound => {
                self.position.store(END, Ordering::Release);
                Outcome::END
            }
            Lookup::Corrupt => Outcome::CORRUPT,
        }
    }
}

#[inline(always)]
fn is_in(position: u64, mapping: u32) -> bool {
    mapping != 0 && position as u32 >> NUMBER_BITS == mapping
}
