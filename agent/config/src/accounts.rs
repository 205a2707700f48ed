//! `[accounts]`: what the operator lets a policy do to accounts.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Limits on accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Ids that managed users and groups may have, as `"FIRST-LAST"`. What is reserved by the system is refused inside them too.
    pub id_ranges: Vec<IdRange>,
    /// Directories directly below which homes may be.
    pub home_parents: Vec<PathBuf>,
    /// Local groups that grants may put people into.
    pub allow_local_groups: Vec<String>,
}

impl Default for Accounts {
    fn default() -> Self {
        Accounts {
            id_ranges: vec![
                IdRange { first: 1000, last: 60_000 },
                IdRange { first: 65_536, last: 524_287 },
                IdRange { first: 1_879_048_192, last: 2_147_483_646 },
            ],
            home_parents: vec!["/home".into()],
            allow_local_groups: Vec::new(),
        }
    }
}

/// An inclusive range of user or group ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id in it.
    pub first: u32,
    /// The last id in it.
    pub last: u32,
}

impl IdRange {
    /// Whether the id is in the range.
    pub fn contains(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl Serialize for IdRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}-{}", self.first, self.last))
    }
}

impl<'de> Deserialize<'de> for IdRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let range = text.split_once('-').and_then(|(first, last)| {
            Some(IdRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        });
        match range {
            Some(range) if range.first <= range.last => Ok(range),
            _ => {
                Err(serde::de::Error::custom(format!("`{text}` is no range of ids such as \"70000-79999\"")))
            }
        }
    }
}
