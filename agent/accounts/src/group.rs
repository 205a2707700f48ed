//! One group's record: fixed head, its name, its members' names, their lengths.

use crate::format::{GROUP_HEAD, MAX_NAME, PASSWORD, UNIT};
use crate::lookup::Section;
use crate::read::{part, u32_at};

/// A group, as a view of the record.
#[derive(Clone, Copy, Debug)]
pub struct GroupRecord<'a> {
    gid: u32,
    end: usize,
    name_len: usize,
    strings: &'a [u8],
    lengths: &'a [u8],
}

impl<'a> GroupRecord<'a> {
    #[inline]
    pub(crate) fn at(section: Section<'a>, record: u32) -> Option<Self> {
        Self::at_offset(section, usize::try_from(record).ok()?.checked_mul(UNIT)?)
    }

    #[inline]
    pub(crate) fn at_offset(section: Section<'a>, offset: usize) -> Option<Self> {
        let record = section.from(offset)?;
        let head: &[u8; GROUP_HEAD] = record.first_chunk()?;
        let members = usize::try_from(u32_at(head, 4)?).ok()?;
        let names_len = usize::try_from(u32_at(head, 8)?).ok()?;
        let name_len = usize::from(*head.get(12)?);
        if name_len == 0 || name_len > MAX_NAME {
            return None;
        }
        let members_at = name_len.checked_add(3)?;
        let strings_len = members_at.checked_add(names_len)?;
        let strings = part(record, GROUP_HEAD, strings_len)?;
        let prefix = [Some(&0), Some(&PASSWORD), Some(&0)];
        let after_name = [name_len, name_len.checked_add(1)?, name_len.checked_add(2)?];
        if after_name.map(|at| strings.get(at)) != prefix {
            return None;
        }
        let lengths_at = GROUP_HEAD.checked_add(strings_len)?;
        let lengths = part(record, lengths_at, members)?;
        let len = lengths_at.checked_add(members)?.checked_next_multiple_of(UNIT)?;
        Some(Self { gid: u32_at(head, 0)?, end: offset.checked_add(len)?, name_len, strings, lengths })
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
        self.lengths.len()
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> Members<'a> {
        Members { strings: self.strings, at: self.name_len.saturating_add(3), lengths: self.lengths }
    }
}

/// The members of a group: offset within [`GroupRecord::strings`] and name of each, `None` once for a damaged
/// record, and then nothing more.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    strings: &'a [u8],
    at: usize,
    lengths: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = Option<(usize, &'a [u8])>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Some((len, rest)) = self.lengths.split_first() else {
            // Names that no length accounts for: the two halves of the record disagree.
            let whole = self.at == self.strings.len();
            self.at = self.strings.len();
            return (!whole).then_some(None);
        };
        let len = usize::from(*len);
        let name = part(self.strings, self.at, len);
        let end = self.at.saturating_add(len);
        match name {
            Some(name) if (1..=MAX_NAME).contains(&len) && self.strings.get(end) == Some(&0) => {
                let start = self.at;
                self.at = end.saturating_add(1);
                self.lengths = rest;
                Some(Some((start, name)))
            }
            _ => {
                self.at = self.strings.len();
                self.lengths = &[];
                Some(None)
            }
        }
    }
}
