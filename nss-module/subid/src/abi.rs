//! The functions that shadow calls (`struct subid_nss_ops` of its prototypes.h, libsubid's subid.h), the same in 4.9 to 4.19.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use core::mem::size_of;
use core::ops::ControlFlow;
use core::ptr;

use crate::answer::{Kind, Owner, Range, Unknown, owners};

/// `enum subid_status`
const SUCCESS: c_int = 0;
const ERROR: c_int = 3;

/// `struct subid_range`
#[repr(C)]
pub struct SubidRange {
    /// The first id.
    start: c_ulong,
    /// How many there are.
    count: c_ulong,
}

/// `enum subid_type`
fn kind(id_type: c_uint) -> Option<Kind> {
    match id_type {
        1 => Some(Kind::Uid),
        2 => Some(Kind::Gid),
        _ => None,
    }
}

/// An array from malloc that grows, freed when dropped unless it was given away.
struct Array<T> {
    start: *mut T,
    len: usize,
}

impl<T> Array<T> {
    fn new() -> Self {
        Array { start: ptr::null_mut(), len: 0 }
    }

    fn push(&mut self, item: T) -> Result<(), Unknown> {
        let len = self.len.checked_add(1).filter(|len| c_int::try_from(*len).is_ok()).ok_or(Unknown)?;
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Unknown)?;
        // SAFETY: `start` is null or came from realloc, and is replaced at once.
        let grown: *mut T = unsafe { libc::realloc(self.start.cast(), bytes) }.cast();
        if grown.is_null() {
            return Err(Unknown);
        }
        self.start = grown;
        // SAFETY: there is room for `len` items, of which the last one is written.
        unsafe { grown.add(self.len).write(item) };
        self.len = len;
        Ok(())
    }

    /// Gives the array and its length to the caller.
    ///
    /// # Safety
    /// Both places are writable.
    unsafe fn give(mut self, array: *mut *mut T, count: *mut c_int) {
        // SAFETY: the caller's promise; the length fits (`push`).
        unsafe {
            array.write(self.start);
            count.write(self.len as c_int);
        }
        self.start = ptr::null_mut();
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        // SAFETY: null, or from realloc and nobody else's.
        unsafe { libc::free(self.start.cast()) };
    }
}

/// # Safety
/// `owner` is null or a C string that outlives the result.
unsafe fn name<'a>(owner: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!owner.is_null()).then(|| unsafe { CStr::from_ptr(owner) }.to_bytes())
}

/// Whether somebody has all of these ids.
///
/// # Safety
/// As shadow calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadow_subid_has_range(
    owner: *const c_char,
    start: c_ulong,
    count: c_ulong,
    id_type: c_uint,
    result: *mut bool,
) -> c_int {
    // SAFETY: shadow passes a place for the result.
    unsafe { result.write(false) };
    // SAFETY: shadow passes a C string.
    let Some((name, kind)) = unsafe { name(owner) }.zip(kind(id_type)) else { return ERROR };
    match Owner::of(name).covers(kind, Range { start, count }) {
        Ok(has) => {
            // SAFETY: as above.
            unsafe { result.write(has) };
            SUCCESS
        }
        Err(Unknown) => ERROR,
    }
}

/// The ranges of somebody, as an array for the caller to free.
///
/// # Safety
/// As shadow calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadow_subid_list_owner_ranges(
    owner: *const c_char,
    id_type: c_uint,
    ranges: *mut *mut SubidRange,
    count: *mut c_int,
) -> c_int {
    // SAFETY: shadow passes places for the array and its length.
    unsafe {
        ranges.write(ptr::null_mut());
        count.write(0);
    }
    // SAFETY: shadow passes a C string.
    let Some((name, kind)) = unsafe { name(owner) }.zip(kind(id_type)) else { return ERROR };
    let mut array = Array::new();
    let mut full = Ok(());
    let asked = Owner::of(name).ranges(kind, |range| {
        full = array.push(SubidRange { start: range.start, count: range.count });
        if full.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if asked.is_err() || full.is_err() {
        return ERROR;
    }
    // SAFETY: as above.
    unsafe { array.give(ranges, count) };
    SUCCESS
}

/// The uids of whoever has this id, as an array for the caller to free.
///
/// # Safety
/// As shadow calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadow_subid_find_subid_owners(
    id: c_ulong,
    id_type: c_uint,
    uids: *mut *mut libc::uid_t,
    count: *mut c_int,
) -> c_int {
    // SAFETY: shadow passes places for the array and its length.
    unsafe {
        uids.write(ptr::null_mut());
        count.write(0);
    }
    let Some(kind) = kind(id_type) else { return ERROR };
    let mut array = Array::new();
    let mut full = Ok(());
    let asked = owners(kind, id, |uid| {
        full = array.push(uid);
        if full.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if asked.is_err() || full.is_err() {
        return ERROR;
    }
    // SAFETY: as above.
    unsafe { array.give(uids, count) };
    SUCCESS
}

/// Frees an array that one of the others gave. shadow before 4.17 frees them itself.
///
/// # Safety
/// `array` is null or such an array, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shadow_subid_free(array: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { libc::free(array) };
}
