//! One user's record: fixed head, strings, gids, tail.

use crate::format::{HAS_VALID_UNTIL, MAX_NAME, PASSWORD, UNIT, USER_HEAD};
use crate::lookup::Section;
use crate::read::{part, u16_at, u32_at, u64_at};

/// A user, as a view of the record.
#[derive(Clone, Copy, Debug)]
pub struct UserRecord<'a> {
    uid: u32,
    gid: u32,
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
    #[inline]
    pub(crate) fn at(section: Section<'a>, record: u32) -> Option<Self> {
        Self::at_offset(section, usize::try_from(record).ok()?.checked_mul(UNIT)?)
    }

    #[inline]
    pub(crate) fn at_offset(section: Section<'a>, offset: usize) -> Option<Self> {
        let record = section.from(offset)?;
        let head: &[u8; USER_HEAD] = record.first_chunk()?;
        let gid_count = usize::try_from(u32_at(head, 8)?).ok()?;
        let tail_len = usize::try_from(u32_at(head, 12)?).ok()?;
        let name_len = usize::from(*head.get(22)?);
        if name_len == 0 || name_len > MAX_NAME {
            return None;
        }
        let gecos = name_len.checked_add(3)?;
        let home = gecos.checked_add(usize::from(u16_at(head, 16)?))?.checked_add(1)?;
        let shell = home.checked_add(usize::from(u16_at(head, 18)?))?.checked_add(1)?;
        let strings_len = shell.checked_add(usize::from(u16_at(head, 20)?))?.checked_add(1)?;
        let strings = part(record, USER_HEAD, strings_len)?;
        let ends = [name_len, gecos - 1, home - 1, shell - 1, strings_len - 1];
        if ends.iter().any(|end| strings.get(*end) != Some(&0))
            || strings.get(name_len.checked_add(1)?) != Some(&PASSWORD)
        {
            return None;
        }
        let gids_at = USER_HEAD.checked_add(strings_len)?.checked_next_multiple_of(4)?;
        let gids = part(record, gids_at, gid_count.checked_mul(4)?)?;
        let tail_at = gids_at.checked_add(gids.len())?;
        let tail = part(record, tail_at, tail_len)?;
        let len = tail_at.checked_add(tail_len)?.checked_next_multiple_of(UNIT)?;
        Some(Self {
            uid: u32_at(head, 0)?,
            gid: u32_at(head, 4)?,
            end: offset.checked_add(len)?,
            name_len,
            home,
            shell,
            strings,
            gids,
            tail,
            flags: *head.get(23)?,
        })
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
