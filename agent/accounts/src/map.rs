//! Opens, checks and maps the database file. The only unsafe code of this crate.
//!
//! Keeps no descriptor, allocates nothing, is no cancellation point, and leaves `errno` to the caller to restore.
//! A file that is not root's, or that others may write to, is never believed.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_int};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::format::{HEADER, PROLOGUE};
use crate::lookup::{Database, HeaderError};
use crate::subids::Subids;

/// Files larger than this are refused: a million users take less than half a gigabyte.
const MAX_FILE: usize = 1 << 33;

/// Why the file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// A system call failed, with this errno. `ENOENT`: there is no database.
    Os(c_int),
    /// It is not a regular file of root's that only root may write to.
    NotTrusted,
    /// It is too short or too long to be a database.
    Size,
}

impl core::fmt::Display for MapError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "it cannot be opened (errno {errno})"),
            Self::NotTrusted => f.write_str("it is not a regular file of root's that only root may write to"),
            Self::Size => f.write_str("its size cannot be that of an account database"),
        }
    }
}

impl core::error::Error for MapError {}

/// The file, mapped read-only for as long as this lives.
///
/// Writers never truncate a database nor write to its body, which is what makes the slice that
/// [`Self::database`] reads through sound. Only root can break that promise.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the pages are never written through this mapping, and the pointer belongs to it alone.
unsafe impl Send for Mapping {}
// SAFETY: as above; the flag is read atomically.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Opens `path` (no link is followed in the last component), checks and maps it.
    ///
    /// # Errors
    /// If the file cannot be opened, trusted or mapped.
    pub fn open(path: &CStr) -> Result<Self, MapError> {
        let file = Descriptor::open(path)?;
        let len = file.trusted_len()?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base =
            unsafe { libc::mmap(core::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.0, 0) };
        if base == libc::MAP_FAILED {
            return Err(MapError::Os(errno()));
        }
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self { base, len }),
            None => Err(MapError::Size),
        }
    }

    /// Whether root has put another file in place of this one, or removed it.
    #[must_use]
    #[inline]
    pub fn superseded(&self) -> bool {
        // SAFETY: the mapping starts page-aligned and is longer than the prologue; the flag is in no slice.
        let flag = unsafe { AtomicU32::from_ptr(self.base.as_ptr().cast()) };
        flag.load(Ordering::Acquire) != 0
    }

    /// The database in it.
    ///
    /// # Errors
    /// If it is not one that this version can read.
    pub fn database(&self) -> Result<Database<'_>, HeaderError> {
        Database::new(self.body())
    }

    /// The subordinate ids in it.
    ///
    /// # Errors
    /// If it is not a database that this version can read.
    pub fn subids(&self) -> Result<Subids<'_>, HeaderError> {
        self.database()?;
        Subids::new(self.body())
    }

    fn body(&self) -> &[u8] {
        // SAFETY: `PROLOGUE..len` is mapped (`trusted_len`), never written to (see the type), and lives as long as `self`.
        unsafe {
            core::slice::from_raw_parts(self.base.as_ptr().add(PROLOGUE), self.len.wrapping_sub(PROLOGUE))
        }
    }

    /// Bytes of address space it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: an empty file is no database.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are what mmap returned and was given, and no borrow of it can be left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A descriptor, closed when dropped.
struct Descriptor(c_int);

impl Descriptor {
    fn open(path: &CStr) -> Result<Self, MapError> {
        // O_NONBLOCK and O_NOCTTY: somebody might have put a FIFO or a terminal there.
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
        loop {
            // Not open(3), which is a cancellation point: nothing could be undone there.
            // SAFETY: `path` is a C string that outlives the call; the arguments are those of openat(2).
            let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0) };
            match (c_int::try_from(fd), errno()) {
                (Ok(fd), _) if fd >= 0 => return Ok(Self(fd)),
                (_, libc::EINTR) => {}
                (_, errno) => return Err(MapError::Os(errno)),
            }
        }
    }

    fn trusted_len(&self) -> Result<usize, MapError> {
        // SAFETY: all zeros is a valid `stat`.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        // SAFETY: `stat` is writable and of the type that fstat fills.
        if unsafe { libc::fstat(self.0, &raw mut stat) } != 0 {
            return Err(MapError::Os(errno()));
        }
        let regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
        if !regular || stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
            return Err(MapError::NotTrusted);
        }
        match usize::try_from(stat.st_size) {
            Ok(len) if (PROLOGUE + HEADER..=MAX_FILE).contains(&len) => Ok(len),
            _ => Err(MapError::Size),
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // Not close(3), a cancellation point. An error leaves nothing to do: the descriptor is gone in any case.
        // SAFETY: the descriptor is ours and is not used again.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

fn errno() -> c_int {
    // SAFETY: always a valid pointer to the calling thread's errno.
    unsafe { *libc::__errno_location() }
}
