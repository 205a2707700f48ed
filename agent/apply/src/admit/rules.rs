//! What is demanded beyond TUF: one version number for all, no delegations, no fall of the version but after the
//! targets keys were replaced, no second content of one version.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use tough::Repository;
use tough::schema::{RoleKeys, RoleType, Root, Signed, Snapshot, Targets, Timestamp};

use super::refusal::{Refusal, Role};
use crate::store::Committed;

/// Holds verified metadata against these rules.
pub fn check(repository: &Repository, committed: Option<&Committed>) -> Result<(), Refusal> {
    if !repository.root().signed.consistent_snapshot {
        return Err(Refusal::NotConsistent);
    }
    let targets = &repository.targets().signed;
    if targets.delegations.as_ref().is_some_and(|delegations| !delegations.roles.is_empty()) {
        return Err(Refusal::Delegations);
    }
    let timestamp = repository.timestamp().signed.version.get();
    let snapshot = repository.snapshot().signed.version.get();
    if timestamp != snapshot || snapshot != targets.version.get() {
        return Err(Refusal::VersionsDiffer { timestamp, snapshot, targets: targets.version.get() });
    }
    match committed {
        Some(committed) => follows(repository, committed, timestamp),
        None => Ok(()),
    }
}

fn follows(repository: &Repository, committed: &Committed, version: u64) -> Result<(), Refusal> {
    if version < committed.version {
        let before: Signed<Root> = parse(&committed.root, Role::Root)?;
        if targets_keys_replaced(&before.signed, &repository.root().signed) {
            return Ok(());
        }
        return Err(Refusal::Rollback {
            role: Role::Targets,
            offered: version,
            committed: committed.version,
        });
    }
    if version > committed.version {
        return Ok(());
    }
    let offered =
        (&repository.targets().signed, &repository.snapshot().signed, &repository.timestamp().signed);
    let other = |role| Err(Refusal::SameVersion { role, version });
    if parse::<Targets>(&committed.targets, Role::Targets)?.signed != *offered.0 {
        return other(Role::Targets);
    }
    if parse::<Snapshot>(&committed.snapshot, Role::Snapshot)?.signed != *offered.1 {
        return other(Role::Snapshot);
    }
    if parse::<Timestamp>(&committed.timestamp, Role::Timestamp)?.signed != *offered.2 {
        return other(Role::Timestamp);
    }
    Ok(())
}

/// Whether those who held the old targets keys cannot sign targets any more: of the old keys fewer than the old
/// threshold are left.
fn targets_keys_replaced(before: &Root, after: &Root) -> bool {
    let keys = |root: &Root| -> BTreeSet<Vec<u8>> {
        let role: Option<&RoleKeys> = root.roles.get(&RoleType::Targets);
        role.map(|role| role.keyids.iter().map(|id| id.to_vec()).collect()).unwrap_or_default()
    };
    let threshold = before.roles.get(&RoleType::Targets).map_or(1, |role| role.threshold.get());
    let left = keys(before).intersection(&keys(after)).count();
    (left as u64) < threshold
}

fn parse<T: DeserializeOwned>(text: &str, role: Role) -> Result<Signed<T>, Refusal> {
    serde_json::from_str(text).map_err(|_| Refusal::Malformed(role))
}
