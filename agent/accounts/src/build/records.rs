//! Writes the records of users and groups: first it is known where each lies, then two threads may write them.

use std::iter::repeat;
use std::vec::Vec;

use super::both::both;
use super::members::Members;
use super::names::Names;
use super::{BuildError, Group, User, count};
use crate::format::{GROUP_HEAD, HAS_VALID_UNTIL, PASSWORD, UNIT, USER_HEAD};

/// Numbers of the records of one kind, in their order, and the offset of what is behind them.
pub(super) struct Places {
    pub(super) numbers: Vec<u32>,
    pub(super) end: usize,
}

impl Places {
    /// Of records of these lengths, from the offset `from` on.
    fn of(from: usize, lens: impl ExactSizeIterator<Item = usize>) -> Result<Self, BuildError> {
        let (mut numbers, mut end) = (Vec::with_capacity(lens.len()), from);
        for len in lens {
            match u32::try_from(end / UNIT) {
                Ok(number) if number != u32::MAX => numbers.push(number),
                _ => return Err(BuildError::TooLarge),
            }
            end += len;
        }
        Ok(Self { numbers, end })
    }

    /// The same records, with `from` bytes before the first.
    pub(super) fn behind(mut self, from: usize) -> Result<Self, BuildError> {
        let first = u32::try_from(from / UNIT).map_err(|_| BuildError::TooLarge)?;
        self.end += from;
        if self.end / UNIT >= u32::MAX as usize {
            return Err(BuildError::TooLarge);
        }
        self.numbers.iter_mut().for_each(|number| *number += first);
        Ok(self)
    }

    fn offset(&self, n: usize) -> usize {
        self.numbers.get(n).map_or(self.end, |number| *number as usize * UNIT)
    }

    /// Has `write` fill each record, of which nothing but zeros are there, in two halves.
    fn fill<T: Sync>(
        &self,
        section: &mut [u8],
        entries: &[T],
        write: impl Fn(&mut [u8], usize, &T) -> Result<(), BuildError> + Sync,
    ) -> Result<(), BuildError> {
        let start = self.offset(0);
        let middle =
            self.numbers.partition_point(|number| *number as usize * UNIT < start + section.len() / 2);
        let (first, second) = section.split_at_mut(self.offset(middle) - start);
        let half = |mut section: &mut [u8], from: usize, to: usize| -> Result<(), BuildError> {
            for (n, entry) in (from..to).zip(&entries[from..to]) {
                let (record, rest) = section.split_at_mut(self.offset(n + 1) - self.offset(n));
                write(record, n, entry)?;
                section = rest;
            }
            Ok(())
        };
        let much = first.len() / USER_HEAD;
        let (one, other) = both(much, || half(first, 0, middle), || half(second, middle, entries.len()));
        one.and(other)
    }
}

fn strings_len(user: &User) -> usize {
    user.name.len() + user.gecos.len() + user.home.len() + user.shell.len() + 6
}

fn tail_len(user: &User) -> usize {
    let until = if user.valid_until == 0 { 0 } else { 8 };
    until + user.principals.iter().map(|principal| principal.len() + 2).sum::<usize>()
}

fn gids_at(user: &User) -> usize {
    (USER_HEAD + strings_len(user)).next_multiple_of(4)
}

/// All gids of a user, ascending, without duplicates.
fn gids_of<'a>(user: &User, of_groups: &'a [u32], all: &'a mut Vec<u32>) -> &'a [u32] {
    if user.local_gids.is_empty() {
        return of_groups;
    }
    all.clear();
    all.extend_from_slice(of_groups);
    all.extend_from_slice(&user.local_gids);
    all.sort_unstable();
    all.dedup();
    all
}

/// Where the users' records are.
pub(super) fn place_users(from: usize, users: &[&User], members: &Members) -> Result<Places, BuildError> {
    let mut all = Vec::new();
    let len = |(n, user): (usize, &&User)| {
        let gids = gids_of(user, members.of_user(n), &mut all).len();
        (gids_at(user) + 4 * gids + tail_len(user)).next_multiple_of(UNIT)
    };
    Places::of(from, users.iter().enumerate().map(len))
}

/// Writes them to their section.
pub(super) fn write_users(
    section: &mut [u8],
    users: &[&User],
    members: &Members,
    places: &Places,
) -> Result<(), BuildError> {
    places.fill(section, users, |record, n, user| write_user(record, user, members.of_user(n)))
}

fn write_user(record: &mut [u8], user: &User, of_groups: &[u32]) -> Result<(), BuildError> {
    let mut all = Vec::new();
    let gids = gids_of(user, of_groups, &mut all);
    let (head, mut to) = record.split_at_mut(USER_HEAD);
    put(&mut to, user.name.as_bytes());
    put(&mut to, &[0, PASSWORD, 0]);
    for text in [&user.gecos, &user.home, &user.shell] {
        put(&mut to, text.as_bytes());
        put(&mut to, &[0]);
    }
    put(&mut to, &[0; 3][..gids_at(user) - USER_HEAD - strings_len(user)]);
    for gid in gids {
        put(&mut to, &gid.to_le_bytes());
    }
    if user.valid_until != 0 {
        put(&mut to, &user.valid_until.to_le_bytes());
    }
    for principal in &user.principals {
        put(&mut to, &(principal.len() as u16).to_le_bytes());
        put(&mut to, principal.as_bytes());
    }
    head[0..4].copy_from_slice(&user.uid.to_le_bytes());
    head[4..8].copy_from_slice(&user.gid.to_le_bytes());
    head[8..12].copy_from_slice(&count(gids.len())?.to_le_bytes());
    head[12..16].copy_from_slice(&count(tail_len(user))?.to_le_bytes());
    head[16..18].copy_from_slice(&(user.gecos.len() as u16).to_le_bytes());
    head[18..20].copy_from_slice(&(user.home.len() as u16).to_le_bytes());
    head[20..22].copy_from_slice(&(user.shell.len() as u16).to_le_bytes());
    head[22] = user.name.len() as u8;
    head[23] = if user.valid_until == 0 { 0 } else { HAS_VALID_UNTIL };
    Ok(())
}

/// Moves on behind what it writes.
fn put(to: &mut &mut [u8], bytes: &[u8]) {
    let (here, behind) = std::mem::take(to).split_at_mut(bytes.len());
    here.copy_from_slice(bytes);
    *to = behind;
}

fn strings_at(members: usize) -> usize {
    (GROUP_HEAD + 2 * members).next_multiple_of(UNIT)
}

/// Where the groups' records are, from the start of their section.
pub(super) fn place_groups(
    groups: &[&Group],
    members: &Members,
    names: &Names<'_>,
) -> Result<Places, BuildError> {
    let len = |(n, group): (usize, &&Group)| {
        let ranks = members.of_group(n);
        let names: usize = ranks.iter().map(|rank| names.len(*rank)).sum();
        (strings_at(ranks.len()) + group.name.len() + 3 + names).next_multiple_of(UNIT)
    };
    Places::of(0, groups.iter().enumerate().map(len))
}

/// Writes them to their section.
pub(super) fn write_groups(
    section: &mut [u8],
    groups: &[&Group],
    members: &Members,
    names: &Names<'_>,
    places: &Places,
) -> Result<(), BuildError> {
    places.fill(section, groups, |record, n, group| write_group(record, group, members.of_group(n), names))
}

/// So many names further, one is fetched from memory while others are written.
const SOON: usize = 16;

fn write_group(record: &mut [u8], group: &Group, ranks: &[u32], names: &Names<'_>) -> Result<(), BuildError> {
    let (before, strings) = record.split_at_mut(strings_at(ranks.len()));
    let (head, starts) = before.split_at_mut(GROUP_HEAD);
    let mut to = &mut *strings;
    put(&mut to, group.name.as_bytes());
    put(&mut to, &[0, PASSWORD, 0]);
    let names_at = group.name.len() + 3;
    let mut at = names_at;
    let soon = ranks.iter().skip(SOON).map(Some).chain(repeat(None));
    for ((start, rank), soon) in starts.as_chunks_mut::<2>().0.iter_mut().zip(ranks).zip(soon) {
        if let Some(soon) = soon {
            names.fetch(*soon);
        }
        // Of a large group the low bytes: a reader knows that names follow one another.
        *start = (at as u16).to_le_bytes();
        at += names.write(*rank, &mut strings[at..]);
    }
    head[0..4].copy_from_slice(&group.gid.to_le_bytes());
    head[4..8].copy_from_slice(&count(ranks.len())?.to_le_bytes());
    head[8..12].copy_from_slice(&count(at - names_at)?.to_le_bytes());
    head[12] = group.name.len() as u8;
    Ok(())
}
