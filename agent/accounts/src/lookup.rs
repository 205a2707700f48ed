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
        let (users, seed) = (self.users, self.seed);
        let tag = name.tag(seed);
        self.user_names.find(tag, |record| {
            let user = UserRecord::at(users, record)?;
            if user.is_called(&name) {
                return Some(Some(user));
            }
            has_tag(user.name(), seed, tag).then_some(None)
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
        let (groups, seed) = (self.groups, self.seed);
        let tag = name.tag(seed);
        self.group_names.find(tag, |record| {
            let group = GroupRecord::at(groups, record)?;
            if group.is_called(&name) {
                return Some(Some(group));
            }
            has_tag(group.name(), seed, tag).then_some(None)
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

/// Whether it is where it is because of its own name. Another one there is damage, which says nothing about who was there.
#[cold]
#[inline(never)]
fn has_tag(name: &[u8], seed: u64, tag: u32) -> bool {
    Name::new(name).is_some_and(|name| name.tag(seed) == tag)
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
        let at = home(tag, self.homes);
        let slots = self.slots.get((at as usize).saturating_mul(SLOT)..);
        let slots = slots.and_then(<[u8]>::first_chunk::<{ PROBE_LIMIT as usize * SLOT }>);
        let Some(slots) = slots else {
            return Lookup::Corrupt;
        };
        for (slot, at) in slots.as_chunks::<SLOT>().0.iter().zip(at..) {
            let slot = u64::from_le_bytes(*slot);
            let (found, record) = (slot as u32, (slot >> 32) as u32);
            if record == 0 {
                return Lookup::Corrupt;
            }
            // Its tag would be the highest of all, and its record number is none that a record can have.
            if slot == EMPTY {
                return Lookup::NotFound;
            }
            if found == tag {
                match check(record) {
                    Some(Some(value)) => return Lookup::Found(value),
                    Some(None) => continue,
                    None => return Lookup::Corrupt,
                }
            }
            // A tag that cannot be here says nothing about others.
            if at.wrapping_sub(home(found, self.homes)) >= PROBE_LIMIT {
                return Lookup::Corrupt;
            }
            if found > tag {
                return Lookup::NotFound;
            }
        }
        // A key lies less than PROBE_LIMIT slots behind its home.
        Lookup::NotFound
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::format;
    use std::string::String;

    use super::*;
    use crate::{PROLOGUE, User, body, build};

    /// Two names with the same tag under the seed that the builder tries first.
    fn alike() -> [String; 2] {
        let mut names: HashMap<u32, String> = HashMap::new();
        for n in 0.. {
            let name = format!("user{n}");
            let tag = Name::new(name.as_bytes()).expect("a name").tag(1);
            if let Some(other) = names.insert(tag, name.clone()) {
                return [other, name];
            }
        }
        unreachable!("there are more names than tags")
    }

    fn user(name: &str, uid: u32) -> User {
        User { name: name.into(), uid, gid: uid, ..User::default() }
    }

    fn uid(lookup: Lookup<UserRecord<'_>>) -> Lookup<u32> {
        match lookup {
            Lookup::Found(user) => Lookup::Found(user.uid()),
            Lookup::NotFound => Lookup::NotFound,
            Lookup::Corrupt => Lookup::Corrupt,
        }
    }

    #[test]
    fn names_of_one_tag_are_told_apart() {
        let [one, other] = alike();
        let both = build(&[user(&one, 7), user(&other, 8)], &[], 1).expect("builds");
        let database = Database::new(body(&both).expect("a body")).expect("a database");
        assert_eq!(database.seed, 1);
        assert_eq!(uid(database.user_by_name(one.as_bytes())), Lookup::Found(7));
        assert_eq!(uid(database.user_by_name(other.as_bytes())), Lookup::Found(8));
        let mut alone = build(&[user(&one, 7)], &[], 1).expect("builds");
        let ask = |file: &[u8], name: &str| {
            let database = Database::new(body(file).expect("a body")).expect("a database");
            uid(database.user_by_name(name.as_bytes()))
        };
        assert_eq!(ask(&alone, &other), Lookup::NotFound);
        // Somebody of a third name has no business there: who knows whose record that was.
        let at = PROLOGUE + number(&alone, at::USERS) + crate::format::USER_HEAD;
        alone[at] ^= 1;
        assert_eq!(ask(&alone, &one), Lookup::Corrupt);
        assert_eq!(ask(&alone, &other), Lookup::Corrupt);
    }

    fn number(file: &[u8], at: usize) -> usize {
        u64_at(&file[PROLOGUE..], at).expect("a header") as usize
    }
}
