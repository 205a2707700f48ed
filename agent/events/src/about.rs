//! Objects that events are about.

use serde_json::{Value, json};

use crate::ocsf;

/// A person's account on this host.
pub(crate) fn user(name: &str, uid: u32) -> Value {
    json!({ "name": ocsf::text(name), "uid": uid.to_string(), "type_id": 1, "type": "User" })
}

/// A group on this host.
pub(crate) fn group(name: &str, gid: u32) -> Value {
    json!({ "name": ocsf::text(name), "uid": gid.to_string() })
}

/// Something else that is managed. The schema has numbers for few kinds of them, so the kind is a word.
pub(crate) fn entity(kind: &str, name: &str) -> Value {
    json!({ "type_id": 99, "type": kind, "name": ocsf::text(name) })
}

/// The same with an id of its own.
pub(crate) fn entity_with_id(kind: &str, name: &str, uid: &str) -> Value {
    json!({ "type_id": 99, "type": kind, "name": ocsf::text(name), "uid": ocsf::text(uid) })
}
