//! From what PAM and the journal say to events: who came in and how, who was refused, what sudo ran.
//!
//! [`Engine`] takes records and journal entries in order, and gives events. It reads nothing and writes nothing, so that
//! a test can have it see anything; [`Records`] reads the files of the PAM module. The log of events is the cursor: each
//! event says what it was made of, and [`Told`] is what the log has of them.

mod auth;
mod connections;
mod denials;
mod engine;
mod journal;
mod pairs;
mod records;
mod sessions;
mod told;

pub use engine::{Engine, Host, Position};
pub use journal::{Entry, EntryError, FIELDS, MATCHES, Speaker};
pub use records::{FilePosition, Place, Read, Records, RecordsError};
pub use sessions::Sessions;
pub use told::Told;
