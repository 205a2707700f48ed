//! `libnss_hostward.so.2`: passwd, group, shadow and initgroups from the account database.
//!
//! Runs inside every process of the host, so it keeps no descriptor, allocates nothing, has no thread-local
//! storage, no lock that blocks, no configuration and no reachable panic. It asks no process for anything, and
//! says "no such entry" only where the database proves it.

#![no_std]

// An unwinding profile wants what only std has. The library that is shipped is built with `--profile nss`,
// which aborts: there std is not even present.
#[cfg(panic = "unwind")]
extern crate std;

mod cursor;
mod entry;
mod kept;
#[cfg(panic = "abort")]
mod panic;
mod status;
