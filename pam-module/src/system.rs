//! What is asked of libc: whom the name services know.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

/// Room for an entry of the password database.
const ENTRY: usize = 16 << 10;

/// The uid that a login name has now, whichever service knows it. Asked only of somebody whom hostward knew once.
pub(crate) fn uid_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut buffer: Vec<c_char> = vec![0; ENTRY];
    let mut found = std::ptr::null_mut();
    // SAFETY: a C string; entry and buffer are writable, the latter over the length given.
    let status = unsafe {
        libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), ENTRY, &raw mut found)
    };
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: `found` is the entry, which the call has filled.
    Some(unsafe { (*found).pw_uid })
}
