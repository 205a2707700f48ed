//! One group's record: fixed head, where its members' names start, its name and their names.

use crate::ahead;
use crate::format::{GROUP_HEAD, MAX_NAME, Name, PASSWORD, UNIT, is_reserved};
use crate::lookup::Section;
use crate::read::{part, u32_at};

/// Enough that a processor sees where this leads to.
const LINES: usize = 4;

/// A group, as a view of the record.
#[derive(Clone, Copy, Debug)]
pub struct GroupRecord<'a> {
    gid: u32,
    next: u32,
    end: usize,
    name_len: usize,
    /// The low two bytes of the offset of each member's name.
    starts: &'a [[u8; 2]],
    strings: &'a [u8],
}

impl<'a> GroupRecord<'a> {
    #[inline(always)]
    pub(crate) fn at(section: Section<'a>, record: u32) -> Option<Self> {
        let offset = usize::try_from(record).ok()?.checked_mul(UNIT)?;
        ahead::fetch(section.from(offset)?, LINES);
        Self::at_offset(section, offset)
    }

    #[inline(always)]
    pub(crate) fn at_offset(section: Section<'a>, offset: usize) -> Option<Self> {
        let record = section.from(offset)?;
        let head = Head::of(record)?;
        let (starts, _) = part(record, GROUP_HEAD, head.members.checked_mul(START)?)?.as_chunks();
        let strings = part(record, head.strings_at()?, head.strings_len()?)?;
        let after_name = head.name_len.wrapping_add(1);
        let sound = (strings.get(head.name_len) == Some(&0))
            & (strings.get(after_name) == Some(&PASSWORD))
            & (strings.get(after_name.wrapping_add(1)) == Some(&0))
            & (strings.last() == Some(&0))
            & !is_reserved(head.gid);
        if !sound || head.name_len == 0 || head.name_len > MAX_NAME {
            return None;
        }
        let end = offset.checked_add(head.len()?)?;
        Some(Self {
            gid: head.gid,
            next: u32::try_from(end / UNIT).ok()?,
            end,
            name_len: head.name_len,
            starts,
            strings,
        })
    }

    /// The number of the record behind it: a place in this database, and in no other.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Whether this is its name.
    #[inline(always)]
    pub(crate) fn is_called(&self, name: &Name) -> bool {
        self.name_len == name.len() && name.starts(self.strings)
    }

    /// Where the next record starts.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// The gid.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// The group's name.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.strings.get(..self.name_len).unwrap_or_default()
    }

    /// Name, password (`*`) and the members' names, each with its NUL: one copy answers a lookup.
    #[must_use]
    pub fn strings(&self) -> &'a [u8] {
        self.strings
    }

    /// Offset of the password within [`Self::strings`].
    #[must_use]
    pub fn password_offset(&self) -> usize {
        self.name_len.saturating_add(1)
    }

    /// How many members it has.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.starts.len()
    }

    /// Whether so many members can have names that take as much as theirs do.
    ///
    /// Enough to say how much room an answer takes: what a damaged record asks for is no more than a sound one of its size.
    #[must_use]
    pub fn has_room_for_names(&self) -> bool {
        let names = self.strings.len().saturating_sub(self.members_at());
        let least = self.starts.len().saturating_mul(2);
        (least..=least.saturating_add(self.starts.len().saturating_mul(MAX_NAME - 1))).contains(&names)
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> Members<'a> {
        Members { strings: self.strings, at: self.members_at(), starts: self.starts }
    }

    /// Where the members' names start, if all lengths that follow from it are those of names, and account for all of the
    /// strings. `None` if the record is damaged.
    ///
    /// Not looked at is whether a NUL stands before each.
    #[must_use]
    #[inline(always)]
    pub fn starts(&self) -> Option<Starts<'a>> {
        let (at, len) = (self.members_at(), self.strings.len());
        let starts = Starts { starts: self.starts, at, strings: self.strings };
        let (Some(first), Some(last)) = (self.starts.first(), self.starts.last()) else {
            return (at == len).then_some(starts);
        };
        // Of a length with its NUL, less two, no other bits are set. Gathered, so that nothing waits for a decision.
        let mut lengths = (len as u16).wrapping_sub(u16::from_le_bytes(*last)).wrapping_sub(2);
        for (start, next) in self.starts.iter().zip(self.starts.get(1..).unwrap_or_default()) {
            lengths |= u16::from_le_bytes(*next).wrapping_sub(u16::from_le_bytes(*start)).wrapping_sub(2);
        }
        let sound = lengths < MAX_NAME as u16 && usize::from(u16::from_le_bytes(*first)) == at;
        // Of what they add up to, the low bytes are right by now. All of it must be, or starts would go round and round.
        (sound && starts.end() == len).then_some(starts)
    }

    fn members_at(&self) -> usize {
        self.name_len.saturating_add(3)
    }
}

/// The fixed part of a record: what it says about where the rest is.
#[derive(Clone, Copy)]
struct Head {
    gid: u32,
    members: usize,
    names_len: usize,
    name_len: usize,
}

impl Head {
    #[inline(always)]
    fn of(record: &[u8]) -> Option<Self> {
        let head: &[u8; GROUP_HEAD] = record.first_chunk()?;
        Some(Self {
            gid: u32_at(head, 0)?,
            members: usize::try_from(u32_at(head, 4)?).ok()?,
            names_len: usize::try_from(u32_at(head, 8)?).ok()?,
            name_len: (*head.get(12)?).into(),
        })
    }

    #[inline(always)]
    fn strings_at(&self) -> Option<usize> {
        self.members.checked_mul(START)?.checked_next_multiple_of(UNIT)?.checked_add(GROUP_HEAD)
    }

    #[inline(always)]
    fn strings_len(&self) -> Option<usize> {
        self.names_len.checked_add(self.name_len.wrapping_add(3))
    }

    /// Length of the record with its padding.
    #[inline(always)]
    fn len(&self) -> Option<usize> {
        self.strings_at()?.checked_add(self.strings_len()?)?.checked_next_multiple_of(UNIT)
    }
}

/// Size of what says where a member's name starts.
const START: usize = 2;

// What `GroupRecord::starts` looks for in one go.
const _: () = assert!(MAX_NAME.is_power_of_two());

/// Where the names of a group's members start within [`GroupRecord::strings`]: each behind the byte that the one before
/// ends with, the first behind the password's, and the last before the last byte.
#[derive(Clone, Copy, Debug)]
pub struct Starts<'a> {
    starts: &'a [[u8; 2]],
    at: usize,
    strings: &'a [u8],
}

impl<'a> Starts<'a> {
    /// Gives each to `each`, and before that the part of the strings that they are in to `stretch`, with its own start: one
    /// after the other, all of the strings, in pieces that stay in a processor's cache while `each` is at them.
    #[inline(always)]
    pub fn for_each(self, mut stretch: impl FnMut(usize, &'a [u8]), mut each: impl FnMut(usize)) {
        if self.are_short() {
            stretch(0, self.strings);
            return self.starts.iter().for_each(|start| each(u16::from_le_bytes(*start).into()));
        }
        let (mut at, mut from, mut rest) = (self.at, 0, self.starts);
        while !rest.is_empty() {
            let (starts, behind) = rest.split_at_checked(STRETCH).unwrap_or((rest, &[]));
            let last = starts.last().map_or(at, |last| next_start(at, *last));
            let to = behind.first().map_or(self.strings.len(), |first| next_start(last, *first));
            stretch(from, self.strings.get(from..to).unwrap_or_default());
            // They ascend by less than 64 KiB, so their low bytes start anew once at most.
            let low = |start: &[u8; 2]| usize::from(u16::from_le_bytes(*start));
            let page = at & !LOW;
            let before = starts.partition_point(|start| low(start) >= at & LOW);
            let (before, anew) = starts.split_at_checked(before).unwrap_or((starts, &[]));
            before.iter().for_each(|start| each(page | low(start)));
            anew.iter().for_each(|start| each((page | low(start)).wrapping_add(LOW + 1)));
            (at, from, rest) = (last, to, behind);
        }
    }

    #[inline(always)]
    fn are_short(&self) -> bool {
        self.strings.len() <= LOW
    }

    /// Where the last name ends, its NUL included, if the lengths are those of names.
    #[inline(always)]
    fn end(self) -> usize {
        let last = self.starts.chunks(STRETCH).filter_map(<[_]>::last);
        let at = last.fold(self.at, |at, start| next_start(at, *start));
        next_start(at, (self.strings.len() as u16).to_le_bytes())
    }
}

/// As many names as lie within 64 KiB, so that the low bytes of each say where it is, and nothing waits for the one before.
const STRETCH: usize = 1024;
const _: () = assert!(STRETCH * (MAX_NAME + 1) < LOW);

/// What of an offset says where a name starts.
const LOW: usize = 0xffff;

/// The first offset from `at` on that has these low bytes.
#[inline(always)]
fn next_start(at: usize, low: [u8; 2]) -> usize {
    at.wrapping_add(u16::from_le_bytes(low).wrapping_sub(at as u16).into())
}

/// The members of a group: offset within [`GroupRecord::strings`] and name of each, `None` once for a damaged
/// record, and then nothing more.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    strings: &'a [u8],
    at: usize,
    starts: &'a [[u8; 2]],
}

impl<'a> Iterator for Members<'a> {
    type Item = Option<(usize, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((start, rest)) = self.starts.split_first() else {
            // Names that nothing accounts for: the two halves of the record disagree.
            let whole = self.at == self.strings.len();
            self.at = self.strings.len();
            return (!whole).then_some(None);
        };
        let end = match rest.first() {
            Some(next) => next_start(self.at, *next),
            None => self.strings.len(),
        };
        let with_nul = end.checked_sub(self.at).and_then(|len| part(self.strings, self.at, len));
        match with_nul.and_then(<[u8]>::split_last) {
            Some((0, name))
                if (1..=MAX_NAME).contains(&name.len()) && u16::from_le_bytes(*start) == self.at as u16 =>
            {
                let at = self.at;
                self.at = end;
                self.starts = rest;
                Some(Some((at, name)))
            }
            _ => {
                self.at = self.strings.len();
                self.starts = &[];
                Some(None)
            }
        }
    }
}
