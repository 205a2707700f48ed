//! Metadata of The Update Framework: its forms, and signatures over their canonical JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use olpc_cjson::CanonicalFormatter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::sha256_hex;
use crate::keys::{Key, KeyError, KeyRing, Role};

/// What a root says of the keys: ids by role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleKeys(pub BTreeMap<Role, Vec<String>>);

impl RoleKeys {
    /// The ids of a role's keys.
    pub fn of(&self, role: Role) -> &[String] {
        self.0.get(&role).map_or(&[], Vec::as_slice)
    }

    /// Reads them from the bytes of a `root.json`.
    pub fn read(bytes: &[u8]) -> Result<RoleKeys, serde_json::Error> {
        #[derive(Deserialize)]
        struct Signed {
            signed: Root,
        }
        #[derive(Deserialize)]
        struct Root {
            roles: BTreeMap<Role, Ids>,
        }
        #[derive(Deserialize)]
        struct Ids {
            keyids: Vec<String>,
        }
        let root: Signed = serde_json::from_slice(bytes)?;
        let roles = root.signed.roles.into_iter();
        Ok(RoleKeys(roles.map(|(role, ids)| (role, ids.keyids)).collect()))
    }
}

/// Version and expiry, which all metadata has.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// From 1.
    pub version: u64,
    /// To the second.
    pub expires: DateTime<Utc>,
}

/// A `root.json` before it is signed.
pub fn root(head: Head, keys: &RoleKeys, ring: &KeyRing) -> Result<Value, KeyError> {
    let mut public = BTreeMap::new();
    for id in keys.0.values().flatten() {
        public.insert(id.clone(), ring.key(id)?.public());
    }
    let roles: BTreeMap<&str, Value> = keys
        .0
        .iter()
        .map(|(role, ids)| {
            let entry = json!({ "keyids": ids, "threshold": role.threshold() });
            (role.name(), entry)
        })
        .collect();
    let body = json!({ "consistent_snapshot": true, "keys": public, "roles": roles });
    Ok(with_head(Role::Root, head, body))
}

/// A `targets.json` before it is signed: length and SHA-256 by name.
pub fn targets(head: Head, targets: &BTreeMap<String, (u64, String)>) -> Value {
    let entry =
        |(length, sha256): &(u64, String)| json!({ "length": length, "hashes": { "sha256": sha256 } });
    let targets: BTreeMap<&str, Value> =
        targets.iter().map(|(name, target)| (name.as_str(), entry(target))).collect();
    with_head(Role::Targets, head, json!({ "targets": targets }))
}

/// A `snapshot.json` or `timestamp.json` before it is signed, which names the metadata below it.
pub fn pointer(role: Role, head: Head, below: Role, bytes: &[u8]) -> Value {
    let name = format!("{}.json", below.name());
    let entry = json!({
        "version": head.version,
        "length": bytes.len(),
        "hashes": { "sha256": sha256_hex(bytes) },
    });
    with_head(role, head, json!({ "meta": { name: entry } }))
}

fn with_head(role: Role, head: Head, mut body: Value) -> Value {
    body["_type"] = role.name().into();
    body["spec_version"] = "1.0.0".into();
    body["version"] = head.version.into();
    let expires = head.expires.to_rfc3339_opts(SecondsFormat::Secs, true);
    body["expires"] = expires.into();
    body
}

/// One signature.
#[derive(Clone, Debug, Serialize)]
pub struct Signature {
    keyid: String,
    sig: String,
}

impl Signature {
    /// A true signature.
    pub fn by(key: &Key, message: &[u8]) -> Signature {
        Signature { keyid: key.id.clone(), sig: key.sign(message) }
    }

    /// A signature by `key` that claims to be of the key `id`.
    pub fn forged(key: &Key, id: &str, message: &[u8]) -> Signature {
        Signature { keyid: id.to_owned(), sig: key.sign(message) }
    }
}

/// The bytes that are published.
pub fn envelope(signed: &Value, signatures: &[Signature]) -> Vec<u8> {
    json!({ "signed": signed, "signatures": signatures }).to_string().into_bytes()
}

/// Canonical JSON, over which signatures and key ids are made.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, CanonicalFormatter::new());
    // Only writing could fail, and this writes to memory.
    let _ = value.serialize(&mut serializer);
    bytes
}
