//! Memory that is filled once, in large pages where the kernel has some: among a million users most of the time would
//! otherwise go to faults and to finding pages.

#![allow(unsafe_code)]

use std::vec;
use std::vec::Vec;

/// Less than this is not worth asking.
const WORTH_IT: usize = 8 << 20;
const PAGE: usize = 4096;

/// Room for so many.
pub(super) fn with_room<T>(count: usize) -> Vec<T> {
    let empty = Vec::with_capacity(count);
    advise(empty.as_ptr(), empty.capacity());
    empty
}

/// So many of these. Where they are zeros, nobody has touched the memory yet.
pub(super) fn filled<T: Clone>(with: T, count: usize) -> Vec<T> {
    let filled = vec![with; count];
    advise(filled.as_ptr(), count);
    filled
}

/// All of them, in room of their own.
pub(super) fn collect<T>(from: impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let mut all = with_room(from.len());
    all.extend(from);
    all
}

fn advise<T>(memory: *const T, count: usize) {
    let len = count.saturating_mul(size_of::<T>());
    if len < WORTH_IT {
        return;
    }
    let skip = memory.addr().wrapping_neg() % PAGE;
    let pages = memory.cast::<u8>().wrapping_add(skip).cast_mut().cast();
    // Where the kernel knows no large pages it says so, and small ones do.
    // SAFETY: the advice changes neither what is in the memory nor who may use it, whosever it is.
    let _advised = unsafe { libc::madvise(pages, len - skip, libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_and_little_is_what_it_would_be_anyway() {
        for count in [0, 3, WORTH_IT / 4 + 1] {
            assert_eq!(
                collect(0..count as u32).iter().map(|n| *n as usize).sum::<usize>(),
                count * count.saturating_sub(1) / 2
            );
            assert_eq!(filled(0_u8, count * 4), vec![0; count * 4]);
            assert!(with_room::<u64>(count).capacity() >= count);
        }
    }
}
