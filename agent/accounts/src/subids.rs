//! Subordinate ids: who may map which ids into user namespaces of their own.
//!
//! A section behind all that version 1.0 knows, so that nothing a reader of that version relies on has moved. Trusts no
//! offset, count or order of the file: whatever is found is compared with what was asked for.

use crate::format::{HEADER, SUBID_ENTRY, UNIT, at};
use crate::lookup::{HeaderError, Lookup};
use crate::read::{part, u32_at, u64_at};

/// Consecutive ids, subordinate uids as well as gids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubidRange {
    /// The first of them.
    pub start: u32,
    /// How many there are.
    pub count: u32,
}

impl SubidRange {
    /// The last of them; `None` for a range that is empty or runs over.
    #[must_use]
    pub fn last(self) -> Option<u32> {
        self.start.checked_add(self.count.checked_sub(1)?)
    }
}

/// The subordinate ids of an account database, as a view of the body of its file.
#[derive(Clone, Copy, Debug)]
pub struct Subids<'a> {
    entries: &'a [[u8; SUBID_ENTRY]],
}

impl<'a> Subids<'a> {
    /// Those of `body`, which [`crate::Database::new`] accepted. A file of version 1.0 has none.
    ///
    /// # Errors
    /// If the section does not lie within the file.
    pub fn new(body: &'a [u8]) -> Result<Self, HeaderError> {
        Self::lay_out(body).ok_or(HeaderError::Layout)
    }

    fn lay_out(body: &'a [u8]) -> Option<Self> {
        let start = usize::try_from(u64_at(body, at::SUBIDS)?).ok()?;
        let len = usize::try_from(u64_at(body, at::SUBIDS + 8)?).ok()?;
        if len == 0 {
            return Some(Self { entries: &[] });
        }
        let (entries, rest) = part(body, start, len)?.as_chunks();
        (start.is_multiple_of(UNIT) && start >= HEADER && rest.is_empty()).then_some(Self { entries })
    }

    /// Whether nobody has any.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.entries.is_empty()
    }

    /// The ranges of the user with this uid, in ascending order. Damaged ones are left out.
    pub fn of(self, uid: u32) -> impl Iterator<Item = SubidRange> + use<'a> {
        let first = self.entries.partition_point(|entry| owner(entry) < Some(uid));
        let own = self.entries.get(first..).unwrap_or_default().iter();
        own.take_while(move |entry| owner(entry) == Some(uid)).filter_map(sound)
    }

    /// The uid of the user whose subordinate id this is.
    pub fn owner(self, id: u32) -> Lookup<u32> {
        let (mut low, mut high) = (0_usize, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            let Some(entry) = self.nth_by_start(middle) else { return Lookup::Corrupt };
            let Some((uid, range)) = owner(entry).zip(sound(entry)) else { return Lookup::Corrupt };
            if range.start > id {
                high = middle;
            } else if range.last().is_some_and(|last| last >= id) {
                return Lookup::Found(uid);
            } else {
                low = middle.saturating_add(1);
            }
        }
        Lookup::NotFound
    }

    fn nth_by_start(self, n: usize) -> Option<&'a [u8; SUBID_ENTRY]> {
        let place = u32_at(self.entries.get(n)?, 12)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// All of them with the uids of their owners; `None` where the section is not as a writer left it.
    #[cfg(feature = "std")]
    pub(crate) fn all(self) -> Option<std::vec::Vec<(u32, SubidRange)>> {
        let all: Option<std::vec::Vec<_>> =
            self.entries.iter().map(|entry| owner(entry).zip(sound(entry))).collect();
        let all = all.filter(|all| all.is_sorted_by(|a, b| a < b))?;
        let mut taken = 0;
        for n in 0..all.len() {
            let range = sound(self.nth_by_start(n)?)?;
            if range.start <= taken {
                return None;
            }
            taken = range.last()?;
        }
        Some(all)
    }
}

fn owner(entry: &[u8; SUBID_ENTRY]) -> Option<u32> {
    u32_at(entry, 0)
}

fn sound(entry: &[u8; SUBID_ENTRY]) -> Option<SubidRange> {
    let range = SubidRange { start: u32_at(entry, 4)?, count: u32_at(entry, 8)? };
    range.last().map(|_| range)
}
