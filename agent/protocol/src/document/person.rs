//! `users-NN.json` and `groups-NN.json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Document, Entry, Kind};

/// One shard of the users, schema `hostward/users/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// `hostward/users/1`
    pub schema: String,
    /// The users of this shard.
    pub users: Vec<Entry<User>>,
}

impl Document for Users {
    const KIND: Kind = Kind::Users;
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Stable id, never reused for another person.
    pub id: String,
    /// Login name.
    pub name: String,
    /// Numeric user id, the same on every host of the project.
    pub uid: u64,
    /// Numeric primary group id.
    pub gid: u64,
    /// Full name, the comment field of passwd(5).
    #[serde(default)]
    pub gecos: String,
    /// Home directory; the project's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Login shell; the project's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Whether the user may log in at all.
    #[serde(default)]
    pub status: UserStatus,
    /// Principals of the user's certificates, any of which lets the user in.
    #[serde(default)]
    pub principals: Vec<String>,
    /// From this moment the user may not log in any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
    /// Subordinate ids, which the user may map into user namespaces; uids as well as gids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subids: Vec<SubidRange>,
}

/// Consecutive ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubidRange {
    /// The first of them.
    pub start: u64,
    /// How many there are.
    pub count: u64,
}

/// Whether a user may log in at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserStatus {
    /// As the grants say.
    #[default]
    Active,
    /// Nowhere, whatever the grants say; the uid stays theirs.
    Suspended,
}

/// One shard of the groups, schema `hostward/groups/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// `hostward/groups/1`
    pub schema: String,
    /// The groups of this shard.
    pub groups: Vec<Entry<Group>>,
}

impl Document for Groups {
    const KIND: Kind = Kind::Groups;
}

/// A group of people, a POSIX group on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Stable id.
    pub id: String,
    /// Group name.
    pub name: String,
    /// Numeric group id.
    pub gid: u64,
    /// Ids of the members.
    #[serde(default)]
    pub members: Vec<String>,
}
