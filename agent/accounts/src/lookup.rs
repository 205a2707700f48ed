//! The header and the four indexes: from a name or an id to its record.
//!
//! Trusts no offset, length or count of the file. Whatever a record found says is compared with the key asked.

use crate::format::{EMPTY, HEADER, MAGIC, MAJOR, Name, PROBE_LIMIT, SLOT, UNIT, at, home, id_tag};
use crate::group::GroupRecord;
use crate::read::{part, u16_at, u32_at, u64_at};
use crate::user::UserRecord;

/// The answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Lookup<T> {
    /// The record, which has the key that was asked for.
    Found(T),
    /// The index proves that there is no such entry.
    NotFound,
    /// The file is damaged here: nothing can be said.
    Corrupt,
}

/// Why a file is not a database that this reader can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// It is shorter than a header.
    TooShort,
    /// It does not start with the magic bytes.
    NotADatabase,
    /// Its format has another major number, which is given.
    Version(u16),
    /// It is cut, or something is appended.
    Length,
    /// An index or a section does not lie within the file.
    Layout,
}

impl core::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooShort => f.write_str("the file is shorter than a header"),
            Self::NotADatabase => f.write_str("the file is not an account database"),
            Self::Version(major) => {
                write!(f, "the file has format {major}, this program reads format {MAJOR}")
            }
            Self::Length => f.write_str("the file is cut or something is appended to it"),
            Self::Layout => f.write_str("the file's header points outside of the file"),
        }
    }
}

impl core::error::Error for HeaderError {}

/// An account database, as a view of the body of its file.
#[derive(Clone, Copy, Debug)]
pub struct Database<'a> {
    seed: u64,
    generation: u64,
    user_count: u32,
    group_count: u32,
    users: Section<'a>,
    groups: Section<'a>,
    user_names: Table<'a>,
    user_ids: Table<'a>,
    group_names: Table<'a>,
    group_ids: Table<'a>,
}

impl<'a> Database<'a> {
    /// Reads the header of `body` (the file without its prologue, see [`crate::body`]).
    ///
    /// # Errors
    /// If `body` is not a whole database of this major version.
    pub fn new(body: &'a [u8]) -> Result<Self, HeaderError> {
        Self::with_header(body.first_chunk().ok_or(HeaderError::TooShort)?, body)
    }

    /// As [`Self::new`] for a copy of what `body` starts with. Any other header leads to wrong answers, as a damaged file does.
    #[inline(never)]
    pub(crate) fn with_header(header: &[u8; HEADER], body: &'a [u8]) -> Result<Self, HeaderError> {
        if !header.starts_with(&MAGIC) {
            return Err(HeaderError::NotADatabase);
        }
        let major = u16_at(header, at::MAJOR).ok_or(HeaderError::TooShort)?;
        if major != MAJOR {
            return Err(HeaderError::Version(major));
        }
        if u64_at(header, at::LENGTH) != u64::try_from(body.len()).ok() {
            return Err(HeaderError::Length);
        }
        Self::lay_out(header, body).ok_or(HeaderError::Layout)
    }

    fn lay_out(header: &[u8], body: &'a [u8]) -> Option<Self> {
        Some(Self {
            seed: u64_at(header, at::SEED)?,
            generation: u64_at(header, at::GENERATION)?,
            user_count: u32_at(header, at::USER_COUNT)?,
            group_count: u32_at(header, at::GROUP_COUNT)?,
            users: Section::new(header, body, at::USERS)?,
            groups: Section::new(header, body, at::GROUPS)?,
            user_names: Table::new(header, body, at::TABLES)?,
            user_ids: Table::new(header, body, at::TABLES + 16)?,
            group_names: Table::new(header, body, at::TABLES + 32)?,
            group_ids: Table::new(header, body, at::TABLES + 48)?,
        })
    }

    /// The number the writer gave to this version of the database.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many users it says it holds.
    #[must_use]
    pub fn user_count(&self) -> u32 {
        self.user_count
    }

    /// How many groups it says it holds.
    #[must_use]
    pub fn group_count(&self) -> u32 {
        self.group_count
    }

    /// The user called `name`.
    #[inline(always)]
    pub fn user_by_name(&self, name: &[u8]) -> Lookup<UserRecord<'a>> {
        let Some(name) = Name::new(name) else {
            return Lookup::NotFound;
        };
        let users = self.users;
        self.user_names.find(name.tag(self.seed), |record| {
            let user = UserRecord::at(users, record)?;
            Some(user.is_called(&name).then_some(user))
        })
    }

    /// The user with this uid.
    #[inline(always)]
    pub fn user_by_uid(&self, uid: u32) -> Lookup<UserRecord<'a>> {
        let users = self.users;
        self.user_ids.find(id_tag(self.seed, uid), |record| {
            let user = UserRecord::at(users, record)?;
            // Equal tags are equal ids, so another uid here is damage.
            (user.uid() == uid).then_some(Some(user))
        })
    }

    /// The group called `name`.
    #[inline(always)]
    pub fn group_by_name(&self, name: &[u8]) -> Lookup<GroupRecord<'a>> {
        let Some(name) = Name::new(name) else {
            return Lookup::NotFound;
        };
        let groups = self.groups;
        self.group_names.find(name.tag(self.seed), |record| {
            let group = GroupRecord::at(groups, record)?;
            Some(group.is_called(&name).then_some(group))
        })
    }

    /// The group with this gid.
    #[inline(always)]
    pub fn group_by_gid(&self, gid: u32) -> Lookup<GroupRecord<'a>> {
        let groups = self.groups;
        self.group_ids.find(id_tag(self.seed, gid), |record| {
            let group = GroupRecord::at(groups, record)?;
            (group.gid() == gid).then_some(Some(group))
        })
    }

    /// The user with the lowest uid above `last`, or the lowest of all for `None`.
    ///
    /// O(1) while `last` is a user of this database. If it no longer is (the database was replaced during an
    /// enumeration), one walk over the users.
    pub fn user_after(&self, last: Option<u32>) -> Lookup<UserRecord<'a>> {
        let Some(last) = last else {
            return self.users_behind(self.users.start, None, None);
        };
        match self.user_by_uid(last) {
            Lookup::Found(user) => self.users_behind(user.end(), Some(last), Some(last)),
            Lookup::NotFound => self.users_behind(self.users.start, None, Some(last)),
            Lookup::Corrupt => Lookup::Corrupt,
        }
    }

    /// As [`Self::user_after`] for the uid of a user whose [`UserRecord::next`] in this very database is `record`, without
    /// looking anything up. Whatever else `record` is, what it leads to is checked as any other bytes are.
    #[inline(always)]
    pub fn user_at(&self, record: u32, last: u32) -> Lookup<UserRecord<'a>> {
        let offset = usize::try_from(record).ok().and_then(|record| record.checked_mul(UNIT));
        let Some(offset) = offset else {
            return Lookup::Corrupt;
        };
        if offset == self.users.end {
            return Lookup::NotFound;
        }
        let user = UserRecord::at_offset(self.users, offset).filter(|user| user.uid() > last);
        user.map_or(Lookup::Corrupt, Lookup::Found)
    }

    /// The group with the lowest gid above `last`, or the lowest of all for `None`. Cost: see [`Self::user_after`].
    pub fn group_after(&self, last: Option<u32>) -> Lookup<GroupRecord<'a>> {
        let Some(last) = last else {
            return self.groups_behind(self.groups.start, None, None);
        };
        match self.group_by_gid(last) {
            Lookup::Found(group) => self.groups_behind(group.end(), Some(last), Some(last)),
            Lookup::NotFound => self.groups_behind(self.groups.start, None, Some(last)),
            Lookup::Corrupt => Lookup::Corrupt,
        }
    }

    /// As [`Self::user_at`], for groups.
    #[inline(always)]
    pub fn group_at(&self, record: u32, last: u32) -> Lookup<GroupRecord<'a>> {
        let offset = usize::try_from(record).ok().and_then(|record| record.checked_mul(UNIT));
        let Some(offset) = offset else {
            return Lookup::Corrupt;
        };
        if offset == self.groups.end {
            return Lookup::NotFound;
        }
        let group = GroupRecord::at_offset(self.groups, offset).filter(|group| group.gid() > last);
        group.map_or(Lookup::Corrupt, Lookup::Found)
    }

    fn users_behind(
        &self,
        mut from: usize,
        mut previous: Option<u32>,
        last: Option<u32>,
    ) -> Lookup<UserRecord<'a>> {
        while from != self.users.end {
            let Some(user) = UserRecord::at_offset(self.users, from) else {
                return Lookup::Corrupt;
            };
            if previous.is_some_and(|previous| previous >= user.uid()) {
                return Lookup::Corrupt;
            }
            if last.is_none_or(|last| user.uid() > last) {
                return Lookup::Found(user);
            }
            previous = Some(user.uid());
            from = user.end();
        }
        Lookup::NotFound
    }

    fn groups_behind(
        &self,
        mut from: usize,
        mut previous: Option<u32>,
        last: Option<u32>,
    ) -> Lookup<GroupRecord<'a>> {
        while from != self.groups.end {
            let Some(group) = GroupRecord::at_offset(self.groups, from) else {
                return Lookup::Corrupt;
            };
            if previous.is_some_and(|previous| previous >= group.gid()) {
                return Lookup::Corrupt;
            }
            if last.is_none_or(|last| group.gid() > last) {
                return Lookup::Found(group);
            }
            previous = Some(group.gid());
            from = group.end();
        }
        Lookup::NotFound
    }
}

/// The part of a body that holds records of one kind. Offsets count from the start of the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Section<'a> {
    fn new(header: &[u8], body: &'a [u8], descriptor: usize) -> Option<Self> {
        let start = usize::try_from(u64_at(header, descriptor)?).ok()?;
        let len = usize::try_from(u64_at(header, descriptor + 8)?).ok()?;
        let bytes = part(body, start, len)?;
        let aligned = start.is_multiple_of(UNIT) && len.is_multiple_of(UNIT);
        (aligned && start >= HEADER).then_some(Self { bytes, start, end: start.checked_add(len)? })
    }

    /// Everything from `offset` to the end of the section.
    #[inline(always)]
    pub(crate) fn from(self, offset: usize) -> Option<&'a [u8]> {
        self.bytes.get(offset.checked_sub(self.start)?..)
    }
}

/// An index: slots of tag and record, sorted by tag, each at its home or a little behind it.
#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    slots: &'a [u8],
    homes: u32,
}

impl<'a> Table<'a> {
    fn new(header: &[u8], body: &'a [u8], descriptor: usize) -> Option<Self> {
        let start = usize::try_from(u64_at(header, descriptor)?).ok()?;
        let homes = u32_at(header, descriptor + 8)?;
        let slots = usize::try_from(homes.checked_add(PROBE_LIMIT)?).ok()?;
        let slots = part(body, start, slots.checked_mul(SLOT)?)?;
        (start.is_multiple_of(UNIT) && start >= HEADER && homes > 0).then_some(Self { slots, homes })
    }

    /// Shows `check` each record of this tag: `None` is damage, `Some(None)` another key.
    #[inline(always)]
    fn find<T>(&self, tag: u32, mut check: impl FnMut(u32) -> Option<Option<T>>) -> Lookup<T> {
        let first = (home(tag, self.homes) as usize).saturating_mul(SLOT);
        let slots = self.slots.get(first..).and_then(<[u8]>::first_chunk::<{ PROBE_LIMIT as usize * SLOT }>);
        let Some(slots) = slots else {
            return Lookup::Corrupt;
        };
        for slot in slots.as_chunks::<SLOT>().0 {
            let slot = u64::from_le_bytes(*slot);
            let (found, record) = (slot as u32, (slot >> 32) as u32);
            if record == 0 {
                return Lookup::Corrupt;
            }
            // An empty slot has the highest of all tags, and a record number that no record can have.
            if found > tag || slot == EMPTY {
                return Lookup::NotFound;
            }
            if found == tag {
                match check(record) {
                    Some(Some(value)) => return Lookup::Found(value),
                    Some(None) => {}
                    None => return Lookup::Corrupt,
                }
            }
        }
        // A key lies less than PROBE_LIMIT slots behind its home.
        Lookup::NotFound
    }
}
