//! Opens, checks and maps the database file.
//!
//! Keeps no descriptor, allocates nothing, is no cancellation point, and leaves `errno` alone.
//! A file that is not root's, or that others may write to, is never believed.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_int};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::format::{HEADER, PROLOGUE};
use crate::lookup::{Database, HeaderError};
use crate::subids::Subids;
use crate::system::{Descriptor, unmap};

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

/// The start of a file as it was when the file was opened.
///
/// A process that asks once, as most do, need not have that page in its own memory: the fault would take several times
/// as long as this read.
#[derive(Debug)]
pub struct Head([u8; PROLOGUE + HEADER]);

impl Head {
    /// One that nothing was read into.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; PROLOGUE + HEADER])
    }

    /// As [`Mapping::superseded`], at that time.
    #[must_use]
    pub fn superseded(&self) -> bool {
        self.0.first_chunk::<4>().is_some_and(|flag| *flag != [0; 4])
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

impl Mapping {
    /// Opens `path` (no link is followed in the last component), checks and maps it.
    ///
    /// # Errors
    /// If the file cannot be opened, trusted or mapped.
    pub fn open(path: &CStr) -> Result<Self, MapError> {
        let (file, len) = Self::open_file(path)?;
        Self::of(&file, len)
    }

    /// As [`Self::open`], and reads the start of the file into `head`.
    ///
    /// # Errors
    /// As for [`Self::open`], or if the file cannot be read.
    pub fn open_with_head(path: &CStr, head: &mut Head) -> Result<Self, MapError> {
        let (file, len) = Self::open_file(path)?;
        if file.read(&mut head.0).map_err(MapError::Os)? < head.0.len() {
            return Err(MapError::Size);
        }
        Self::of(&file, len)
    }

    #[inline(never)]
    fn open_file(path: &CStr) -> Result<(Descriptor, usize), MapError> {
        // O_NONBLOCK and O_NOCTTY: somebody might have put a FIFO or a terminal there.
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
        let file = Descriptor::open(path, flags).map_err(MapError::Os)?;
        let len = trusted_len(&file)?;
        Ok((file, len))
    }

    fn of(file: &Descriptor, len: usize) -> Result<Self, MapError> {
        let base = file.map(len).map_err(MapError::Os)?;
        Ok(Self { base, len })
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

    /// As [`Self::database`], for a header that was read from this very file already.
    ///
    /// # Errors
    /// As for [`Self::database`].
    pub fn database_with(&self, head: &Head) -> Result<Database<'_>, HeaderError> {
        let header = head.0.last_chunk().ok_or(HeaderError::TooShort)?;
        Database::with_header(header, self.body())
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
        unsafe { unmap(self.base, self.len) };
    }
}

fn trusted_len(file: &Descriptor) -> Result<usize, MapError> {
    let status = file.status().map_err(MapError::Os)?;
    let regular = status.st_mode & libc::S_IFMT == libc::S_IFREG;
    if !regular || status.st_uid != 0 || status.st_mode & 0o022 != 0 {
        return Err(MapError::NotTrusted);
    }
    match usize::try_from(status.st_size) {
        Ok(len) if (PROLOGUE + HEADER..=MAX_FILE).contains(&len) => Ok(len),
        _ => Err(MapError::Size),
    }
}
