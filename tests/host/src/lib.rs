//! The installed package on throwaway systemd hosts: what its tests share.
//!
//! A test boots a host, installs the package that `make package` built, and looks at it as an administrator would:
//!
//! ```no_run
//! use hostward_host_tests::{Fixture, Release, new_lab};
//!
//! let lab = new_lab();
//! let fixture = Fixture::enrolled(&lab, Release::Bookworm);
//! assert!(fixture.host.ok("getent passwd alice").starts_with("alice:*:70001:"));
//! assert!(fixture.ssh_as("alice").run("true").success());
//! ```
//!
//! Nothing is skipped: what is missing (the package, the backend's program, root) fails the test and says what to do.
#![allow(clippy::missing_panics_doc, reason = "a test's tools fail by panicking, with all they know")]

mod beside;
mod fixture;
mod release;
mod setup;
mod ssh;
mod state;
mod step_ca;
mod team;

pub use fixture::Fixture;
pub use hostward_lab::{Background, Host, Lab, Login, Output, Release, Terminal, Tree, wait_for};
pub use hostward_mock_backend::client::Client;
pub use hostward_mock_backend::ssh::{Ca, Certificate};
pub use setup::{PACKAGE, Setup, new_lab, package};
pub use ssh::now;
pub use state::SOON;
pub use step_ca::StepCa;
pub use team::{TEAM, edited};
