//! Builds the file: the same users and groups give the same bytes, in whatever order they come.
//!
//! Refuses what no reader may ever be shown. What a host allows (names, id ranges, homes) is decided before.

use std::string::String;
use std::vec;
use std::vec::Vec;

use crate::format::{
    GROUP_HEAD, HAS_VALID_UNTIL, MAGIC, MAJOR, MAX_NAME, MINOR, MINOR_WITH_SUBIDS, PASSWORD, PROBE_LIMIT,
    PROLOGUE, UNIT, USER_HEAD, at, checksum,
};

mod check;
mod index;
mod subids;

use check::{check_group, check_user};
use index::{Keys, Tables, Unplaced};
use subids::write_subids;

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
    users.iter().try_for_each(check_user)?;
    groups.iter().try_for_each(|group| check_group(group, users.len()))?;
    let users = in_order(users, |user| user.uid).map_err(BuildError::DuplicateUid)?;
    let groups = in_order(groups, |group| group.gid).map_err(BuildError::DuplicateGid)?;
    let homes = [users.sorted.len(), users.sorted.len(), groups.sorted.len(), groups.sorted.len()];
    let mut tables = Tables::new(homes)?;

    let mut file = vec![0; PROLOGUE];
    file.resize(PROLOGUE + tables.end, 0);
    let users_at = file.len();
    let members = Members::new(&users, &groups);
    let user_records = write_users(&mut file, &users.sorted, &members)?;
    let groups_at = file.len();
    let group_records = write_groups(&mut file, &users.sorted, &groups.sorted, &members)?;
    let subids_at = file.len();
    write_subids(&mut file, &users.sorted)?;
    let subids_len = file.len() - subids_at;

    let names = |n: usize| users.sorted.get(n).map(|user| user.name.as_str());
    let group_names = |n: usize| groups.sorted.get(n).map(|group| group.name.as_str());
    let user_names = Keys::Names(users.sorted.iter().map(|user| user.name.as_bytes()).collect());
    let user_ids = Keys::Ids(users.sorted.iter().map(|user| user.uid).collect());
    let group_name_keys = Keys::Names(groups.sorted.iter().map(|group| group.name.as_bytes()).collect());
    let group_ids = Keys::Ids(groups.sorted.iter().map(|group| group.gid).collect());
    let keys = [
        (user_names, &user_records),
        (user_ids, &user_records),
        (group_name_keys, &group_records),
        (group_ids, &group_records),
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
    header.put_u64(at::USERS, (users_at - PROLOGUE) as u64);
    header.put_u64(at::USERS + 8, (groups_at - users_at) as u64);
    header.put_u64(at::GROUPS, (groups_at - PROLOGUE) as u64);
    header.put_u64(at::GROUPS + 8, (subids_at - groups_at) as u64);
    if subids_len != 0 {
        header.put_u64(at::SUBIDS, (subids_at - PROLOGUE) as u64);
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

/// Who is in which group, both ways.
struct Members {
    /// Members of each group as ranks, ascending; `of_group[n]..of_group[n + 1]` are those of group n.
    ranks: Vec<u32>,
    of_group: Vec<usize>,
    /// Gids of each user, ascending, laid out the same way.
    gids: Vec<u32>,
    of_user: Vec<usize>,
}

impl Members {
    fn new(users: &InOrder<'_, User>, groups: &InOrder<'_, Group>) -> Self {
        let mut ranks = Vec::with_capacity(groups.sorted.iter().map(|group| group.members.len()).sum());
        let mut of_group = vec![0];
        let mut of_user = vec![0; users.sorted.len() + 1];
        let mut one = Vec::new();
        for group in &groups.sorted {
            one.clear();
            one.extend(group.members.iter().map(|member| users.rank[*member as usize]));
            one.sort_unstable();
            one.dedup();
            for rank in &one {
                of_user[*rank as usize + 1] += 1;
            }
            ranks.extend_from_slice(&one);
            of_group.push(ranks.len());
        }
        for n in 1..of_user.len() {
            of_user[n] += of_user[n - 1];
        }
        let mut gids = vec![0; ranks.len()];
        let mut next = of_user.clone();
        for (n, group) in groups.sorted.iter().enumerate() {
            for rank in &ranks[of_group[n]..of_group[n + 1]] {
                let next = &mut next[*rank as usize];
                gids[*next] = group.gid;
                *next += 1;
            }
        }
        Self { ranks, of_group, gids, of_user }
    }
}

fn write_users(file: &mut Vec<u8>, users: &[&User], members: &Members) -> Result<Vec<u32>, BuildError> {
    let mut records = Vec::with_capacity(users.len());
    let mut gids = Vec::new();
    let mut tail = Vec::new();
    for (n, user) in users.iter().enumerate() {
        records.push(record_number(file)?);
        gids.clear();
        gids.extend_from_slice(&members.gids[members.of_user[n]..members.of_user[n + 1]]);
        if !user.local_gids.is_empty() {
            gids.extend_from_slice(&user.local_gids);
            gids.sort_unstable();
            gids.dedup();
        }
        tail.clear();
        if user.valid_until != 0 {
            tail.extend_from_slice(&user.valid_until.to_le_bytes());
        }
        for principal in &user.principals {
            tail.extend_from_slice(&(principal.len() as u16).to_le_bytes());
            tail.extend_from_slice(principal.as_bytes());
        }
        let mut head = [0; USER_HEAD];
        head[0..4].copy_from_slice(&user.uid.to_le_bytes());
        head[4..8].copy_from_slice(&user.gid.to_le_bytes());
        head[8..12].copy_from_slice(&count(gids.len())?.to_le_bytes());
        head[12..16].copy_from_slice(&count(tail.len())?.to_le_bytes());
        head[16..18].copy_from_slice(&(user.gecos.len() as u16).to_le_bytes());
        head[18..20].copy_from_slice(&(user.home.len() as u16).to_le_bytes());
        head[20..22].copy_from_slice(&(user.shell.len() as u16).to_le_bytes());
        head[22] = user.name.len() as u8;
        head[23] = if user.valid_until == 0 { 0 } else { HAS_VALID_UNTIL };
        file.extend_from_slice(&head);
        file.extend_from_slice(user.name.as_bytes());
        file.extend_from_slice(&[0, PASSWORD, 0]);
        for text in [&user.gecos, &user.home, &user.shell] {
            file.extend_from_slice(text.as_bytes());
            file.push(0);
        }
        pad(file, 4);
        gids.iter().for_each(|gid| file.extend_from_slice(&gid.to_le_bytes()));
        file.extend_from_slice(&tail);
        pad(file, UNIT);
    }
    Ok(records)
}

fn write_groups(
    file: &mut Vec<u8>,
    users: &[&User],
    groups: &[&Group],
    members: &Members,
) -> Result<Vec<u32>, BuildError> {
    // Side by side, so that a large group does not chase a pointer for each member.
    let mut names: Vec<u8> = Vec::with_capacity(users.len() * 16);
    let mut starts = Vec::with_capacity(users.len() + 1);
    starts.push(0);
    for user in users {
        names.extend_from_slice(user.name.as_bytes());
        names.push(0);
        starts.push(names.len());
    }
    let mut records = Vec::with_capacity(groups.len());
    for (n, group) in groups.iter().enumerate() {
        let start = file.len();
        records.push(record_number(file)?);
        let ranks = &members.ranks[members.of_group[n]..members.of_group[n + 1]];
        file.extend_from_slice(&[0; GROUP_HEAD]);
        file.extend_from_slice(group.name.as_bytes());
        file.extend_from_slice(&[0, PASSWORD, 0]);
        let names_at = file.len();
        for rank in ranks {
            let rank = *rank as usize;
            file.extend_from_slice(&names[starts[rank]..starts[rank + 1]]);
        }
        let names_len = count(file.len() - names_at)?;
        file.extend(ranks.iter().map(|rank| users[*rank as usize].name.len() as u8));
        pad(file, UNIT);
        let head = &mut file[start..start + GROUP_HEAD];
        head[0..4].copy_from_slice(&group.gid.to_le_bytes());
        head[4..8].copy_from_slice(&count(ranks.len())?.to_le_bytes());
        head[8..12].copy_from_slice(&names_len.to_le_bytes());
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

struct Header<'a>(&'a mut [u8]);

impl Header<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[PROLOGUE + at..][..bytes.len()].copy_from_slice(bytes);
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }
}
