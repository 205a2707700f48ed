//! Writes the table that `c/limit.c` reads: the least that a lookup has to go through.
//!
//! Every string's place is written down, every index is at most half full, and nothing is there to be checked.

use hostward_accounts::{Group, User};

use crate::people::People;

const INDEXES: usize = 4;
const HEAD: usize = INDEXES * 16 + 32;
const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;

/// The bytes of the table.
pub fn write(people: &People) -> Vec<u8> {
    let mut gids = vec![Vec::new(); people.users.len()];
    for group in &people.groups {
        group.members.iter().for_each(|member| gids[*member as usize].push(group.gid));
    }
    let mut table = vec![0; HEAD];
    let users: Vec<u32> =
        people.users.iter().zip(&gids).map(|(user, gids)| put_user(&mut table, user, gids)).collect();
    let groups_at = table.len();
    let groups: Vec<u32> =
        people.groups.iter().map(|group| put_group(&mut table, group, &people.users)).collect();
    let groups_end = table.len();

    let name_hashes = people.users.iter().map(|user| hash_name(user.name.as_bytes()));
    let group_hashes = people.groups.iter().map(|group| hash_name(group.name.as_bytes()));
    let keys: [(Vec<u64>, &Vec<u32>); INDEXES] = [
        (name_hashes.collect(), &users),
        (people.users.iter().map(|user| hash_id(user.uid)).collect(), &users),
        (group_hashes.collect(), &groups),
        (people.groups.iter().map(|group| hash_id(group.gid)).collect(), &groups),
    ];
    let mut head = Vec::new();
    for (hashes, records) in keys {
        let (at, mask) = put_index(&mut table, &hashes, records);
        head.extend([at, mask]);
    }
    head.extend([HEAD as u64, groups_at as u64, groups_at as u64, groups_end as u64]);
    let head: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    table[..HEAD].copy_from_slice(&head);
    table
}

fn put_user(table: &mut Vec<u8>, user: &User, gids: &[u32]) -> u32 {
    let record = number(table);
    let strings = [user.name.as_str(), "*", &user.gecos, &user.home, &user.shell];
    let mut ends = Vec::new();
    for string in strings {
        ends.push(ends.last().unwrap_or(&0) + string.len() + 1);
    }
    put(table, &[user.uid, user.gid, gids.len() as u32, ends[4] as u32]);
    ends[..4].iter().for_each(|at| table.extend((*at as u16).to_le_bytes()));
    put(table, gids);
    strings.iter().for_each(|string| put_string(table, string));
    pad(table);
    record
}

fn put_group(table: &mut Vec<u8>, group: &Group, users: &[User]) -> u32 {
    let record = number(table);
    let names: Vec<&str> = group.members.iter().map(|member| users[*member as usize].name.as_str()).collect();
    let password = group.name.len() + 1;
    let mut at = password + 2;
    let mut offsets = Vec::with_capacity(names.len());
    for name in &names {
        offsets.push(at as u32);
        at += name.len() + 1;
    }
    put(table, &[group.gid, names.len() as u32, at as u32, password as u32]);
    put(table, &offsets);
    put_string(table, &group.name);
    put_string(table, "*");
    names.iter().for_each(|name| put_string(table, name));
    pad(table);
    record
}

fn put_index(table: &mut Vec<u8>, hashes: &[u64], records: &[u32]) -> (u64, u64) {
    let slots = (hashes.len().max(1) * 2).next_power_of_two();
    let (at, mask) = (table.len(), slots - 1);
    let mut index = vec![[0_u32; 2]; slots];
    for (hash, record) in hashes.iter().zip(records) {
        let mut slot = *hash as usize & mask;
        while index[slot][1] != 0 {
            slot = (slot + 1) & mask;
        }
        index[slot] = [(hash >> 32) as u32, *record];
    }
    index.iter().for_each(|slot| put(table, slot));
    (at as u64, mask as u64)
}

fn number(table: &[u8]) -> u32 {
    u32::try_from(table.len() / 8).expect("fits into 32 GiB")
}

fn put(table: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| table.extend(word.to_le_bytes()));
}

fn put_string(table: &mut Vec<u8>, string: &str) {
    table.extend(string.bytes());
    table.push(0);
}

fn pad(table: &mut Vec<u8>) {
    table.resize(table.len().next_multiple_of(8), 0);
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn hash_name(name: &[u8]) -> u64 {
    let (mut rest, mut hash) = (name, name.len() as u64);
    while rest.len() > 16 {
        hash = fold(hash ^ word(rest), K0);
        rest = &rest[8..];
    }
    let len = rest.len();
    let (a, b) = match len {
        0 => (0, 0),
        1..4 => (u64::from(rest[0]), u64::from(rest[len / 2]) | u64::from(rest[len - 1]) << 8),
        4..8 => (word(&rest[..4]), word(&rest[len - 4..])),
        _ => (word(rest), word(&rest[len - 8..])),
    };
    fold(hash ^ a ^ K0, b ^ K1)
}

fn hash_id(id: u32) -> u64 {
    fold(u64::from(id) ^ K0, K1)
}
