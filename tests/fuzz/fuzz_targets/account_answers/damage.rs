//! What is done to a whole database, as the input says.

use hostward_accounts::PROLOGUE;

/// The rest of the input; zeros where it has ended.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }
}

const HEADER: usize = 192;
const EDGES: [u64; 10] = [0, 1, 7, 8, 33, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX];

/// Damages one place.
pub(crate) fn hit(file: &mut Vec<u8>, input: &mut Input<'_>) {
    let kind = input.byte();
    let place = input.number();
    let value = input.byte();
    let Some(len) = file.len().checked_sub(PROLOGUE + 8).filter(|len| *len > 0) else { return };
    let anywhere = PROLOGUE + place % len;
    // Most of what a reader checks lies at a multiple of 4, in the header, or is a count that is small.
    let aligned = anywhere & !3;
    let in_header = PROLOGUE + (place % HEADER.min(len) & !7);
    let edge = EDGES[usize::from(value) % EDGES.len()];
    let small = (value as i8 as i64) as u64;
    match kind % 10 {
        0 => file[anywhere] = value,
        1 => file[anywhere] ^= 1 << (value % 8),
        2 => put(file, aligned, &(edge as u32).to_le_bytes()),
        3 => add(file, aligned, small as u32),
        4 => put(file, in_header, &edge.to_le_bytes()),
        5 => {
            let old = u64::from_le_bytes(file[in_header..in_header + 8].try_into().expect("eight"));
            put(file, in_header, &old.wrapping_add(small).to_le_bytes());
        }
        // One slot, record or string in the place of another.
        6 => {
            let from = (PROLOGUE + input.number() % len) & !7;
            let piece = file[from..(from + 8 * (1 + usize::from(value) % 8)).min(file.len())].to_vec();
            put(file, anywhere & !7, &piece);
        }
        7 => {
            let end = (anywhere + usize::from(value)).min(file.len());
            file[anywhere..end].fill(0);
        }
        // Cut or grown, sometimes with a header that knows it.
        8 => {
            file.truncate(anywhere);
            if value % 2 == 0 {
                lengthen(file);
            }
        }
        _ => {
            file.extend(std::iter::repeat_n(value, place % 64));
            if value % 2 == 0 {
                lengthen(file);
            }
        }
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in file.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

fn add(file: &mut [u8], at: usize, value: u32) {
    let old = u32::from_le_bytes(file[at..at + 4].try_into().expect("four"));
    put(file, at, &old.wrapping_add(value).to_le_bytes());
}

fn lengthen(file: &mut [u8]) {
    let len = file.len().saturating_sub(PROLOGUE) as u64;
    put(file, PROLOGUE + 16, &len.to_le_bytes());
}
