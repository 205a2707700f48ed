//! The journal: what PAM cannot see.

mod entry;
pub(crate) mod sshd;
pub(crate) mod su;
pub(crate) mod sudo;

pub use entry::{Entry, EntryError, FIELDS, MATCHES, Speaker};
