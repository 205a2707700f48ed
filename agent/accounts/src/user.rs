//! One user's record: fixed head, strings, gids, tail.

use crate::ahead;
use crate::format::{HAS_VALID_UNTIL, MAX_NAME, Name, PASSWORD, UNIT, USER_HEAD, is_reserved};
use crate::lookup::Section;
use crate::read::{part, u16_at, u32_at, u64_at};

/// Most records with ten or twenty gids have no more lines than these and the first.
const LINES: usize = 2;

/// A user, as a view of the record.
#[derive(Clone, Copy, Debug)]
pub struct UserRecord<'a> {
    uid: u32,
    gid: u32,
    next: u32,
    end: usize,
    name_len: usize,
    home: usize,
    shell: usize,
    strings: &'a [u8],
    gids: &'a [u8],
    tail: &'a [u8],
    flags: u8,
}

impl<'a> UserRecord<'a> {
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
        let strings = part(record, USER_HEAD, head.strings_len())?;
        let (home, shell) = (head.home(), head.shell());
        // All are looked at before anything is decided, so that nothing waits for the one before.
        let nul = |end: usize| strings.get(end).is_some_and(|byte| *byte == 0);
        let sound = nul(head.name_len)
            & nul(head.name_len.wrapping_add(2))
            & nul(home.wrapping_sub(1))
            & nul(shell.wrapping_sub(1))
            & (strings.last() == Some(&0))
            & (strings.get(head.name_len.wrapping_add(1)) == Some(&PASSWORD))
            // What zeros in the place of the head's start would make of somebody.
            & !is_reserved(head.uid)
            & !is_reserved(head.gid);
        let (gids_at, tail_at) = (head.gids_at(), head.tail_at()?);
        let end = head.end()?;
        let (gids, tail) = (record.get(gids_at..tail_at)?, record.get(tail_at..end)?);
        // It lies within the section by now: there is room for the padding in a number.
        let end = offset.wrapping_add(end.wrapping_add(UNIT - 1) & !(UNIT - 1));
        if !sound || head.name_len == 0 || head.name_len > MAX_NAME {
            return None;
        }
        Some(Self {
            uid: head.uid,
            gid: head.gid,
            next: u32::try_from(end / UNIT).ok()?,
            end,
            name_len: head.name_len,
            home,
            shell,
            strings,
            gids,
            tail,
            flags: head.flags,
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

    /// The uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The gid of the primary group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// The login name.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.strings.get(..self.name_len).unwrap_or_default()
    }

    /// Comment field, usually the person's name.
    #[must_use]
    pub fn gecos(&self) -> &'a [u8] {
        self.between(self.gecos_offset(), self.home)
    }

    /// Home directory.
    #[must_use]
    pub fn home(&self) -> &'a [u8] {
        self.between(self.home, self.shell)
    }

    /// Login shell.
    #[must_use]
    pub fn shell(&self) -> &'a [u8] {
        self.between(self.shell, self.strings.len())
    }

    /// Name, password (`*`), gecos, home and shell, each with its NUL: one copy answers a lookup.
    #[must_use]
    pub fn strings(&self) -> &'a [u8] {
        self.strings
    }

    /// Name and password, each with its NUL: the start of [`Self::strings`].
    #[must_use]
    pub fn name_and_password(&self) -> &'a [u8] {
        self.strings.get(..self.gecos_offset()).unwrap_or_default()
    }

    /// Offset of the password within [`Self::strings`].
    #[must_use]
    pub fn password_offset(&self) -> usize {
        self.name_len.saturating_add(1)
    }

    /// Offset of the gecos within [`Self::strings`].
    #[must_use]
    pub fn gecos_offset(&self) -> usize {
        self.name_len.saturating_add(3)
    }

    /// Offset of the home directory within [`Self::strings`].
    #[must_use]
    pub fn home_offset(&self) -> usize {
        self.home
    }

    /// Offset of the shell within [`Self::strings`].
    #[must_use]
    pub fn shell_offset(&self) -> usize {
        self.shell
    }

    /// Supplementary gids, ascending, without duplicates.
    pub fn gids(&self) -> impl ExactSizeIterator<Item = u32> + use<'a> {
        let (gids, _) = self.gids.as_chunks::<4>();
        gids.iter().map(|gid| u32::from_le_bytes(*gid))
    }

    /// Whether each of [`Self::gids`] is one that somebody may have. Otherwise the record is damaged.
    #[must_use]
    #[inline(always)]
    pub fn gids_are_sound(&self) -> bool {
        // Without stopping at the first: nearly always there is none, and so many are looked at at once.
        !self.gids().fold(false, |found, gid| found | is_reserved(gid))
    }

    /// Unix seconds from which the user has no principals any more, if there is such a time.
    /// `None` if the record is damaged.
    #[must_use]
    pub fn valid_until(&self) -> Option<Option<u64>> {
        if self.flags & HAS_VALID_UNTIL == 0 {
            return Some(None);
        }
        u64_at(self.tail, 0).map(Some)
    }

    /// Certificate principals. `None` if the record is damaged.
    #[must_use]
    pub fn principals(&self) -> Option<Principals<'a>> {
        let skip = if self.flags & HAS_VALID_UNTIL == 0 { 0 } else { 8 };
        let rest = self.tail.get(skip..)?;
        let mut walk = Principals { rest };
        while !walk.rest.is_empty() {
            walk.next()?;
        }
        Some(Principals { rest })
    }

    fn between(&self, start: usize, next: usize) -> &'a [u8] {
        self.strings.get(start..next.saturating_sub(1)).unwrap_or_default()
    }
}

/// The fixed part of a record: what it says about where the rest is.
#[derive(Clone, Copy)]
struct Head {
    uid: u32,
    gid: u32,
    gids: usize,
    tail: usize,
    gecos: usize,
    home: usize,
    shell: usize,
    name_len: usize,
    flags: u8,
}

impl Head {
    #[inline(always)]
    fn of(record: &[u8]) -> Option<Self> {
        let head: &[u8; USER_HEAD] = record.first_chunk()?;
        Some(Self {
            uid: u32_at(head, 0)?,
            gid: u32_at(head, 4)?,
            gids: usize::try_from(u32_at(head, 8)?).ok()?,
            tail: usize::try_from(u32_at(head, 12)?).ok()?,
            gecos: u16_at(head, 16)?.into(),
            home: u16_at(head, 18)?.into(),
            shell: u16_at(head, 20)?.into(),
            name_len: (*head.get(22)?).into(),
            flags: *head.get(23)?,
        })
    }

    /// Offset of the home directory in the strings. Four lengths of two bytes at most add up to nothing that overflows.
    #[inline(always)]
    fn home(&self) -> usize {
        self.name_len.wrapping_add(4).wrapping_add(self.gecos)
    }

    #[inline(always)]
    fn shell(&self) -> usize {
        self.home().wrapping_add(1).wrapping_add(self.home)
    }

    #[inline(always)]
    fn strings_len(&self) -> usize {
        self.shell().wrapping_add(1).wrapping_add(self.shell)
    }

    #[inline(always)]
    fn gids_at(&self) -> usize {
        USER_HEAD.wrapping_add(self.strings_len()).wrapping_add(3) & !3
    }

    #[inline(always)]
    fn tail_at(&self) -> Option<usize> {
        self.gids.checked_mul(4)?.checked_add(self.gids_at())
    }

    /// Length of the record without its padding.
    #[inline(always)]
    fn end(&self) -> Option<usize> {
        self.tail_at()?.checked_add(self.tail)
    }
}

/// The certificate principals of a user.
#[derive(Clone, Copy, Debug)]
pub struct Principals<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Principals<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(u16_at(self.rest, 0)?);
        let principal = part(self.rest, 2, len)?;
        self.rest = self.rest.get(len.checked_add(2)?..)?;
        Some(principal)
    }
}
