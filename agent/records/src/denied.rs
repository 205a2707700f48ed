//! Why managed users may not come in, from root to the PAM module: `/var/lib/hostward/denied.json`.
//!
//! The account database only holds whom the policy admits. This says of the others whom the host has known what the
//! matter is, so that they are told. Everybody may read it; it holds names, uids and moments.

use serde::{Deserialize, Serialize};

use crate::record::Reason;

/// Where it is; absent where there is nothing to say.
pub const DENIED_PATH: &str = "/var/lib/hostward/denied.json";
/// [`Denied::schema`] of this version.
pub const DENIED_SCHEMA: &str = "hostward/denied/1";
/// A file that is larger is not read, in bytes.
pub const DENIED_BOUND: u64 = 8 << 20;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// [`DENIED_SCHEMA`].
    pub schema: String,
    /// The policy is older than `max_offline`, and `on_stale` is `lock`: nobody of the managed users comes in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Ascending by uid, each uid once.
    #[serde(default)]
    pub people: Vec<DeniedPerson>,
}

/// Somebody whom the policy knows and does not let in, or will not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedPerson {
    /// The login name.
    pub name: String,
    /// The uid.
    pub uid: u32,
    /// Why.
    pub reason: Reason,
    /// Unix seconds at which what was allowed ended or ends: until then this is no reason. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Denied {
    /// The file of `people`; nothing where there is nothing to say.
    pub fn of(mut people: Vec<DeniedPerson>, stale: bool) -> Option<Self> {
        people.sort_by_key(|person| person.uid);
        (stale || !people.is_empty()).then(|| Self { schema: DENIED_SCHEMA.into(), stale, people })
    }

    /// Its content.
    pub fn json(&self) -> String {
        // Names, numbers and words: nothing in it can fail to be written.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// Of the file's content; `None` for what is damaged or of another version.
    pub fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(content).ok().filter(|denied| denied.schema == DENIED_SCHEMA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_is_written_and_read() {
        let person = |name: &str, uid, reason, until| DeniedPerson { name: name.into(), uid, reason, until };
        let people = vec![
            person("bob", 70002, Reason::Expired, Some(1_790_000_000)),
            person("alice", 70001, Reason::Suspended, None),
        ];
        let denied = Denied::of(people, true).unwrap();
        let text = include_str!("../tests/golden/denied-1.json");
        assert_eq!(denied.json(), text);
        assert_eq!(Denied::parse(text.as_bytes()), Some(denied));
        assert_eq!(Denied::parse(&text.as_bytes()[..40]), None);
        assert_eq!(Denied::parse(text.replace("denied/1", "denied/2").as_bytes()), None);
        assert_eq!(Denied::of(Vec::new(), false), None);
    }
}
