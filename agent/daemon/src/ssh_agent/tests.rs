//! The agent's own socket with a script in the issuer's place. Clients of OpenSSH, and the backend for real, are for the
//! contract tests.

mod script;
mod serving;

pub use script::{Ca, Script};
