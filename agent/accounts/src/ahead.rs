//! Has memory fetched that is going to be read: what a record's head says about where its parts are comes too late for that.

#![allow(unsafe_code)]

/// What a processor fetches in one go.
const LINE: usize = 64;

/// Fetches so many lines of `bytes` behind the first one, which whoever asks reads at once.
#[inline(always)]
pub(crate) fn fetch(bytes: &[u8], lines: usize) {
    for line in 1..=lines {
        fetch_line(bytes.as_ptr().wrapping_add(line.wrapping_mul(LINE)));
    }
}

/// Fetches the line in which `at` is.
#[inline(always)]
pub(crate) fn fetch_line<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads nothing as far as the program is concerned, and does not fault, wherever the pointer leads.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
