//! The few system calls that mapping the file takes, made directly.
//!
//! Through libc each would be a symbol to look for whenever a process of the host loads the NSS module, might be
//! somebody's own function of that name, and would set `errno`, which is the caller's. None of these is a cancellation
//! point. What they ask for is decided where they are called.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_int, c_long};
use core::ptr::NonNull;

/// The `errno` of a call that failed.
pub(crate) type Errno = c_int;

/// A system call: its result, or the `errno` that it failed with.
///
/// # Safety
/// The arguments are what the call wants, and it does to this process's memory only what the caller may do.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call(number: c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the registers of the x86-64 ABI (syscall(2)); the rest is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    match result {
        failed @ -4095..=-1 => Err(failed.unsigned_abs() as Errno),
        result => Ok(result.cast_unsigned()),
    }
}

/// As above, by libc, which sets `errno`.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn call(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise; `errno` is always there.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(unsafe { *libc::__errno_location() }),
        result => Ok(result as usize),
    }
}

const NOTHING: usize = 0;

/// A descriptor, closed when dropped.
pub(crate) struct Descriptor(usize);

impl Descriptor {
    /// openat(2) from the current directory, begun anew when a signal interrupts it.
    pub(crate) fn open(path: &CStr, flags: c_int) -> Result<Self, Errno> {
        let from = libc::AT_FDCWD as usize;
        loop {
            // SAFETY: a C string that outlives the call.
            let opened = unsafe {
                call(
                    libc::SYS_openat,
                    [from, path.as_ptr().expose_provenance(), flags as usize, NOTHING, NOTHING, NOTHING],
                )
            };
            match opened {
                Err(libc::EINTR) => {}
                opened => return opened.map(Self),
            }
        }
    }

    /// fstat(2).
    pub(crate) fn status(&self) -> Result<libc::stat, Errno> {
        // SAFETY: all zeros is a valid `stat`.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        let to = (&raw mut stat).expose_provenance();
        // SAFETY: `stat` is writable, and on 64-bit machines what the kernel fills.
        unsafe { call(libc::SYS_fstat, [self.0, to, NOTHING, NOTHING, NOTHING, NOTHING]) }?;
        Ok(stat)
    }

    /// read(2) from where the file is being read; how many bytes came.
    pub(crate) fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let (at, len) = (to.as_mut_ptr().expose_provenance(), to.len());
        loop {
            // SAFETY: `to` is writable over its whole length.
            match unsafe { call(libc::SYS_read, [self.0, at, len, NOTHING, NOTHING, NOTHING]) } {
                Err(libc::EINTR) => {}
                read => return read,
            }
        }
    }

    /// mmap(2) of the first `len` bytes, shared and for reading.
    pub(crate) fn map(&self, len: usize) -> Result<NonNull<u8>, Errno> {
        let (protection, flags) = (libc::PROT_READ as usize, libc::MAP_SHARED as usize);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let at = unsafe { call(libc::SYS_mmap, [NOTHING, len, protection, flags, self.0, NOTHING]) }?;
        NonNull::new(core::ptr::with_exposed_provenance_mut(at)).ok_or(libc::ENOMEM)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // An error leaves nothing to do: the descriptor is gone in any case.
        // SAFETY: the descriptor is ours and is not used again.
        let _gone = unsafe { call(libc::SYS_close, [self.0, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING]) };
    }
}

/// munmap(2).
///
/// # Safety
/// These `len` bytes are a mapping of the caller's, and nobody uses it any more.
pub(crate) unsafe fn unmap(at: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise.
    let _gone = unsafe {
        call(libc::SYS_munmap, [at.as_ptr().expose_provenance(), len, NOTHING, NOTHING, NOTHING, NOTHING])
    };
}

/// Has a child that is forked from now on find zeros in `memory`; false where the kernel cannot do that (Linux before
/// 4.14, memory that is not whole pages or not anonymous).
///
/// # Safety
/// The memory is the caller's, and zeros are valid in it, in a child at any moment.
pub unsafe fn empty_in_children(memory: *const u8, len: usize) -> bool {
    // SAFETY: the caller's promise; in this process the advice changes nothing.
    let advised = unsafe {
        call(
            libc::SYS_madvise,
            [memory.expose_provenance(), len, libc::MADV_WIPEONFORK as usize, NOTHING, NOTHING, NOTHING],
        )
    };
    advised.is_ok()
}

/// The most address space that this process may have, in bytes: `None` if that is not known, `u64::MAX` for no limit.
///
/// By getrlimit(2), which takes half as long as prlimit(2) and is allowed by more filters of system calls.
#[must_use]
pub fn address_space_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let to = (&raw mut limit).expose_provenance();
    // SAFETY: `limit` is writable and, on 64-bit machines, of the type that getrlimit fills.
    let known = unsafe {
        call(libc::SYS_getrlimit, [libc::RLIMIT_AS as usize, to, NOTHING, NOTHING, NOTHING, NOTHING])
    };
    known.ok().map(|_| limit.rlim_cur)
}
