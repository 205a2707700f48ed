//! Objects that events are about.

use serde_json::{Value, json};

use crate::ocsf;

/// A person's account on this host.
pub(crate) fn user(name: &str, uid: u32) -> Value {
    json!({ "name": ocsf::text(name), "uid": uid.to_string(), "type_id": 1, "type": "User" })
}

/// A group on this host. The schema's class for groups is about who is put into one, which is not always known.
pub(crate) fn group(name: &str, gid: u32) -> Value {
    let (name, gid) = (ocsf::text(name), gid.to_string());
    json!({ "type_id": 3, "type": "Group", "name": name, "uid": gid, "group": { "name": name, "uid": gid } })
}

/// Something else that is managed. The schema has numbers for few kinds of them, so the kind is a word.
pub(crate) fn entity(kind: &str, name: &str) -> Value {
    json!({ "type_id": 99, "type": kind, "name": ocsf::text(name) })
}

/// The same with an id of its own.
pub(crate) fn entity_with_id(kind: &str, name: &str, uid: &str) -> Value {
    json!({ "type_id": 99, "type": kind, "name": ocsf::text(name), "uid": ocsf::text(uid) })
}
