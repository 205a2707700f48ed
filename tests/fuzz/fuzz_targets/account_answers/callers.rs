//! One question as glibc puts it, and what the answer must be.

use std::ffi::{CString, c_char, c_int, c_long};
use std::mem::MaybeUninit;
use std::ptr;

use crate::bases::Base;
use crate::damage::Input;
use crate::entry;
use crate::page::{Answer, Group, Key, Page, User, is_reserved};

const SUCCESS: c_int = 1;
const NOTFOUND: c_int = 0;
const UNAVAIL: c_int = -1;
const TRYAGAIN: c_int = -2;

#[derive(Clone, Copy, Debug)]
enum Kind {
    UserByName,
    UserById,
    Shadow,
    GroupByName,
    GroupById,
    Initgroups,
    AllUsers,
    AllShadow,
    AllGroups,
}

#[derive(Debug)]
pub(crate) struct Query {
    kind: Kind,
    name: CString,
    id: u32,
    /// Of the caller's buffer, or of the list of gids.
    len: usize,
    offset: usize,
    limit: c_long,
}

/// A buffer whose end is the end of an allocation, so that a byte too many is noticed; its start is as unaligned as asked.
struct Buffer {
    bytes: Vec<u8>,
    offset: usize,
}

impl Buffer {
    fn start(&mut self) -> *mut c_char {
        // SAFETY: `offset` is at most the length.
        unsafe { self.bytes.as_mut_ptr().add(self.offset).cast() }
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The C string at `at`, which must lie within.
    fn text(&self, at: *const c_char) -> &[u8] {
        let start = at as usize - self.bytes.as_ptr() as usize;
        assert!(start >= self.offset, "points before the buffer");
        let text = &self.bytes[start..];
        &text[..text.iter().position(|byte| *byte == 0).expect("ends within the buffer")]
    }
}

impl Query {
    pub(crate) fn draw(base: &Base, input: &mut Input<'_>) -> Self {
        const KINDS: [Kind; 9] = [
            Kind::UserByName,
            Kind::UserById,
            Kind::Shadow,
            Kind::GroupByName,
            Kind::GroupById,
            Kind::Initgroups,
            Kind::AllUsers,
            Kind::AllShadow,
            Kind::AllGroups,
        ];
        let kind = KINDS[usize::from(input.byte()) % KINDS.len()];
        let whom = usize::from(input.byte());
        let shape = input.byte();
        let len = match shape % 4 {
            0 => 4096,
            1 => usize::from(input.byte()),
            2 => input.number() % 2048,
            _ => 512,
        };
        Self {
            kind,
            name: CString::new(&*base.names[whom % base.names.len()]).expect("no NUL"),
            id: base.ids[whom % base.ids.len()],
            len,
            offset: usize::from(shape >> 2) % 8,
            limit: c_long::from(shape >> 5) * 3 - 1,
        }
    }

    pub(crate) fn ask(&self, file: &[u8]) {
        let page = Page::open(file);
        let (name, id) = (Key::Name(self.name.as_bytes()), Key::Id(self.id));
        let user = |key| page.as_ref().map_or(Answer::Damaged, |page| page.user(key));
        let group = |key| page.as_ref().map_or(Answer::Damaged, |page| page.group(key));
        let (by_name, of_id) = (self.name.as_ptr(), self.id);
        // SAFETY: as glibc calls it.
        unsafe {
            match self.kind {
                Kind::UserByName => self
                    .passwd(user(&name), |r, b, l, e| entry::_nss_hostward_getpwnam_r(by_name, r, b, l, e)),
                Kind::UserById => {
                    self.passwd(user(&id), |r, b, l, e| entry::_nss_hostward_getpwuid_r(of_id, r, b, l, e))
                }
                Kind::Shadow => self
                    .shadow(user(&name), |r, b, l, e| entry::_nss_hostward_getspnam_r(by_name, r, b, l, e)),
                Kind::GroupByName => self.group(file.len(), group(&name), |r, b, l, e| {
                    entry::_nss_hostward_getgrnam_r(by_name, r, b, l, e)
                }),
                Kind::GroupById => self.group(file.len(), group(&id), |r, b, l, e| {
                    entry::_nss_hostward_getgrgid_r(of_id, r, b, l, e)
                }),
                Kind::Initgroups => self.initgroups(user(&name)),
                Kind::AllUsers => {
                    entry::_nss_hostward_setpwent(0);
                    self.all(file.len(), |r: *mut libc::passwd, b, l, e| {
                        let status = entry::_nss_hostward_getpwent_r(r, b, l, e);
                        (status, if status == SUCCESS { (*r).pw_uid } else { 0 })
                    });
                }
                Kind::AllShadow => {
                    let mut entries = 0;
                    entry::_nss_hostward_setspent(0);
                    self.all(file.len(), |r: *mut libc::spwd, b, l, e| {
                        entries += 1;
                        (entry::_nss_hostward_getspent_r(r, b, l, e), entries)
                    });
                }
                Kind::AllGroups => {
                    entry::_nss_hostward_setgrent(0);
                    self.all(file.len(), |r: *mut libc::group, b, l, e| {
                        let status = entry::_nss_hostward_getgrent_r(r, b, l, e);
                        (status, if status == SUCCESS { (*r).gr_gid } else { 0 })
                    });
                }
            }
        }
    }

    fn buffer(&self) -> Buffer {
        Buffer { bytes: vec![0xaa; self.len.max(self.offset)], offset: self.offset }
    }

    /// Calls, and holds the status against the expected answer, of which `needs` says what room it takes. Whether it is found.
    fn call<C, T>(
        &self,
        buffer: &mut Buffer,
        expected: &Answer<T>,
        needs: impl Fn(&T, usize) -> usize,
        call: impl FnOnce(*mut C, *mut c_char, usize, *mut c_int) -> c_int,
    ) -> Option<C> {
        let (mut result, mut errno) = (MaybeUninit::uninit(), -1);
        let (start, len) = (buffer.start(), buffer.len());
        let got = (call(result.as_mut_ptr(), start, len, &raw mut errno), errno);
        let wanted = match expected {
            Answer::Found(entry) if needs(entry, start as usize) > len => (TRYAGAIN, libc::ERANGE),
            Answer::Found(_) => (SUCCESS, -1),
            Answer::Absent => (NOTFOUND, libc::ENOENT),
            Answer::Damaged => (UNAVAIL, libc::EIO),
        };
        assert_eq!(got, wanted, "{self:?}");
        // SAFETY: the module says that it filled it.
        (got.0 == SUCCESS).then(|| unsafe { result.assume_init() })
    }

    fn passwd(
        &self,
        expected: Answer<User>,
        call: impl FnOnce(*mut libc::passwd, *mut c_char, usize, *mut c_int) -> c_int,
    ) {
        let mut buffer = self.buffer();
        let needs = |user: &User, _| user.strings.iter().map(|text| text.len() + 1).sum();
        let Some(got) = self.call(&mut buffer, &expected, needs, call) else { return };
        let Answer::Found(user) = expected else { unreachable!("not found") };
        assert_eq!((got.pw_uid, got.pw_gid), (user.uid, user.gid));
        let texts = [got.pw_name, got.pw_passwd, got.pw_gecos, got.pw_dir, got.pw_shell];
        for (text, wanted) in texts.into_iter().zip(&user.strings) {
            // What a damaged string says behind a NUL of its own is not seen by C.
            assert_eq!(buffer.text(text), wanted.split(|byte| *byte == 0).next().unwrap_or_default());
        }
    }

    fn shadow(
        &self,
        expected: Answer<User>,
        call: impl FnOnce(*mut libc::spwd, *mut c_char, usize, *mut c_int) -> c_int,
    ) {
        let mut buffer = self.buffer();
        let Some(got) = self.call(&mut buffer, &expected, |user: &User, _| user.strings[0].len() + 3, call)
        else {
            return;
        };
        assert_eq!(buffer.text(got.sp_namp), self.name.as_bytes());
        assert_eq!(buffer.text(got.sp_pwdp), b"*");
    }

    /// What room a damaged group would take may be said; that it is damaged shows once there is so much, which is little.
    fn group(
        &self,
        file: usize,
        expected: Answer<Group>,
        call: impl Fn(*mut libc::group, *mut c_char, usize, *mut c_int) -> c_int,
    ) {
        let mut buffer = self.buffer();
        if expected == Answer::Damaged {
            let (mut result, mut errno) = (MaybeUninit::uninit(), -1);
            if call(result.as_mut_ptr(), buffer.start(), buffer.len(), &raw mut errno) == TRYAGAIN {
                assert_eq!(errno, libc::ERANGE);
                buffer = Buffer { bytes: vec![0xaa; 16 + 5 * file], offset: 0 };
            }
        }
        let needs = |group: &Group, start: usize| {
            let text = group.members.iter().map(|name| name.len() + 1).sum::<usize>() + group.name.len() + 3;
            start.next_multiple_of(8) - start + (group.members.len() + 1) * 8 + text
        };
        let Some(got) = self.call(&mut buffer, &expected, needs, call) else { return };
        let Answer::Found(group) = expected else { unreachable!("not found") };
        assert_eq!((got.gr_gid, buffer.text(got.gr_passwd)), (group.gid, &b"*"[..]));
        let first = |text: &[u8]| text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        assert_eq!(buffer.text(got.gr_name), first(&group.name));
        assert!(got.gr_mem.is_aligned());
        for (n, member) in group.members.iter().enumerate() {
            // SAFETY: memory is watched: this is within the buffer or noticed.
            assert_eq!(buffer.text(unsafe { got.gr_mem.add(n).read() }), first(member));
        }
        // SAFETY: as above.
        assert!(unsafe { got.gr_mem.add(group.members.len()).read() }.is_null());
    }

    /// An enumeration goes up and ends, whatever the file says.
    fn all<C>(
        &self,
        most: usize,
        mut next: impl FnMut(*mut C, *mut c_char, usize, *mut c_int) -> (c_int, u32),
    ) {
        let mut buffer = self.buffer();
        let mut last = None;
        for _ in 0..=most {
            let (mut result, mut errno) = (MaybeUninit::uninit(), -1);
            let (start, len) = (buffer.start(), buffer.len());
            let (status, id) = next(result.as_mut_ptr(), start, len, &raw mut errno);
            match (status, errno) {
                (SUCCESS, -1) => assert!(last.replace(id) < Some(id), "{self:?} goes back"),
                (NOTFOUND, -1) | (UNAVAIL, libc::EIO) | (TRYAGAIN, libc::ERANGE) => return,
                other => panic!("{self:?}: {other:?}"),
            }
        }
        panic!("{self:?}: more entries than the file has bytes");
    }

    fn initgroups(&self, expected: Answer<User>) {
        let before: Vec<u32> = (0..self.offset as u32).map(|n| n * 9).collect();
        let size = before.len() + self.len % 8;
        let primary = 70_001;
        let (mut filled, mut room, mut errno) = (before.len() as c_long, size as c_long, -1);
        // SAFETY: a list from malloc, as the function wants it.
        let (status, list) = unsafe {
            let mut gids: *mut u32 = libc::malloc(size.max(1) * 4).cast();
            ptr::copy_nonoverlapping(before.as_ptr(), gids, before.len());
            let status = entry::_nss_hostward_initgroups_dyn(
                self.name.as_ptr(),
                primary,
                &raw mut filled,
                &raw mut room,
                &raw mut gids,
                self.limit,
                &raw mut errno,
            );
            assert!(filled <= room && room >= size as c_long);
            let list = std::slice::from_raw_parts(gids, usize::try_from(filled).expect("a number")).to_vec();
            libc::free(gids.cast());
            (status, list)
        };
        let mut wanted = before.clone();
        let limit = usize::try_from(self.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let status_wanted = match expected {
            Answer::Found(user) if user.gids.iter().copied().any(is_reserved) => (UNAVAIL, libc::EIO),
            Answer::Found(user) => {
                let fresh = user.gids.into_iter().filter(|gid| *gid != primary && !before.contains(gid));
                wanted.extend(fresh.take(limit.saturating_sub(before.len())));
                (SUCCESS, -1)
            }
            Answer::Absent => (NOTFOUND, libc::ENOENT),
            Answer::Damaged => (UNAVAIL, libc::EIO),
        };
        assert_eq!(((status, errno), list), (status_wanted, wanted), "{self:?}");
    }
}
