//! A small policy: alice and bob in one group, which may log in everywhere and run one command.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// High enough that no account of the machine that runs the tests has it.
pub const ALICE: u32 = 1_950_000_001;
pub const BOB: u32 = 1_950_000_002;
pub const GROUP: u32 = 1_950_000_100;
pub const PROJECT: &str = "p-test";

pub type Documents = BTreeMap<String, Vec<u8>>;

pub fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

pub fn user(id: &str, name: &str, uid: u32) -> Value {
    json!({ "id": id, "name": name, "uid": uid, "gid": GROUP, "principals": [name] })
}

/// Documents with these users, all in one group that is granted login and one sudo command.
pub fn documents(users: &[Value]) -> Documents {
    let ids: Vec<&Value> = users.iter().map(|user| &user["id"]).collect();
    let settings = json!({ "empty": users.is_empty(), "certificate_only": true });
    [
        ("project.json", json!({ "schema": "hostward/project/1", "id": PROJECT, "settings": settings })),
        ("users-00.json", json!({ "schema": "hostward/users/1", "users": users })),
        ("users-01.json", json!({ "schema": "hostward/users/1", "users": [] })),
        (
            "groups-00.json",
            json!({ "schema": "hostward/groups/1", "groups": [
                { "id": "g1", "name": "team", "gid": GROUP, "members": ids }] }),
        ),
        (
            "grants-00.json",
            json!({ "schema": "hostward/grants/1", "grants": [
                { "id": "a1", "group": "g1", "login": true, "entitlements": ["restart"] }] }),
        ),
        (
            "entitlements.json",
            json!({ "schema": "hostward/entitlements/1", "entitlements": [
                { "name": "restart", "commands": [{ "executable": "/usr/bin/id", "arguments": "none" }] }] }),
        ),
        ("ssh.json", json!({ "schema": "hostward/ssh/1", "user_cas": [CA], "host_cas": [], "revoked": {} })),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), bytes(&value)))
    .collect()
}

pub const CA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO4oZS/VWI4rwlhLR0JfBoe7pfMeJARDowR2eOz1QVpo ca";

pub fn alice_and_bob() -> Documents {
    documents(&[user("u1", "alice", ALICE), user("u2", "bob", BOB)])
}

pub fn only_alice() -> Documents {
    documents(&[user("u1", "alice", ALICE)])
}
