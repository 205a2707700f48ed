//! Writes the records of users and groups.

use std::vec::Vec;

use super::members::Members;
use super::{BuildError, Group, User, count};
use crate::format::{GROUP_HEAD, HAS_VALID_UNTIL, MAX_NAME, PASSWORD, PROLOGUE, UNIT, USER_HEAD};

/// About as many bytes as all records take, so that the file need not be moved while it grows.
pub(super) fn len(users: &[&User], groups: usize, members: &Members) -> usize {
    let user = |(n, user): (usize, &&User)| {
        let strings = user.name.len() + user.gecos.len() + user.home.len() + user.shell.len();
        let tail: usize = user.principals.iter().map(|principal| principal.len() + 2).sum();
        let gids = members.of_user(n).len();
        USER_HEAD
            + strings
            + 6
            + 4 * (gids + user.local_gids.len())
            + tail
            + 16
            + gids * (user.name.len() + 3)
    };
    users.iter().enumerate().map(user).sum::<usize>() + groups * (GROUP_HEAD + MAX_NAME + 2 * UNIT)
}

pub(super) fn write_users(
    file: &mut Vec<u8>,
    users: &[&User],
    members: &Members,
) -> Result<Vec<u32>, BuildError> {
    let mut records = Vec::with_capacity(users.len());
    let mut more = Vec::new();
    for (n, user) in users.iter().enumerate() {
        records.push(record_number(file)?);
        let mut gids = members.of_user(n);
        if !user.local_gids.is_empty() {
            more.clear();
            more.extend_from_slice(gids);
            more.extend_from_slice(&user.local_gids);
            more.sort_unstable();
            more.dedup();
            gids = &more;
        }
        let start = file.len();
        file.extend_from_slice(&[0; USER_HEAD]);
        file.extend_from_slice(user.name.as_bytes());
        file.extend_from_slice(&[0, PASSWORD, 0]);
        for text in [&user.gecos, &user.home, &user.shell] {
            file.extend_from_slice(text.as_bytes());
            file.push(0);
        }
        pad(file, 4);
        let gids_at = file.len();
        file.resize(gids_at + 4 * gids.len(), 0);
        for (to, gid) in file[gids_at..].as_chunks_mut::<4>().0.iter_mut().zip(gids) {
            *to = gid.to_le_bytes();
        }
        let tail = file.len();
        if user.valid_until != 0 {
            file.extend_from_slice(&user.valid_until.to_le_bytes());
        }
        for principal in &user.principals {
            file.extend_from_slice(&(principal.len() as u16).to_le_bytes());
            file.extend_from_slice(principal.as_bytes());
        }
        let tail_len = file.len() - tail;
        pad(file, UNIT);
        let head = &mut file[start..start + USER_HEAD];
        head[0..4].copy_from_slice(&user.uid.to_le_bytes());
        head[4..8].copy_from_slice(&user.gid.to_le_bytes());
        head[8..12].copy_from_slice(&count(gids.len())?.to_le_bytes());
        head[12..16].copy_from_slice(&count(tail_len)?.to_le_bytes());
        head[16..18].copy_from_slice(&(user.gecos.len() as u16).to_le_bytes());
        head[18..20].copy_from_slice(&(user.home.len() as u16).to_le_bytes());
        head[20..22].copy_from_slice(&(user.shell.len() as u16).to_le_bytes());
        head[22] = user.name.len() as u8;
        head[23] = if user.valid_until == 0 { 0 } else { HAS_VALID_UNTIL };
    }
    Ok(records)
}

/// A name and its NUL, with zeros behind.
type Padded = [u8; MAX_NAME];
/// The first bytes of it. They are copied whole, whatever follows overwriting what is too much.
type Short = [u8; 16];

/// The names of all users in the order of their ranks, so that a group finds each in one place.
struct Names<'a> {
    short: Vec<Short>,
    /// NULs included.
    lens: Vec<u8>,
    users: &'a [&'a User],
}

impl<'a> Names<'a> {
    fn of(users: &'a [&'a User]) -> Self {
        let short = |user: &&User| {
            let mut short = Short::default();
            short.iter_mut().zip(user.name.bytes()).for_each(|(to, byte)| *to = byte);
            short
        };
        let lens = users.iter().map(|user| user.name.len() as u8 + 1).collect();
        Self { short: users.iter().map(short).collect(), lens, users }
    }

    fn len(&self, rank: u32) -> usize {
        self.lens[rank as usize].into()
    }

    /// Writes one to the start of `to`, which has room for [`Padded`].
    fn write(&self, rank: u32, to: &mut [u8]) {
        let (Some(to), len) = (to.first_chunk_mut::<{ size_of::<Padded>() + 1 }>(), self.len(rank)) else {
            return;
        };
        if len <= size_of::<Short>() {
            to[..size_of::<Short>()].copy_from_slice(&self.short[rank as usize]);
        } else {
            to[..len - 1].copy_from_slice(self.users[rank as usize].name.as_bytes());
            to[len - 1] = 0;
        }
    }
}

pub(super) fn write_groups(
    file: &mut Vec<u8>,
    users: &[&User],
    groups: &[&Group],
    members: &Members,
) -> Result<Vec<u32>, BuildError> {
    let names = Names::of(users);
    let mut records = Vec::with_capacity(groups.len());
    for (n, group) in groups.iter().enumerate() {
        let start = file.len();
        records.push(record_number(file)?);
        let ranks = members.of_group(n);
        file.extend_from_slice(&[0; GROUP_HEAD]);
        let starts = file.len();
        file.resize(starts + 2 * ranks.len(), 0);
        pad(file, UNIT);
        let strings = file.len();
        file.extend_from_slice(group.name.as_bytes());
        file.extend_from_slice(&[0, PASSWORD, 0]);
        let names_at = file.len();
        let names_len: usize = ranks.iter().map(|rank| names.len(*rank)).sum();
        // The last name is copied with what is too much, too.
        file.resize(names_at + names_len + size_of::<Padded>() + 1, 0);
        let (before, after) = file.split_at_mut(names_at);
        let starts = before[starts..].as_chunks_mut::<2>().0;
        let mut at = 0;
        for (start, rank) in starts.iter_mut().zip(ranks) {
            // Of a large group the low bytes: a reader knows that names follow one another.
            *start = ((names_at - strings + at) as u16).to_le_bytes();
            names.write(*rank, &mut after[at..]);
            at += names.len(*rank);
        }
        file[names_at + names_len..].fill(0);
        file.truncate(names_at + names_len);
        pad(file, UNIT);
        let head = &mut file[start..start + GROUP_HEAD];
        head[0..4].copy_from_slice(&group.gid.to_le_bytes());
        head[4..8].copy_from_slice(&count(ranks.len())?.to_le_bytes());
        head[8..12].copy_from_slice(&count(names_len)?.to_le_bytes());
        head[12] = group.name.len() as u8;
    }
    Ok(records)
}

fn record_number(file: &[u8]) -> Result<u32, BuildError> {
    match u32::try_from((file.len() - PROLOGUE) / UNIT) {
        Ok(number) if number != u32::MAX => Ok(number),
        _ => Err(BuildError::TooLarge),
    }
}

fn pad(file: &mut Vec<u8>, unit: usize) {
    file.resize(file.len().next_multiple_of(unit), 0);
}
