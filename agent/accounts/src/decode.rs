//! Reads a whole file back into users and groups, checking everything: the planner's view of what is there.

use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;

use crate::build::{Group, User};
use crate::format::{at, body, checksum};
use crate::lookup::{Database, HeaderError, Lookup};
use crate::read::u64_at;
use crate::subids::Subids;
use crate::user::UserRecord;

/// Why a file cannot be read back whole.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The header says no.
    #[error("the account database cannot be used")]
    Header(#[source] HeaderError),
    /// Something in it has changed since it was written.
    #[error("the account database is damaged: its checksum does not match")]
    Checksum,
    /// The checksum matches, but the content contradicts itself.
    #[error("the account database contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// All users and groups of `file` (prologue included), each in the order of the ids.
///
/// What was built from users and groups in that order, with ascending members, ascending subordinate ids and `local_gids`
/// that repeat no group, decodes to the same.
///
/// # Errors
/// If the file is not exactly as a writer left it (but for the superseded flag).
pub fn decode_all(file: &[u8]) -> Result<(Vec<User>, Vec<Group>), DecodeError> {
    let body = body(file).ok_or(DecodeError::Header(HeaderError::TooShort))?;
    let database = Database::new(body).map_err(DecodeError::Header)?;
    if u64_at(body, at::CHECKSUM) != Some(checksum(body)) {
        return Err(DecodeError::Checksum);
    }
    let mut users = decode_users(&database)?;
    let groups = decode_groups(&database, &mut users)?;
    decode_subids(Subids::new(body).map_err(DecodeError::Header)?, &mut users)?;
    Ok((users, groups))
}

fn decode_users(database: &Database<'_>) -> Result<Vec<User>, DecodeError> {
    let mut users: Vec<User> = Vec::new();
    loop {
        let record = match database.user_after(users.last().map(|user| user.uid)) {
            Lookup::Found(record) => record,
            Lookup::NotFound => break,
            Lookup::Corrupt => {
                return Err(DecodeError::Contradiction("a user's record is damaged"));
            }
        };
        match database.user_by_name(record.name()) {
            Lookup::Found(named) if named.uid() == record.uid() => {}
            _ => return Err(DecodeError::Contradiction("a user is not found by name")),
        }
        users.push(decode_user(&record).ok_or(DecodeError::Contradiction("a user's record is damaged"))?);
    }
    if users.len() != database.user_count() as usize {
        return Err(DecodeError::Contradiction("the number of users is not the one it says"));
    }
    Ok(users)
}

fn decode_user(record: &UserRecord<'_>) -> Option<User> {
    let principals: Option<Vec<String>> = record.principals()?.map(text).collect();
    record.gids_are_sound().then_some(())?;
    Some(User {
        name: text(record.name())?,
        uid: record.uid(),
        gid: record.gid(),
        gecos: text(record.gecos())?,
        home: text(record.home())?,
        shell: text(record.shell())?,
        local_gids: record.gids().collect(),
        principals: principals?,
        valid_until: record.valid_until()?.unwrap_or(0),
        subids: Vec::new(),
    })
}

fn decode_groups(database: &Database<'_>, users: &mut [User]) -> Result<Vec<Group>, DecodeError> {
    let by_name: HashMap<String, u32> = users.iter().map(|user| user.name.clone()).zip(0..).collect();
    let mut groups: Vec<Group> = Vec::new();
    loop {
        let record = match database.group_after(groups.last().map(|group| group.gid)) {
            Lookup::Found(record) => record,
            Lookup::NotFound => break,
            Lookup::Corrupt => {
                return Err(DecodeError::Contradiction("a group's record is damaged"));
            }
        };
        match database.group_by_name(record.name()) {
            Lookup::Found(named) if named.gid() == record.gid() => {}
            _ => return Err(DecodeError::Contradiction("a group is not found by name")),
        }
        let mut members = Vec::with_capacity(record.member_count());
        for member in record.members() {
            let index = member
                .and_then(|(_, name)| core::str::from_utf8(name).ok())
                .and_then(|name| by_name.get(name))
                .ok_or(DecodeError::Contradiction("a group has a member that is no user"))?;
            members.push(*index);
        }
        let name = text(record.name()).ok_or(DecodeError::Contradiction("a group's name is not text"))?;
        groups.push(Group { name, gid: record.gid(), members });
    }
    if groups.len() != database.group_count() as usize {
        return Err(DecodeError::Contradiction("the number of groups is not the one it says"));
    }
    keep_local_gids(users, &groups)?;
    Ok(groups)
}

/// Gives each user the subordinate ids that are theirs.
fn decode_subids(subids: Subids<'_>, users: &mut [User]) -> Result<(), DecodeError> {
    let all = subids.all().ok_or(DecodeError::Contradiction("the subordinate ids are damaged"))?;
    for (uid, range) in all {
        let user = users.binary_search_by_key(&uid, |user| user.uid).ok().and_then(|n| users.get_mut(n));
        let user = user.ok_or(DecodeError::Contradiction("a subordinate id belongs to no user"))?;
        user.subids.push(range);
    }
    Ok(())
}

/// Takes away from each user's gids those that come from the groups.
fn keep_local_gids(users: &mut [User], groups: &[Group]) -> Result<(), DecodeError> {
    let mut of_groups: Vec<Vec<u32>> = users.iter().map(|_| Vec::new()).collect();
    for group in groups {
        for member in &group.members {
            if let Some(gids) = of_groups.get_mut(*member as usize) {
                gids.push(group.gid);
            }
        }
    }
    for (user, of_groups) in users.iter_mut().zip(of_groups) {
        let all = user.local_gids.len();
        user.local_gids.retain(|gid| of_groups.binary_search(gid).is_err());
        if user.local_gids.len() + of_groups.len() != all {
            return Err(DecodeError::Contradiction("a user lacks the gid of a group that lists the user"));
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Option<String> {
    core::str::from_utf8(bytes).ok().map(String::from)
}
