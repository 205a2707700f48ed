//! Counts records that no file took: one atomic addition to a number in memory that processes share.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hostward_records::{LOST, LOST_BYTES};
use rustix::fs::{FallocateFlags, Stat};
use rustix::io::Errno;

use crate::append::open;

/// Counts one more in `directory`. There is nobody left to be told where that fails.
pub(crate) fn count(directory: &Path) {
    let _counted = open(directory, LOST).and_then(|(file, status)| add(&file, &status));
}

fn add(file: &OwnedFd, status: &Stat) -> Result<(), Errno> {
    let has_size = u64::try_from(status.st_size).is_ok_and(|size| size >= LOST_BYTES);
    let has_memory = u64::try_from(status.st_blocks).is_ok_and(|blocks| blocks * 512 >= LOST_BYTES);
    if !has_size || !has_memory {
        // With its memory, or whoever adds would die where there is none.
        rustix::fs::fallocate(file, FallocateFlags::empty(), 0, LOST_BYTES)?;
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
