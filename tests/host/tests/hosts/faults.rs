//! Nothing half-done: processes killed at any moment, disks full and read-only. The host keeps the old or the new state,
//! sudo and sshd go on working, and the next pass converges.

mod disk;
mod kill;
mod state;
mod sweep;
