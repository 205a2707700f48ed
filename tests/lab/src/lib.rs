//! Throwaway systemd hosts for tests and demonstrations.
//!
//! A [`Lab`] is a private network; its [`Host`]s are Debian systems booted with `systemd-nspawn` on an overlay over a
//! cached image, half a second each, with their own PID 1, sshd, sudo and glibc:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use hostward_lab::{Lab, Release};
//!
//! let lab = Lab::new()?;
//! let host = lab.host("web1", Release::Bookworm).boot()?;
//! assert!(host.ok("getent passwd root").starts_with("root:"));
//! # Ok(())
//! # }
//! ```
//!
//! It needs root, a cgroup2 hierarchy, Linux 5.14, mmdebstrap, systemd-container and iproute2 (`make setup`). Everything
//! of a lab is gone when it is dropped, when its process is killed, and after `lab clean` in any case.
#![allow(clippy::missing_panics_doc, reason = "a test's tools fail by panicking, with all they know")]

mod backend;
mod cgroup;
mod command;
mod digest;
mod host;
mod image;
mod lab;
mod network;
mod package;
mod release;
mod ssh;
mod wait;
pub mod workspace;

pub use backend::Backend;
pub use command::{Background, Output, PATIENCE};
pub use host::{Entry, Host, HostBuilder, State, Tree};
pub use image::base as base_image;
pub use lab::{Clean, HostRecord, Lab, Record, clean};
pub use network::{BACKEND_NAME, HERE};
pub use package::{built_package, with_version};
pub use release::Release;
pub use ssh::{Login, Terminal};
pub use wait::wait_for;
