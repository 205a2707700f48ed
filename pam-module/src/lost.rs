//! Counts records that no file took: one atomic addition to a number in memory that processes share.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hostward_records::{LOST, LOST_BYTES};
use rustix::fs::{FallocateFlags, Gid, Mode, OFlags};
use rustix::io::Errno;

use crate::append::{is_roots_alone, open_directory};

/// Counts one more in `directory`. There is nobody left to be told where that fails.
pub(crate) fn count(directory: &Path) {
    let _counted = open(directory).and_then(|file| add(&file));
}

fn open(directory: &Path) -> Result<OwnedFd, Errno> {
    let directory = open_directory(directory)?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(&directory, LOST, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL;
    let file = rustix::fs::openat(&directory, LOST, flags, Mode::from_raw_mode(0o600))?;
    let group = Gid::from_raw(rustix::fs::fstat(&directory)?.st_gid);
    rustix::fs::fchown(&file, None, Some(group))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o640))?;
    // With its memory, or whoever adds would die where there is none.
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, LOST_BYTES)?;
    Ok(file)
}

fn add(file: &OwnedFd) -> Result<(), Errno> {
    let status = rustix::fs::fstat(file)?;
    let whole = u64::try_from(status.st_size) == Ok(LOST_BYTES);
    let has_memory = u64::try_from(status.st_blocks).is_ok_and(|blocks| blocks * 512 >= LOST_BYTES);
    if !is_roots_alone(&status) || !whole || !has_memory {
        return Err(Errno::INVAL);
    }
    let len = LOST_BYTES as usize;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice, touches no other memory.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(Errno::NOMEM);
    }
    // SAFETY: the mapping is writable, aligned to a page, longer than eight bytes and backed by a file that has its blocks
    // and that only root can cut; whoever shares it accesses it as an atomic number.
    let number = unsafe { AtomicU64::from_ptr(at.cast()) };
    number.fetch_add(1, Ordering::Relaxed);
    // SAFETY: it is the mapping made above, and `number` is not used again.
    unsafe { libc::munmap(at, len) };
    Ok(())
}
