//! Steps for what is said of local accounts that stand for users.
//!
//! The agent believes the bindings, so that one that ends goes first and one that begins comes last, after what the
//! account's ssh needs for it.

use std::collections::HashSet;

use hostward_protocol::service::{BoundService, BoundServices};

use super::Steps;
use super::files::{is_as_wanted, write};
use crate::desired::Services;
use crate::facts::{Facts, FileFact, ManagedFile};

pub(super) fn replace(services: Option<&Services>, facts: &Facts, steps: &mut Steps) {
    let Some(services) = services else {
        remove(facts, steps);
        return;
    };
    known_hosts(&services.known_hosts, facts, steps);
    if !is_as_wanted(facts.files.get(&ManagedFile::ClientConfig), &services.client_config) {
        steps.widen(write(ManagedFile::ClientConfig, &services.client_config), "");
    }
    bindings(&services.bound, facts, steps);
}

/// Takes all of it away.
fn remove(facts: &Facts, steps: &mut Steps) {
    steps.remove(ManagedFile::Services, facts);
    steps.remove(ManagedFile::ClientConfig, facts);
    steps.remove(ManagedFile::KnownHosts, facts);
}

fn bindings(wanted: &[BoundService], facts: &Facts, steps: &mut Steps) {
    const FILE: ManagedFile = ManagedFile::Services;
    let fact = facts.files.get(&FILE);
    if is_as_wanted(fact, &Services::json(wanted)) {
        return;
    }
    // What cannot be read gives nothing that could be kept.
    let present = fact.and_then(read).unwrap_or_default();
    let kept = common(&present, wanted);
    let (gone, added) = (differ(&present, &kept), differ(wanted, &kept));
    if fact.is_some() && (added == 0 || !is_as_wanted(fact, &Services::json(&kept))) {
        steps.narrow(write(FILE, &Services::json(&kept)), counted('-', gone));
    }
    if added > 0 {
        steps.widen(write(FILE, &Services::json(wanted)), counted('+', added));
    }
}

fn read(fact: &FileFact) -> Option<Vec<BoundService>> {
    serde_json::from_slice::<BoundServices>(&fact.content).ok().map(|bound| bound.services)
}

/// What both give: the same user of the same issuer for the same uid, and of principals those of both.
fn common(present: &[BoundService], wanted: &[BoundService]) -> Vec<BoundService> {
    let both = |service: &BoundService| {
        let same = |old: &&BoundService| {
            old.uid == service.uid && old.user == service.user && old.issuer == service.issuer
        };
        let old = present.iter().find(same)?;
        let principals = service.principals.iter().filter(|p| old.principals.contains(p)).cloned().collect();
        Some(BoundService { principals, ..service.clone() })
    };
    wanted.iter().filter_map(both).filter(|service| !service.principals.is_empty()).collect()
}

/// How many of `services` are not as in `kept`.
fn differ(services: &[BoundService], kept: &[BoundService]) -> usize {
    services.iter().filter(|service| !kept.contains(service)).count()
}

fn counted(sign: char, count: usize) -> String {
    match count {
        0 => String::new(),
        1 => format!("{sign}1 service"),
        count => format!("{sign}{count} services"),
    }
}

/// CAs that are trusted no longer go, and what is revoked comes, before any other CA is trusted.
fn known_hosts(wanted: &str, facts: &Facts, steps: &mut Steps) {
    const FILE: ManagedFile = ManagedFile::KnownHosts;
    let fact = facts.files.get(&FILE);
    if is_as_wanted(fact, wanted) {
        return;
    }
    let present = fact.map(|fact| String::from_utf8_lossy(&fact.content)).unwrap_or_default();
    let old: HashSet<&str> = present.lines().collect();
    let stays = |line: &&str| !line.starts_with("@cert-authority") || old.contains(line);
    let kept: String = wanted.lines().filter(stays).map(|line| format!("{line}\n")).collect();
    if fact.is_some() && (kept == wanted || !is_as_wanted(fact, &kept)) {
        steps.narrow(write(FILE, &kept), "");
    }
    if kept != wanted || fact.is_none() {
        steps.widen(write(FILE, wanted), "");
    }
}
