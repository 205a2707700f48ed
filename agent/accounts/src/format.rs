//! The numbers of format version 1, and its two hash functions. `docs/account-database.md` says it in words.

#[cfg(any(feature = "std", test))]
use crate::read::u64_at;

/// Bytes before the body: the superseded flag (a little-endian `u32`) and zeros. The only bytes of the file
/// that ever change, so readers keep them out of the slice they read everything else through.
pub const PROLOGUE: usize = 64;

/// The longest user or group name, in bytes.
pub const MAX_NAME: usize = 32;

pub(crate) const MAGIC: [u8; 8] = *b"\x89HWDB\r\n\x1a";
pub(crate) const MAJOR: u16 = 1;
#[cfg(feature = "std")]
pub(crate) const MINOR: u16 = 0;
/// The minor version of a file that holds subordinate ids.
#[cfg(feature = "std")]
pub(crate) const MINOR_WITH_SUBIDS: u16 = 1;

/// Header fields, from the start of the body.
pub(crate) mod at {
    pub(crate) const MAJOR: usize = 8;
    #[cfg(feature = "std")]
    pub(crate) const MINOR: usize = 10;
    pub(crate) const LENGTH: usize = 16;
    pub(crate) const GENERATION: usize = 24;
    pub(crate) const SEED: usize = 32;
    #[cfg(feature = "std")]
    pub(crate) const CHECKSUM: usize = 40;
    pub(crate) const TABLES: usize = 48;
    pub(crate) const USERS: usize = 112;
    pub(crate) const GROUPS: usize = 128;
    pub(crate) const USER_COUNT: usize = 144;
    pub(crate) const GROUP_COUNT: usize = 148;
    pub(crate) const SUBIDS: usize = 152;
}

/// Length of the header, and offset of the first section.
pub(crate) const HEADER: usize = 192;

/// Offsets of records are stored in units of this many bytes; sections start at a multiple of it.
pub(crate) const UNIT: usize = 8;
pub(crate) const SLOT: usize = 8;

/// No key lies this many slots or more behind its home slot. Each table ends in as many slots beyond the homes.
pub(crate) const PROBE_LIMIT: u32 = 64;

/// A slot without a record. Not zero, so that a hole in the file reads as damage and not as "no such entry".
pub(crate) const EMPTY: u64 = u64::MAX;

/// Fixed part of a user record, before its strings.
pub(crate) const USER_HEAD: usize = 24;
/// Fixed part of a group record, before its strings.
pub(crate) const GROUP_HEAD: usize = 16;
/// A range of subordinate ids: uid, first id, how many, and the place of the entry that is as far along in the order of ids.
pub(crate) const SUBID_ENTRY: usize = 16;
/// What every passwd and group entry has for a password: one that nothing hashes to.
pub(crate) const PASSWORD: u8 = b'*';
/// Flag of a user record: its tail starts with a "valid until".
pub(crate) const HAS_VALID_UNTIL: u8 = 1;

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;
const K2: u64 = 0xa076_1d64_78bd_642f;

/// The part of the file that never changes; `None` if the file is too short to have one.
///
/// `file` must not be a mapping that somebody may write to: of those, pass the body only.
pub fn body(file: &[u8]) -> Option<&[u8]> {
    file.get(PROLOGUE..)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product as u64) ^ ((product >> 64) as u64)
}

/// A name of at most [`MAX_NAME`] bytes, as four little-endian words padded with zeros.
fn words(name: &[u8]) -> [u64; 4] {
    let mut words = [0; 4];
    let (whole, rest) = name.as_chunks::<8>();
    for (word, chunk) in words.iter_mut().zip(whole) {
        *word = u64::from_le_bytes(*chunk);
    }
    if let Some(word) = words.get_mut(whole.len()) {
        *word = last_word(name, rest);
    }
    words
}

/// The bytes `rest` at the end of `name`, read with one or two overlapping loads.
fn last_word(name: &[u8], rest: &[u8]) -> u64 {
    let bits = 8 * (rest.len() as u32 & 7);
    if bits == 0 {
        return 0;
    }
    if let Some(last) = name.last_chunk::<8>() {
        return u64::from_le_bytes(*last) >> (64 - bits);
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let high = u64::from(u32::from_le_bytes(*last)) << (bits - 32);
        return high | u64::from(u32::from_le_bytes(*first));
    }
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The tag of a name: slots are sorted by it, and it names the home slot.
pub(crate) fn name_tag(seed: u64, name: &[u8]) -> u32 {
    let [w0, w1, w2, w3] = words(name);
    let mut hash = fold(w0 ^ seed ^ K0, w1 ^ K1 ^ name.len() as u64);
    if name.len() > 16 {
        hash = fold(w2 ^ hash ^ K0, w3 ^ K2);
    }
    (fold(hash ^ K2, K0) >> 32) as u32
}

/// The tag of a uid or gid. A bijection, so that the tag alone identifies the id.
pub(crate) fn id_tag(seed: u64, id: u32) -> u32 {
    let mut tag = id ^ seed as u32;
    tag = (tag ^ (tag >> 16)).wrapping_mul(0x85eb_ca6b);
    tag = (tag ^ (tag >> 13)).wrapping_mul(0xc2b2_ae35);
    tag ^ (tag >> 16)
}

/// The slot at which the search for `tag` starts, in a table of `homes` home slots.
pub(crate) fn home(tag: u32, homes: u32) -> u32 {
    ((u64::from(tag) * u64::from(homes)) >> 32) as u32
}

/// The checksum of a body whose own checksum field counts as zero. Finds damage, not intent.
#[cfg(feature = "std")]
pub(crate) fn checksum(body: &[u8]) -> u64 {
    let (blocks, rest) = body.as_chunks::<16>();
    let mut last = [0; 16];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let mut sum = K0;
    for (index, block) in blocks.iter().chain([&last]).enumerate() {
        let low = u64_at(block, 0).unwrap_or_default();
        let mut high = u64_at(block, 8).unwrap_or_default();
        if index == at::CHECKSUM / 16 {
            high = 0;
        }
        sum = fold(low ^ sum ^ K1, high ^ K2).wrapping_add(low ^ high.rotate_left(32)) ^ sum.rotate_left(29);
    }
    fold(sum ^ body.len() as u64, K0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn words_are_the_bytes_padded_with_zeros() {
        for len in 0..=MAX_NAME {
            let name: Vec<u8> = (1..=len as u8).collect();
            let mut padded = [0; MAX_NAME];
            padded[..len].copy_from_slice(&name);
            let expected: Vec<u64> = (0..4).filter_map(|n| u64_at(&padded, n * 8)).collect();
            assert_eq!(words(&name).as_slice(), expected, "length {len}");
        }
    }

    #[test]
    fn different_ids_have_different_tags() {
        let mut tags: Vec<u32> = (0..100_000).map(|id| id_tag(7, id)).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), 100_000);
    }

    #[test]
    fn the_last_home_is_within_the_table() {
        assert_eq!(home(u32::MAX, 3), 2);
        assert_eq!(home(0, 3), 0);
    }
}
