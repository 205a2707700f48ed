//! glibc's own functions, which ask the module.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use crate::calls::{Group, Passwd, Shadow, group, passwd, shadow};

/// What a reentrant function of glibc returns, and the entry. The buffer starts with one byte and is doubled as long as
/// ERANGE says so.
fn glibc<C, T>(
    call: impl Fn(*mut C, *mut c_char, usize, *mut *mut C) -> c_int,
    read: impl FnOnce(&C, &[u8]) -> T,
) -> (c_int, Option<T>) {
    let mut buffer = vec![0_u8; 1];
    loop {
        let (mut entry, mut found) = (MaybeUninit::<C>::uninit(), null_mut());
        let code = call(entry.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut found);
        if code == libc::ERANGE {
            buffer = vec![0; buffer.len() * 2];
            assert!(buffer.len() < 1 << 24, "a larger buffer was to be enough");
            continue;
        }
        // SAFETY: glibc says that it filled it.
        let entry = (!found.is_null()).then(|| read(unsafe { entry.assume_init_ref() }, &buffer));
        return (code, entry);
    }
}

/// glibc's `getpwnam_r`: what it returns, and the entry.
pub fn getpwnam(name: &str) -> (c_int, Option<Passwd>) {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: a C string, and what `glibc` passes.
    glibc(|e, b, l, f| unsafe { libc::getpwnam_r(name.as_ptr(), e, b, l, f) }, passwd)
}

/// glibc's `getpwuid_r`.
pub fn getpwuid(uid: u32) -> (c_int, Option<Passwd>) {
    // SAFETY: what `glibc` passes.
    glibc(|e, b, l, f| unsafe { libc::getpwuid_r(uid, e, b, l, f) }, passwd)
}

/// glibc's `getgrnam_r`.
pub fn getgrnam(name: &str) -> (c_int, Option<Group>) {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: a C string, and what `glibc` passes.
    glibc(|e, b, l, f| unsafe { libc::getgrnam_r(name.as_ptr(), e, b, l, f) }, group)
}

/// glibc's `getgrgid_r`.
pub fn getgrgid(gid: u32) -> (c_int, Option<Group>) {
    // SAFETY: what `glibc` passes.
    glibc(|e, b, l, f| unsafe { libc::getgrgid_r(gid, e, b, l, f) }, group)
}

/// glibc's `getspnam_r`.
pub fn getspnam(name: &str) -> (c_int, Option<Shadow>) {
    unsafe extern "C" {
        fn getspnam_r(
            name: *const c_char,
            entry: *mut libc::spwd,
            buffer: *mut c_char,
            len: usize,
            found: *mut *mut libc::spwd,
        ) -> c_int;
    }
    let name = CString::new(name).expect("no NUL");
    // SAFETY: a C string, and what `glibc` passes.
    glibc(|e, b, l, f| unsafe { getspnam_r(name.as_ptr(), e, b, l, f) }, shadow)
}

/// glibc's enumeration of passwd.
pub fn all_users() -> Vec<Passwd> {
    rewind_users();
    std::iter::from_fn(next_user).collect()
}

/// glibc's `setpwent`.
pub fn rewind_users() {
    // SAFETY: no arguments.
    unsafe { libc::setpwent() };
}

/// glibc's `getpwent_r`.
pub fn next_user() -> Option<Passwd> {
    // SAFETY: what `glibc` passes.
    glibc(|e, b, l, f| unsafe { libc::getpwent_r(e, b, l, f) }, passwd).1
}

/// glibc's enumeration of group.
pub fn all_groups() -> Vec<Group> {
    // SAFETY: no arguments.
    unsafe { libc::setgrent() };
    // SAFETY: what `glibc` passes.
    let next = || glibc(|e, b, l, f| unsafe { libc::getgrent_r(e, b, l, f) }, group).1;
    std::iter::from_fn(next).collect()
}

/// glibc's enumeration of shadow.
pub fn all_shadows() -> Vec<Shadow> {
    unsafe extern "C" {
        fn setspent();
        fn getspent_r(
            entry: *mut libc::spwd,
            buffer: *mut c_char,
            len: usize,
            found: *mut *mut libc::spwd,
        ) -> c_int;
    }
    // SAFETY: no arguments.
    unsafe { setspent() };
    // SAFETY: what `glibc` passes.
    let next = || glibc(|e, b, l, f| unsafe { getspent_r(e, b, l, f) }, shadow).1;
    std::iter::from_fn(next).collect()
}

/// glibc's `getgrouplist`.
pub fn getgrouplist(name: &str, primary: u32) -> Vec<u32> {
    let name = CString::new(name).expect("no NUL");
    let (mut gids, mut count) = (vec![0; 1], 1);
    loop {
        // SAFETY: a C string and room for `count` gids.
        let found = unsafe { libc::getgrouplist(name.as_ptr(), primary, gids.as_mut_ptr(), &raw mut count) };
        match usize::try_from(found) {
            Ok(found) => {
                gids.truncate(found);
                return gids;
            }
            // Now it says how many there are.
            Err(_) => gids.resize(usize::try_from(count).expect("a number"), 0),
        }
    }
}
