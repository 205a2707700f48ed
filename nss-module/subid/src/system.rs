//! What is asked of libc: reading a file, and the uid of a name.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::ptr;

/// The longest login name that is looked up, in bytes.
const MAX_NAME: usize = 255;
/// Room for a passwd entry. One that does not fit is nobody's uid.
const ENTRY: usize = 16 << 10;

/// A file that is read, closed when dropped.
pub(crate) struct File(c_int);

impl File {
    /// `None` where there is no such file.
    pub(crate) fn open(path: &CStr) -> Result<Option<Self>, c_int> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY;
        loop {
            // SAFETY: `path` is a C string that outlives the call.
            let fd = unsafe { libc::open(path.as_ptr(), flags) };
            match errno() {
                _ if fd >= 0 => return Ok(Some(File(fd))),
                libc::EINTR => {}
                libc::ENOENT => return Ok(None),
                errno => return Err(errno),
            }
        }
    }

    /// How many bytes of `buffer` are filled now; 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, c_int> {
        loop {
            // SAFETY: `buffer` is writable over its length, and the descriptor is ours.
            let read = unsafe { libc::read(self.0, buffer.as_mut_ptr().cast(), buffer.len()) };
            match usize::try_from(read) {
                Ok(read) => return Ok(read),
                Err(_) if errno() == libc::EINTR => {}
                Err(_) => return Err(errno()),
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and is not used again.
        unsafe { libc::close(self.0) };
    }
}

/// The uid that a login name has on this host, managed or local.
pub(crate) fn uid_of(name: &[u8]) -> Option<u32> {
    let mut text = [0_u8; MAX_NAME + 1];
    text.get_mut(..name.len())?.copy_from_slice(name);
    CStr::from_bytes_with_nul(text.get(..name.len().checked_add(1)?)?).ok()?;
    let mut buffer: [MaybeUninit<c_char>; ENTRY] = [MaybeUninit::uninit(); ENTRY];
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut found = ptr::null_mut();
    // SAFETY: `text` is a C string (just checked), entry and buffer are writable, the latter over the length given.
    let status = unsafe {
        libc::getpwnam_r(
            text.as_ptr().cast(),
            entry.as_mut_ptr(),
            buffer.as_mut_ptr().cast(),
            ENTRY,
            &raw mut found,
        )
    };
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: `found` is the entry, which the call has filled.
    Some(unsafe { (*found).pw_uid })
}

fn errno() -> c_int {
    // SAFETY: always a valid pointer to the calling thread's errno.
    unsafe { *libc::__errno_location() }
}
