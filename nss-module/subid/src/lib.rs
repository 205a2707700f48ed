//! `libsubid_hostward.so`: subordinate ids of managed users, for newuidmap, newgidmap, podman and whoever else asks shadow.
//!
//! shadow asks the one service that the `subid` line of nsswitch.conf names first, and nobody else. So that local users
//! lose nothing by it, /etc/subuid and /etc/subgid are read here as well, as shadow reads them. It runs in setuid programs:
//! no allocation but what it gives to the caller, no environment, no reachable panic, and "yes" only for what is surely so.

#![no_std]

// As in the NSS module: an unwinding profile wants what only std has.
#[cfg(panic = "unwind")]
extern crate std;

mod abi;
mod answer;
#[cfg(panic = "abort")]
#[path = "../../src/panic.rs"]
mod panic;
mod system;
