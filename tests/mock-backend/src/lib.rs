//! A backend for hostward, real in all it does: it publishes a signed policy made from one readable file,
//! enrolls hosts, takes their reports and signs SSH certificates. It can be told to misbehave.
//!
//! It is made for tests and demonstrations: all keys lie unprotected in one directory.

pub mod backend;
pub mod client;
pub mod control;
pub mod credential;
mod digest;
pub mod documents;
pub mod faults;
pub mod file;
pub mod http;
mod issue;
pub mod keys;
pub mod metadata;
pub mod policy;
pub mod publisher;
pub mod reach;
pub mod registry;
pub mod repository;
pub mod server;
pub mod ssh;
mod targets;
pub mod team;
pub mod tls;
mod watch;

/// Tells whoever runs the backend.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
