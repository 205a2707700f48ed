//! Builds the file: the same users and groups give the same bytes, in whatever order they come.
//!
//! Refuses what no reader may ever be shown. What a host allows (names, id ranges, homes) is decided before.

use std::string::String;
use std::vec;
use std::vec::Vec;

use crate::format::{MAGIC, MAJOR, MAX_NAME, MINOR, MINOR_WITH_SUBIDS, PROBE_LIMIT, PROLOGUE, at, checksum};

mod both;
mod check;
mod index;
mod large;
mod members;
mod names;
mod records;
mod subids;

use both::both;
use check::{check_group, check_user};
use index::{Keys, Tables, Unplaced};
use members::Members;
use names::Names;
use records::{place_groups, place_users, write_groups, write_users};
use subids::{subids_len, write_subids};

use crate::subids::SubidRange;

/// A user as the database holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Login name, 1 to 32 bytes.
    pub name: String,
    /// Neither 0 nor `u32::MAX`.
    pub uid: u32,
    /// Primary group, neither 0 nor `u32::MAX`.
    pub gid: u32,
    /// Comment field, usually the person's name.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Gids the user has beyond the [`Group`]s that list the user: `hostward-users` and granted local groups.
    pub local_gids: Vec<u32>,
    /// Certificate principals, one word each.
    pub principals: Vec<String>,
    /// Unix seconds from which the user has no principals any more; 0 for never.
    pub valid_until: u64,
    /// Subordinate ids, uids as well as gids. Nobody else has any of them.
    pub subids: Vec<SubidRange>,
}

/// A group as the database holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name, 1 to 32 bytes.
    pub name: String,
    /// Neither 0 nor `u32::MAX`.
    pub gid: u32,
    /// Members, as indexes into the users that are passed along. A repeated one counts once.
    pub members: Vec<u32>,
}

/// Why no database can be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum BuildError {
    #[error("two users are called `{0}`")]
    DuplicateUserName(String),
    #[error("two groups are called `{0}`")]
    DuplicateGroupName(String),
    #[error("two users have uid {0}")]
    DuplicateUid(u32),
    #[error("two groups have gid {0}")]
    DuplicateGid(u32),
    #[error("`{of}` has the reserved id {id}")]
    ReservedId { of: String, id: u32 },
    #[error("the name `{0}` is not 1 to {MAX_NAME} bytes long")]
    NameLength(String),
    #[error("`{of}` has a {field} with a character that must not be there: {text:?}")]
    Character { of: String, field: &'static str, text: String },
    #[error("`{of}` has a {field} of more than 65535 bytes")]
    FieldLength { of: String, field: &'static str },
    #[error("group `{group}` has member number {member}, which is no user")]
    NoSuchMember { group: String, member: u32 },
    #[error("`{of}` has {count} subordinate ids from {start} on, which are none or not all ids")]
    SubidRange { of: String, start: u32, count: u32 },
    #[error("`{of}` and `{and}` both have the subordinate id {id}")]
    SharedSubid { of: String, and: String, id: u32 },
    #[error("`{of}` has the uid of `{and}`, {id}, among the subordinate ids")]
    SubidOfUser { of: String, and: String, id: u32 },
    #[error("the database would be larger than the format can hold")]
    TooLarge,
    #[error("no seed spreads these names: more than {PROBE_LIMIT} of them collide with each of 64 seeds")]
    Collisions,
}

/// Builds the bytes of a whole file. `generation` is a number of the caller's choice, for people and status.
///
/// # Errors
/// If two entries share a name or an id, an id is reserved, or a string cannot be told apart from what surrounds
/// it in `getent`'s or sshd's lines.
pub fn build(users: &[User], groups: &[Group], generation: u64) -> Result<Vec<u8>, BuildError> {
    let (first, second) = users.split_at(users.len() / 2);
    let check = |users: &[User]| users.iter().try_for_each(check_user);
    let (first, second) = both(users.len(), || check(first), || check(second));
    first.and(second)?;
    groups.iter().try_for_each(|group| check_group(group, users.len()))?;
    let users = in_order(users, |user| user.uid).map_err(BuildError::DuplicateUid)?;
    let groups = in_order(groups, |group| group.gid).map_err(BuildError::DuplicateGid)?;
    let homes = [users.sorted.len(), users.sorted.len(), groups.sorted.len(), groups.sorted.len()];
    let tables = Tables::new(homes)?;

    let much = users.sorted.len();
    let (members, all_names) = both(much, || Members::new(&users, &groups), || Names::of(&users.sorted));
    let (user_places, (group_places, subids_len)) = both(
        much,
        || place_users(tables.end, &users.sorted, &members),
        || (place_groups(&groups.sorted, &members, &all_names), subids_len(&users.sorted)),
    );
    let user_places = user_places?;
    let group_places = group_places?.behind(user_places.end)?;
    let (users_at, groups_at, subids_at) = (tables.end, user_places.end, group_places.end);
    let mut file = large::filled(0, PROLOGUE + subids_at + subids_len);
    let (user_records, rest) = file[PROLOGUE + users_at..].split_at_mut(groups_at - users_at);
    write_users(user_records, &users.sorted, &members, &user_places)?;
    let (group_records, subids) = rest.split_at_mut(subids_at - groups_at);
    write_groups(group_records, &groups.sorted, &members, &all_names, &group_places)?;
    write_subids(subids, &users.sorted)?;
    drop(members);

    let names = |n: usize| users.sorted.get(n).map(|user| user.name.as_str());
    let group_names = |n: usize| groups.sorted.get(n).map(|group| group.name.as_str());
    let user_names = Keys::Names((0..count(users.sorted.len())?).map(|rank| all_names.bytes(rank)).collect());
    let user_ids = Keys::Ids(users.sorted.iter().map(|user| user.uid).collect());
    let group_name_keys = Keys::Names(groups.sorted.iter().map(|group| group.name.as_bytes()).collect());
    let group_ids = Keys::Ids(groups.sorted.iter().map(|group| group.gid).collect());
    let (user_records, group_records) = (&user_places.numbers, &group_places.numbers);
    let keys = [
        (user_names, user_records),
        (user_ids, user_records),
        (group_name_keys, group_records),
        (group_ids, group_records),
    ];
    let mut seed = 0;
    for attempt in 1..=64 {
        match tables.fill(&mut file, attempt, &keys) {
            Ok(()) => {
                seed = attempt;
                break;
            }
            Err(Unplaced::Collisions) => {}
            Err(Unplaced::Same { table: 0, key }) => {
                return Err(BuildError::DuplicateUserName(names(key).unwrap_or_default().into()));
            }
            Err(Unplaced::Same { key, .. }) => {
                return Err(BuildError::DuplicateGroupName(group_names(key).unwrap_or_default().into()));
            }
        }
    }
    if seed == 0 {
        return Err(BuildError::Collisions);
    }

    let body_len = file.len() - PROLOGUE;
    let mut header = Header(&mut file);
    header.put(0, &MAGIC);
    header.put(at::MAJOR, &MAJOR.to_le_bytes());
    let minor = if subids_len == 0 { MINOR } else { MINOR_WITH_SUBIDS };
    header.put(at::MINOR, &minor.to_le_bytes());
    header.put_u64(at::LENGTH, body_len as u64);
    header.put_u64(at::GENERATION, generation);
    header.put_u64(at::SEED, seed);
    for (n, table) in tables.tables.iter().enumerate() {
        header.put_u64(at::TABLES + n * 16, table.at as u64);
        header.put_u64(at::TABLES + n * 16 + 8, u64::from(table.homes));
    }
    header.put_u64(at::USERS, users_at as u64);
    header.put_u64(at::USERS + 8, (groups_at - users_at) as u64);
    header.put_u64(at::GROUPS, groups_at as u64);
    header.put_u64(at::GROUPS + 8, (subids_at - groups_at) as u64);
    if subids_len != 0 {
        header.put_u64(at::SUBIDS, subids_at as u64);
        header.put_u64(at::SUBIDS + 8, subids_len as u64);
    }
    header.put(at::USER_COUNT, &count(users.sorted.len())?.to_le_bytes());
    header.put(at::GROUP_COUNT, &count(groups.sorted.len())?.to_le_bytes());
    let sum = checksum(&file[PROLOGUE..]);
    Header(&mut file).put_u64(at::CHECKSUM, sum);
    Ok(file)
}

fn count(n: usize) -> Result<u32, BuildError> {
    u32::try_from(n).map_err(|_| BuildError::TooLarge)
}

/// Entries in the order of their ids, and where each went.
struct InOrder<'a, T> {
    sorted: Vec<&'a T>,
    rank: Vec<u32>,
}

fn in_order<T>(entries: &[T], id: impl Fn(&T) -> u32) -> Result<InOrder<'_, T>, u32> {
    let mut order: Vec<u64> =
        entries.iter().enumerate().map(|(index, entry)| u64::from(id(entry)) << 32 | index as u64).collect();
    order.sort_unstable();
    let mut rank = vec![0; entries.len()];
    let mut sorted: Vec<&T> = Vec::with_capacity(entries.len());
    for (at, key) in order.iter().enumerate() {
        let index = *key as u32 as usize;
        let entry = &entries[index];
        if sorted.last().is_some_and(|last| id(last) == id(entry)) {
            return Err(id(entry));
        }
        sorted.push(entry);
        rank[index] = at as u32;
    }
    Ok(InOrder { sorted, rank })
}

struct Header<'a>(&'a mut [u8]);

impl Header<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[PROLOGUE + at..][..bytes.len()].copy_from_slice(bytes);
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }
}
