//! The checksum of a body, from `docs/account-database.md`.

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;
const K2: u64 = 0xa076_1d64_78bd_642f;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

pub(crate) fn checksum(body: &[u8]) -> u64 {
    let mut s = K0;
    for index in 0..=body.len() / 16 {
        let block = &body[index * 16..(index * 16 + 16).min(body.len())];
        let mut padded = [0; 16];
        padded[..block.len()].copy_from_slice(block);
        let both = u128::from_le_bytes(padded);
        let (low, high) = (both as u64, if index == 2 { 0 } else { (both >> 64) as u64 });
        s = fold(low ^ s ^ K1, high ^ K2).wrapping_add(low ^ high.rotate_left(32)) ^ s.rotate_left(29);
    }
    fold(s ^ body.len() as u64, K0)
}
