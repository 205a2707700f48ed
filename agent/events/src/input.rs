//! What an event was made of. The log is the cursor: who reads a source finds here what it made events of already.

use serde::{Deserialize, Serialize};

/// Where what an event was made of stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The records that the PAM module writes, wherever they are.
    Records,
    /// The journal.
    Journal,
    /// What root says of who has which grant.
    Grants,
}

/// What an event was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where it stood.
    pub source: Source,
    /// Which it is: the id of a record, the cursor of an entry, which change of a grant. Of an event that is made of several, the last.
    pub id: String,
    /// Where to read on for somebody who knows of this event alone, if that is not behind `id`: there are entries before
    /// it of which no event was made yet.
    pub from: Option<String>,
}
