//! The numbers of format version 1, and its two hash functions. `docs/account-database.md` says it in words.

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

/// A name, as four little-endian words padded with zeros: one reading of it serves both the hash and the comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    words: [u64; 4],
    len: usize,
}

impl Name {
    /// `None` for what is no name: nothing, or more than [`MAX_NAME`] bytes.
    #[inline(always)]
    pub(crate) fn new(name: &[u8]) -> Option<Self> {
        let len = name.len();
        let whole = |n: usize| u64_at(name, n);
        let words = match len {
            1..=8 => [short(name), 0, 0, 0],
            9..=16 => [whole(0)?, rest(name, 8), 0, 0],
            17..=24 => [whole(0)?, whole(8)?, rest(name, 16), 0],
            25..=MAX_NAME => [whole(0)?, whole(8)?, whole(16)?, rest(name, 24)],
            _ => return None,
        };
        Some(Self { words, len })
    }

    /// The tag: slots are sorted by it, and it names the home slot.
    #[inline(always)]
    pub(crate) fn tag(&self, seed: u64) -> u32 {
        let [w0, w1, w2, w3] = self.words;
        let mut hash = fold(w0 ^ seed ^ K0, w1 ^ K1 ^ self.len as u64);
        if self.len > 16 {
            hash = fold(w2 ^ hash ^ K0, w3 ^ K2);
        }
        (fold(hash ^ K2, K0) >> 32) as u32
    }

    /// How many bytes it has.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether `text`, which goes on behind what is compared, starts with this name.
    #[inline(always)]
    pub(crate) fn starts(&self, text: &[u8]) -> bool {
        let Some(text) = text.first_chunk::<MAX_NAME>() else {
            return Self::new(text.get(..self.len).unwrap_or_default())
                .is_some_and(|found| found.words == self.words && found.len == self.len);
        };
        let differs = |word: usize| {
            let bits = 8 * (self.len.saturating_sub(8 * word)).min(8) as u32;
            let ours = u64::MAX.checked_shr(64 - bits).unwrap_or_default();
            let theirs = u64_at(text, 8 * word).unwrap_or_default();
            self.words.get(word).map_or(u64::MAX, |word| (word ^ theirs) & ours)
        };
        if differs(0) | differs(1) != 0 {
            return false;
        }
        self.len <= 16 || differs(2) | differs(3) == 0
    }
}

/// The last bytes of `name`, from `at` on, of at least nine. Read together with some before them.
#[inline(always)]
fn rest(name: &[u8], at: usize) -> u64 {
    let bits = 8 * (name.len().wrapping_sub(at) & 7) as u32;
    let last = name.last_chunk::<8>().map_or(0, |last| u64::from_le_bytes(*last));
    // No bits: eight bytes.
    last >> (64_u32.wrapping_sub(bits) & 63)
}

/// All of one to eight bytes, with one or two loads that may overlap.
#[inline(always)]
fn short(name: &[u8]) -> u64 {
    let shift = 8 * (name.len() & 7) as u32;
    if let Some(whole) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*whole);
    }
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let high = u64::from(u32::from_le_bytes(*last)) << (shift.wrapping_sub(32) & 63);
        return high | u64::from(u32::from_le_bytes(*first));
    }
    name.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
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

/// Whether nobody may have this uid or gid: root's, and the one that means "none" or "leave as it is".
#[must_use]
#[inline(always)]
pub fn is_reserved(id: u32) -> bool {
    id.wrapping_add(1) <= 1
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
            let words = Name::new(&name).map(|name| name.words);
            assert_eq!(words.as_ref().map(<[u64; 4]>::as_slice), (len > 0).then_some(expected.as_slice()));
        }
    }

    #[test]
    fn a_name_is_compared_byte_by_byte() {
        let long: Vec<u8> = (1..=64).collect();
        for len in 1..=MAX_NAME {
            let name = Name::new(&long[..len]).expect("a name");
            for text in [&long[..len], &long[..MAX_NAME], &long] {
                assert_eq!(name.starts(text), text.len() >= len, "{len} in {}", text.len());
                for at in 0..text.len() {
                    let mut other = text.to_vec();
                    other[at] ^= 0x80;
                    assert_eq!(name.starts(&other), at >= len, "{len} in {}, byte {at}", text.len());
                }
            }
            assert!(!name.starts(&long[..len - 1]));
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
