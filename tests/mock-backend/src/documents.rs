//! The documents of a policy: target names and their bytes, in shards.

use std::collections::BTreeMap;

use bytes::Bytes;
use hostward_protocol::document::{self, Kind, MAX_SHARDS};

use crate::digest::sha256_hex;
use crate::policy::{Item, Policy, SshLists, json};

/// Targets by name.
pub type Documents = BTreeMap<String, Bytes>;

/// How many shards each kind is split into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shards {
    users: u32,
    groups: u32,
    grants: u32,
}

impl Shards {
    /// The counts that published target names show.
    pub fn of<'a>(names: impl Iterator<Item = &'a String>) -> Shards {
        let mut shards = Shards::default();
        for name in names {
            match Kind::of_target(name) {
                Some((Kind::Users, Some(n))) => shards.users = shards.users.max(n + 1),
                Some((Kind::Groups, Some(n))) => shards.groups = shards.groups.max(n + 1),
                Some((Kind::Grants, Some(n))) => shards.grants = shards.grants.max(n + 1),
                _ => {}
            }
        }
        for count in [&mut shards.users, &mut shards.groups, &mut shards.grants] {
            // Whole documents of the `raw` table may leave gaps.
            if !count.is_power_of_two() {
                *count = 0;
            }
        }
        shards
    }

    /// The counts for a policy. A count stays while it is within a factor of two of the ideal, so that a
    /// user more or less does not change every document.
    pub fn choose(policy: &Policy, before: Shards) -> Shards {
        Shards {
            users: shard_count(policy.users.len(), before.users),
            groups: shard_count(policy.groups.len(), before.groups),
            grants: shard_count(policy.grants.len(), before.grants),
        }
    }
}

/// A power of two near the square root of twice the number of entries: it makes the sum of one shard and
/// the list of all shards smallest.
fn shard_count(entries: usize, before: u32) -> u32 {
    let ideal = (2.0 * entries as f64).sqrt().max(1.0);
    if before > 0 && (0.5..2.0).contains(&(ideal / f64::from(before))) {
        return before;
    }
    let exponent = ideal.log2().round() as u32;
    let most = u32::try_from(entries.max(1)).unwrap_or(MAX_SHARDS);
    (1 << exponent.min(31)).min(most.min(MAX_SHARDS).next_power_of_two())
}

/// What is wrong on purpose in the documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaws {
    /// Another project id.
    pub project: Option<String>,
    /// Members that no version knows.
    pub unknown_members: bool,
    /// Kinds with a major version that no host knows; empty for none.
    pub unknown_major: Vec<Kind>,
    /// Targets that are padded beyond the limit of their kind, by prefix.
    pub oversized: Option<String>,
}

/// All targets of a policy. `ssh` holds the CAs and revocations to publish besides those of the policy.
pub fn assemble(policy: &Policy, ssh: &SshLists, shards: Shards, flaws: &Flaws) -> Documents {
    let writer = Writer { flaws };
    let mut documents = Documents::new();
    documents.insert(Kind::Project.target(None), writer.project(policy));
    for (kind, items, count) in [
        (Kind::Users, &policy.users, shards.users),
        (Kind::Groups, &policy.groups, shards.groups),
        (Kind::Grants, &policy.grants, shards.grants),
    ] {
        writer.shards(kind, items, count.max(1), &mut documents);
    }
    let entitlements = policy.entitlements.iter();
    let entitlements: Vec<&str> = entitlements.map(|item| item.json.as_str()).collect();
    let bytes = writer.list(Kind::Entitlements, &entitlements);
    documents.insert(Kind::Entitlements.target(None), bytes);
    documents.insert(Kind::Ssh.target(None), writer.ssh(&policy.ssh, ssh));
    if !policy.services.is_empty() {
        let services: Vec<&str> = policy.services.iter().map(|item| item.json.as_str()).collect();
        documents.insert(Kind::Services.target(None), writer.list(Kind::Services, &services));
    }
    for (name, content) in &policy.documents {
        documents.insert(name.clone(), Bytes::from(content.clone()));
    }
    if let Some(prefix) = &flaws.oversized {
        oversize(&mut documents, prefix);
    }
    documents
}

struct Writer<'a> {
    flaws: &'a Flaws,
}

impl Writer<'_> {
    fn head(&self, kind: Kind) -> String {
        let major = if self.flaws.unknown_major.contains(&kind) { 2 } else { 1 };
        let schema = json(&document::schema(kind, major));
        let unknown = if self.flaws.unknown_members {
            r#""x-unknown":{"since":"a later version","list":[1,null,{}]},"#
        } else {
            ""
        };
        format!("{{{unknown}\"schema\":{schema}")
    }

    fn project(&self, policy: &Policy) -> Bytes {
        let id = self.flaws.project.as_ref().unwrap_or(&policy.project);
        let head = self.head(Kind::Project);
        let (id, settings) = (json(id), json(&policy.settings));
        Bytes::from(format!("{head},\"id\":{id},\"settings\":{settings}}}\n"))
    }

    fn shards(&self, kind: Kind, items: &[Item], count: u32, documents: &mut Documents) {
        let mut shards: Vec<Vec<&Item>> = vec![Vec::new(); count as usize];
        for item in items {
            shards[shard_of(&item.id, count)].push(item);
        }
        for (number, mut shard) in (0..).zip(shards) {
            shard.sort();
            let entries: Vec<&str> = shard.iter().map(|item| item.json.as_str()).collect();
            let bytes = self.list(kind, &entries);
            documents.insert(kind.target(Some(number)), bytes);
        }
    }

    fn list(&self, kind: Kind, entries: &[&str]) -> Bytes {
        let name = kind.name();
        let list = self.entries(entries);
        Bytes::from(format!("{},\"{name}\":{list}}}\n", self.head(kind)))
    }

    fn entries<S: AsRef<str>>(&self, entries: &[S]) -> String {
        let mut text = String::from("[");
        for (n, entry) in entries.iter().enumerate() {
            text.push_str(if n == 0 { "\n" } else { ",\n" });
            match entry.as_ref().strip_prefix('{') {
                Some(rest) if self.flaws.unknown_members && rest.trim_start().starts_with('"') => {
                    text.push_str(r#"{"x-unknown":true,"#);
                    text.push_str(rest);
                }
                _ => text.push_str(entry.as_ref()),
            }
        }
        text.push(']');
        text
    }

    fn ssh(&self, policy: &SshLists, own: &SshLists) -> Bytes {
        let joined = |own: &[String], policy: &[String]| self.entries(&[own, policy].concat());
        Bytes::from(format!(
            "{},\"user_cas\":{},\"host_cas\":{},\"revoked\":{{\"serials\":{},\"key_ids\":{},\"keys\":{}}}}}\n",
            self.head(Kind::Ssh),
            joined(&own.user_cas, &policy.user_cas),
            joined(&own.host_cas, &policy.host_cas),
            joined(&own.serials, &policy.serials),
            joined(&own.key_ids, &policy.key_ids),
            joined(&own.keys, &policy.keys),
        ))
    }
}

fn shard_of(id: &str, count: u32) -> usize {
    let digest = sha256_hex(id.as_bytes());
    let number = u32::from_str_radix(&digest[..8], 16).unwrap_or(0);
    (number & (count - 1)) as usize
}

/// Pads the first target whose name starts with `prefix` beyond what a host reads of its kind.
fn oversize(documents: &mut Documents, prefix: &str) {
    let target = documents.iter_mut().find(|(name, _)| name.starts_with(prefix));
    let Some((name, bytes)) = target else { return };
    let limit = Kind::of_target(name).map_or(16 << 20, |(kind, _)| kind.max_len());
    let mut padded = bytes.to_vec();
    padded.resize(usize::try_from(limit).unwrap_or(usize::MAX) + 1, b' ');
    *bytes = Bytes::from(padded);
}

#[cfg(test)]
mod tests;
