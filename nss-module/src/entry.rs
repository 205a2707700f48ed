//! The functions that glibc calls, and all that touches memory of the caller's.
//!
//! Their signatures and their rules are those of nss/nss.h and of the "NSS Modules Interface" chapter of glibc's manual.
//! Everything answered lies in the caller's buffer. `errno` changes only together with the status.

#![allow(unsafe_code)]

use core::ffi::{c_char, c_int, c_long};
use core::mem::size_of;
use core::{ptr, slice};

use hostward_accounts::{GroupRecord, Lookup, MAX_NAME, UserRecord, is_reserved};
use libc::{gid_t, group, passwd, spwd, uid_t};

use crate::cursor::Entries;
use crate::kept::{HELD, Mapped, One, by_the_long_way};
use crate::status::Outcome;

/// Nobody reads the mapping of this place any more, and there will be another.
pub(crate) fn forget(place: u32) {
    [&HELD.passwd, &HELD.group, &HELD.shadow].iter().for_each(|cursor| cursor.forget(place));
}

/// Asks the database in force, tells `errnop` what there is to tell, and gives the status.
///
/// A macro, because what is asked stands in it twice: in the midst of the entry point, and apart for the long way.
macro_rules! ask {
    ($errnop:expr, |$mapped:ident| $ask:expr) => {{
        let outcome = match One::enter() {
            Some(one) => {
                let $mapped = one.mapped();
                let outcome = $ask;
                one.leave();
                outcome
            }
            None => by_the_long_way(move |$mapped| $ask),
        };
        if outcome.errno != 0 {
            *$errnop = outcome.errno;
        }
        outcome.status
    }};
}

#[inline(always)]
fn found<T>(lookup: Lookup<T>, fill: impl FnOnce(&T) -> Outcome) -> Outcome {
    match lookup {
        Lookup::Found(record) => fill(&record),
        Lookup::NotFound => Outcome::NOT_FOUND,
        Lookup::Corrupt => Outcome::CORRUPT,
    }
}

struct Users<'a>(&'a Mapped);

impl<'a> Entries for Users<'a> {
    type Entry = UserRecord<'a>;

    fn after(&self, last: Option<u32>) -> Lookup<UserRecord<'a>> {
        self.0.database().user_after(last)
    }

    #[inline(always)]
    fn at(&self, record: u32, last: u32) -> Lookup<UserRecord<'a>> {
        self.0.database().user_at(record, last)
    }

    #[inline(always)]
    fn place(user: &UserRecord<'a>) -> (u32, u32) {
        (user.uid(), user.next())
    }

    #[inline(always)]
    fn mapping(&self) -> u32 {
        self.0.place()
    }
}

struct Groups<'a>(&'a Mapped);

impl<'a> Entries for Groups<'a> {
    type Entry = GroupRecord<'a>;

    fn after(&self, last: Option<u32>) -> Lookup<GroupRecord<'a>> {
        self.0.database().group_after(last)
    }

    #[inline(always)]
    fn at(&self, record: u32, last: u32) -> Lookup<GroupRecord<'a>> {
        self.0.database().group_at(record, last)
    }

    #[inline(always)]
    fn place(group: &GroupRecord<'a>) -> (u32, u32) {
        (group.gid(), group.next())
    }

    #[inline(always)]
    fn mapping(&self) -> u32 {
        self.0.place()
    }
}

/// The bytes of a name, at most one more than a name can have.
///
/// # Safety
/// `name` is a C string that outlives the result.
#[inline(always)]
unsafe fn key<'a>(name: *const c_char) -> &'a [u8] {
    // SAFETY: the caller's promise; the length stops at the NUL.
    unsafe { slice::from_raw_parts(name.cast(), libc::strnlen(name, MAX_NAME + 1)) }
}

/// The caller's buffer.
#[derive(Clone, Copy)]
struct Buffer {
    start: *mut c_char,
    len: usize,
}

impl Buffer {
    /// Copies `text` to its start, if it fits.
    ///
    /// # Safety
    /// The buffer is writable over its whole length and nothing of the database's.
    #[inline(always)]
    unsafe fn put(self, text: &[u8]) -> Option<*mut c_char> {
        if text.len() > self.len {
            return None;
        }
        // SAFETY: just checked to lie within the buffer, which is the caller's promise.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr().cast(), self.start, text.len()) };
        Some(self.start)
    }
}

/// # Safety
/// `result` is writable, and `buffer` as [`Buffer::put`] wants it.
#[inline(always)]
unsafe fn fill_passwd(user: &UserRecord<'_>, result: *mut passwd, buffer: Buffer) -> Outcome {
    // SAFETY: the caller's promise.
    let Some(text) = (unsafe { buffer.put(user.strings()) }) else {
        return Outcome::TOO_SMALL;
    };
    // SAFETY: `result` is the caller's promise. The offsets lie within the strings (checked when the record was read).
    unsafe {
        result.write(passwd {
            pw_name: text,
            pw_passwd: text.add(user.password_offset()),
            pw_uid: user.uid(),
            pw_gid: user.gid(),
            pw_gecos: text.add(user.gecos_offset()),
            pw_dir: text.add(user.home_offset()),
            pw_shell: text.add(user.shell_offset()),
        });
    }
    Outcome::SUCCESS
}

/// # Safety
/// As for [`fill_passwd`].
unsafe fn fill_shadow(user: &UserRecord<'_>, result: *mut spwd, buffer: Buffer) -> Outcome {
    // SAFETY: the caller's promise.
    let Some(text) = (unsafe { buffer.put(user.name_and_password()) }) else {
        return Outcome::TOO_SMALL;
    };
    // SAFETY: `result` is the caller's promise. The offset lies within what was copied.
    unsafe {
        result.write(spwd {
            sp_namp: text,
            sp_pwdp: text.add(user.password_offset()),
            // What an empty field of /etc/shadow reads as: no ageing, no expiry.
            sp_lstchg: -1,
            sp_min: -1,
            sp_max: -1,
            sp_warn: -1,
            sp_inact: -1,
            sp_expire: -1,
            sp_flag: !0,
        });
    }
    Outcome::SUCCESS
}

/// # Safety
/// As for [`fill_passwd`].
#[inline(always)]
unsafe fn fill_group(record: &GroupRecord<'_>, result: *mut group, buffer: Buffer) -> Outcome {
    const POINTER: usize = size_of::<*mut c_char>();
    // The pointers come first, aligned; the text needs no alignment.
    let pad = buffer.start.addr().wrapping_neg() % POINTER;
    let count = record.member_count();
    let text_at = count.checked_add(1).and_then(|n| n.checked_mul(POINTER)).and_then(|n| n.checked_add(pad));
    let strings = record.strings();
    let Some(text_at) =
        text_at.filter(|at| at.checked_add(strings.len()).is_some_and(|end| end <= buffer.len))
    else {
        // Of a large group each name is looked at only when there is room for all: callers come back with twice as much.
        return if record.has_room_for_names() { Outcome::TOO_SMALL } else { Outcome::CORRUPT };
    };
    let Some(starts) = record.starts() else {
        return Outcome::CORRUPT;
    };
    // SAFETY: both lie within the buffer, `pad` being below `text_at`.
    let (members, text) = unsafe { (buffer.start.add(pad).cast::<*mut c_char>(), buffer.start.add(text_at)) };
    let (mut to, mut before) = (members, 0);
    let copy = |at: usize, part: &[u8]| {
        // SAFETY: the strings from `at` on. All of them fit into the buffer from `text_at` on, which is the caller's promise.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr().cast(), text.add(at), part.len()) };
    };
    starts.for_each(copy, |at| {
        // SAFETY: `starts` are `count` offsets within the strings, none of them their first byte (`Starts`); `count + 1` pointers
        // fit between `pad` and `text_at`.
        unsafe {
            to.write(text.add(at));
            to = to.add(1);
            before |= *strings.as_ptr().add(at).sub(1);
        }
    });
    // What stands before a name ends the one before it.
    if before != 0 {
        return Outcome::CORRUPT;
    }
    // SAFETY: as above, `count` of them being written; `result` is the caller's promise.
    unsafe {
        to.write(ptr::null_mut());
        result.write(group {
            gr_name: text,
            gr_passwd: text.add(record.password_offset()),
            gr_gid: record.gid(),
            gr_mem: members,
        });
    }
    Outcome::SUCCESS
}

/// The list of gids that glibc grows with us: `start` of `size` are filled.
struct GidList {
    start: *mut c_long,
    size: *mut c_long,
    gids: *mut *mut gid_t,
    /// 0 or less for none.
    limit: c_long,
}

impl GidList {
    /// Appends the gids of `user` but `primary` and those already there, as far as the limit allows.
    ///
    /// # Safety
    /// `start`, `size` and `gids` are readable and writable, `gids` came from malloc and holds `size` gids.
    unsafe fn append(&self, user: &UserRecord<'_>, primary: gid_t) -> Outcome {
        // SAFETY: the caller's promise.
        let (before, size) = unsafe { (*self.start, *self.size) };
        let (Ok(before), Ok(mut size)) = (usize::try_from(before), usize::try_from(size)) else {
            return Outcome::unavailable(libc::EINVAL);
        };
        let mut filled = before;
        let most = match usize::try_from(self.limit) {
            Ok(limit) if limit > 0 => limit,
            _ => usize::MAX,
        };
        let all = before.saturating_add(user.gids().len());
        let wanted = all.min(most);
        if wanted > size {
            // SAFETY: the caller's promise.
            match unsafe { self.grow(wanted.max(size.saturating_mul(2)).min(most)) } {
                Some(grown) => size = grown,
                None => return Outcome::unavailable(libc::ENOMEM),
            }
        }
        // SAFETY: the caller's promise.
        let gids = unsafe { *self.gids };
        if before == 1 && all <= size.min(most) {
            // As glibc nearly always asks. No decision at each: one that is left out is overwritten.
            // SAFETY: the first is filled.
            let first = unsafe { *gids };
            let mut sound = true;
            for gid in user.gids() {
                sound &= !is_reserved(gid);
                // SAFETY: `filled` is at most what was there and the gids before this one, so below `all`.
                unsafe { gids.add(filled).write(gid) };
                filled = filled.wrapping_add(usize::from((gid != primary) & (gid != first)));
            }
            if !sound {
                return Outcome::CORRUPT;
            }
        } else if !user.gids_are_sound() {
            return Outcome::CORRUPT;
        } else {
            for gid in user.gids() {
                // SAFETY: the first `before` are filled, and at most `size` of them.
                let there = unsafe { (0..before.min(size)).any(|n| *gids.add(n) == gid) };
                if gid == primary || there {
                    continue;
                }
                if filled >= size.min(most) {
                    break;
                }
                // SAFETY: below `size`.
                unsafe { gids.add(filled).write(gid) };
                filled = filled.wrapping_add(1);
            }
        }
        // SAFETY: the caller's promise. It cannot exceed what was a `long` or a limit of its.
        unsafe { *self.start = filled as c_long };
        Outcome::SUCCESS
    }

    /// # Safety
    /// As for [`Self::append`].
    unsafe fn grow(&self, to: usize) -> Option<usize> {
        let bytes = to.checked_mul(size_of::<gid_t>())?;
        let size = c_long::try_from(to).ok()?;
        // SAFETY: `gids` came from malloc (the caller's promise), and is replaced at once.
        unsafe {
            let grown = libc::realloc((*self.gids).cast(), bytes);
            if grown.is_null() {
                return None;
            }
            *self.gids = grown.cast();
            *self.size = size;
        }
        Some(to)
    }
}

/// passwd by name.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getpwnam_r(
    name: *const c_char,
    result: *mut passwd,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a C string, a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| {
            found(mapped.database().user_by_name(key(name)), |user| fill_passwd(user, result, buffer))
        })
    }
}

/// passwd by uid.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getpwuid_r(
    uid: uid_t,
    result: *mut passwd,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| {
            found(mapped.database().user_by_uid(uid), |user| fill_passwd(user, result, buffer))
        })
    }
}

/// Starts the enumeration of passwd.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_hostward_setpwent(_stay_open: c_int) -> c_int {
    HELD.passwd.rewind();
    Outcome::SUCCESS.status
}

/// The next entry of passwd.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getpwent_r(
    result: *mut passwd,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| { HELD.passwd.next(&Users(mapped), |user| fill_passwd(user, result, buffer)) })
    }
}

/// Ends the enumeration of passwd.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_hostward_endpwent() -> c_int {
    HELD.passwd.rewind();
    Outcome::SUCCESS.status
}

/// shadow by name.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getspnam_r(
    name: *const c_char,
    result: *mut spwd,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a C string, a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| {
            found(mapped.database().user_by_name(key(name)), |user| fill_shadow(user, result, buffer))
        })
    }
}

/// Starts the enumeration of shadow.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_hostward_setspent(_stay_open: c_int) -> c_int {
    HELD.shadow.rewind();
    Outcome::SUCCESS.status
}

/// The next entry of shadow.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getspent_r(
    result: *mut spwd,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| { HELD.shadow.next(&Users(mapped), |user| fill_shadow(user, result, buffer)) })
    }
}

/// Ends the enumeration of shadow.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_hostward_endspent() -> c_int {
    HELD.shadow.rewind();
    Outcome::SUCCESS.status
}

/// group by name.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getgrnam_r(
    name: *const c_char,
    result: *mut group,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a C string, a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| {
            found(mapped.database().group_by_name(key(name)), |group| fill_group(group, result, buffer))
        })
    }
}

/// group by gid.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getgrgid_r(
    gid: gid_t,
    result: *mut group,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| {
            found(mapped.database().group_by_gid(gid), |group| fill_group(group, result, buffer))
        })
    }
}

/// Starts the enumeration of group.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_hostward_setgrent(_stay_open: c_int) -> c_int {
    HELD.group.rewind();
    Outcome::SUCCESS.status
}

/// The next entry of group.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_getgrent_r(
    result: *mut group,
    buffer: *mut c_char,
    len: usize,
    errnop: *mut c_int,
) -> c_int {
    let buffer = Buffer { start: buffer, len };
    // SAFETY: glibc passes a result, a buffer of that length and errno.
    unsafe {
        ask!(errnop, |mapped| {
            // Whether its members are sound shows only while they are written.
            HELD.group.next(&Groups(mapped), |group| fill_group(group, result, buffer))
        })
    }
}

/// Ends the enumeration of group.
#[unsafe(no_mangle)]
pub extern "C" fn _nss_hostward_endgrent() -> c_int {
    HELD.group.rewind();
    Outcome::SUCCESS.status
}

/// The supplementary groups of a user: those of the database, `hostward-users` and the local groups granted.
///
/// # Safety
/// As glibc calls it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_hostward_initgroups_dyn(
    user: *const c_char,
    primary: gid_t,
    start: *mut c_long,
    size: *mut c_long,
    gids: *mut *mut gid_t,
    limit: c_long,
    errnop: *mut c_int,
) -> c_int {
    let list = GidList { start, size, gids, limit };
    // SAFETY: glibc passes a C string, a list from malloc with its sizes, and errno.
    unsafe {
        ask!(errnop, |mapped| {
            found(mapped.database().user_by_name(key(user)), |user| list.append(user, primary))
        })
    }
}
