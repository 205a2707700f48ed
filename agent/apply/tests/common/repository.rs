//! A project's TUF repository, signed for real, that can be made wrong in every way.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use chrono::{DateTime, TimeDelta, Utc};
use olpc_cjson::CanonicalFormatter;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Root,
    Timestamp,
    Snapshot,
    Targets,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets];

    pub fn word(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Timestamp => "timestamp",
            Role::Snapshot => "snapshot",
            Role::Targets => "targets",
        }
    }
}

pub struct Key(Ed25519KeyPair);

impl Key {
    pub fn new() -> Key {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Key(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn object(&self) -> Value {
        let public = hex(self.0.public_key().as_ref());
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } })
    }

    fn id(&self) -> String {
        hex(&Sha256::digest(canonical(&self.object())))
    }
}

/// Keys, threshold and expiry of a role.
pub struct RoleState {
    pub keys: Vec<Key>,
    pub threshold: u64,
    pub expires: DateTime<Utc>,
    /// Signs with these instead, where a test wants a wrong signature.
    pub signers: Option<Vec<Key>>,
}

pub struct Repository {
    pub roles: BTreeMap<Role, RoleState>,
    pub version: u64,
    /// Versions that differ from `version`, where a test wants that.
    pub versions: BTreeMap<Role, u64>,
    pub consistent: bool,
    /// Members that are added to the targets metadata.
    pub targets_extra: Option<(String, Value)>,
    pub documents: BTreeMap<String, Vec<u8>>,
    /// Every published root, by version.
    pub roots: BTreeMap<u64, Vec<u8>>,
}

impl Repository {
    /// A repository with one key per role and these documents, at version 1.
    pub fn new(documents: BTreeMap<String, Vec<u8>>) -> Repository {
        let role = || RoleState {
            keys: vec![Key::new()],
            threshold: 1,
            expires: Utc::now() + TimeDelta::days(1),
            signers: None,
        };
        let mut repository = Repository {
            roles: Role::ALL.into_iter().map(|r| (r, role())).collect(),
            version: 1,
            versions: BTreeMap::new(),
            consistent: true,
            targets_extra: None,
            documents,
            roots: BTreeMap::new(),
        };
        repository.publish_root(&[]);
        repository
    }

    pub fn role(&mut self, role: Role) -> &mut RoleState {
        self.roles.get_mut(&role).unwrap()
    }

    /// Replaces the keys of a role; the new root is signed by the old root keys too.
    pub fn rotate(&mut self, role: Role) {
        let old_root_keys = if role == Role::Root {
            std::mem::replace(&mut self.role(role).keys, vec![Key::new()])
        } else {
            self.role(role).keys = vec![Key::new()];
            Vec::new()
        };
        self.publish_root(&old_root_keys);
    }

    /// Publishes the next root, signed by the root keys and `also`.
    pub fn publish_root(&mut self, also: &[Key]) {
        let version = self.roots.keys().next_back().map_or(1, |v| v + 1);
        let mut keys = serde_json::Map::new();
        let mut roles = serde_json::Map::new();
        for (role, state) in &self.roles {
            for key in &state.keys {
                keys.insert(key.id(), key.object());
            }
            let ids: Vec<String> = state.keys.iter().map(Key::id).collect();
            roles.insert(role.word().into(), json!({ "keyids": ids, "threshold": state.threshold }));
        }
        let state = &self.roles[&Role::Root];
        let root = json!({
            "_type": "root", "spec_version": "1.0.0", "version": version,
            "consistent_snapshot": self.consistent, "expires": text(state.expires),
            "keys": keys, "roles": roles,
        });
        let signers = state.signers.as_ref().unwrap_or(&state.keys);
        self.roots.insert(version, sign(root, signers.iter().chain(also)));
    }

    pub fn root_version(&self) -> u64 {
        *self.roots.keys().next_back().unwrap()
    }

    pub fn sha256_of_root(&self, version: u64) -> String {
        hex(&Sha256::digest(&self.roots[&version]))
    }

    fn version_of(&self, role: Role) -> u64 {
        self.versions.get(&role).copied().unwrap_or(self.version)
    }

    fn signed(&self, role: Role, mut value: Value) -> Vec<u8> {
        let state = &self.roles[&role];
        value["_type"] = json!(role.word());
        value["spec_version"] = json!("1.0.0");
        value["version"] = json!(self.version_of(role));
        value["expires"] = json!(text(state.expires));
        sign(value, state.signers.as_ref().unwrap_or(&state.keys))
    }

    /// All files of the present version, by name.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut targets = serde_json::Map::new();
        for (name, bytes) in &self.documents {
            let sha256 = hex(&Sha256::digest(bytes));
            targets.insert(name.clone(), json!({ "length": bytes.len(), "hashes": { "sha256": sha256 } }));
            files.insert(format!("{sha256}.{name}"), bytes.clone());
        }
        let mut value = json!({ "targets": targets });
        if let Some((member, extra)) = &self.targets_extra {
            value[member] = extra.clone();
        }
        let targets = self.signed(Role::Targets, value);
        let snapshot = self.signed(
            Role::Snapshot,
            json!({ "meta": { "targets.json": self.meta(Role::Targets, &targets) } }),
        );
        let timestamp = self.signed(
            Role::Timestamp,
            json!({ "meta": { "snapshot.json": self.meta(Role::Snapshot, &snapshot) } }),
        );
        files.insert(format!("{}.targets.json", self.version_of(Role::Targets)), targets);
        files.insert(format!("{}.snapshot.json", self.version_of(Role::Snapshot)), snapshot);
        files.insert("timestamp.json".into(), timestamp);
        for (version, root) in &self.roots {
            files.insert(format!("{version}.root.json"), root.clone());
        }
        files
    }

    fn meta(&self, role: Role, bytes: &[u8]) -> Value {
        json!({
            "version": self.version_of(role), "length": bytes.len(),
            "hashes": { "sha256": hex(&Sha256::digest(bytes)) },
        })
    }
}

pub fn write(directory: &Path, files: &BTreeMap<String, Vec<u8>>, owner: u32) {
    for (name, bytes) in files {
        let path = directory.join(name);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    }
}

fn sign<'a>(value: Value, keys: impl IntoIterator<Item = &'a Key>) -> Vec<u8> {
    let bytes = canonical(&value);
    let signatures: Vec<Value> = keys
        .into_iter()
        .map(|key| json!({ "keyid": key.id(), "sig": hex(key.0.sign(&bytes).as_ref()) }))
        .collect();
    serde_json::to_vec(&json!({ "signed": value, "signatures": signatures })).unwrap()
}

fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, CanonicalFormatter::new());
    value.serialize(&mut serializer).unwrap();
    bytes
}

fn text(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
