//! Why people whom the host has known may not come in, for the PAM module.
//!
//! Those who never had an account here are not named: no process of theirs can ask.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hostward_protocol::document;
use hostward_records::{Denied, DeniedPerson, Reason};

use crate::facts::Facts;
use crate::resolve::grants::{GrantEntry, GrantState};
use crate::resolve::people::{People, Standing};

/// The file; `None` where there is nothing to say.
pub(crate) fn denied(
    people: &People<'_>,
    grants: &[GrantEntry<'_>],
    facts: &Facts,
    locked: bool,
) -> Option<Denied> {
    let windows = windows(people, grants);
    let mut denied = Vec::new();
    for (number, (user, standing)) in people.entries.iter().enumerate() {
        let (reason, until) = match standing {
            Standing::Suspended => (Reason::Suspended, None),
            Standing::Expired => (Reason::Expired, user.expires.map(seconds)),
            Standing::NoGrant => match windows.get(&number) {
                Some(until) => (Reason::OutsideWindow, until.map(seconds)),
                None => continue,
            },
            // The database says when, and this why it is not a window that ends.
            Standing::Admitted(position) => match expires_first(people, *position, user) {
                Some(expires) => (Reason::Expired, Some(expires)),
                None => continue,
            },
            Standing::Refused(_) => continue,
        };
        if let Some(uid) = known(user, standing, facts) {
            denied.push(DeniedPerson { name: user.name.clone(), uid, reason, until });
        }
    }
    // Two entries with one uid are both refused, and so is nobody known by it.
    denied.sort_by_key(|person| person.uid);
    denied.dedup_by_key(|person| person.uid);
    Denied::of(denied, locked)
}

/// Who had a grant here until some moment, or has one that begins later (`None`), by position among the entries.
fn windows(people: &People<'_>, grants: &[GrantEntry<'_>]) -> HashMap<usize, Option<DateTime<Utc>>> {
    let mut windows: HashMap<usize, Option<DateTime<Utc>>> = HashMap::new();
    for grant in grants.iter().filter(|grant| grant.document.login) {
        let (group, ended) = match grant.state {
            GrantState::Over(group, until) => (group, Some(until)),
            GrantState::NotYet(group, _) => (group, None),
            GrantState::InForce(_) | GrantState::OtherHosts | GrantState::Refused => continue,
        };
        for user in people.members_of(group) {
            let known = windows.entry(*user as usize).or_default();
            *known = (*known).max(ended);
        }
    }
    windows
}

fn expires_first(people: &People<'_>, position: usize, user: &document::User) -> Option<u64> {
    let expires = seconds(user.expires?);
    (people.admitted.get(position)?.valid_until == expires).then_some(expires)
}

/// The uid of somebody who has, had, or is about to have it here, with this name.
fn known(user: &document::User, standing: &Standing, facts: &Facts) -> Option<u32> {
    let uid = u32::try_from(user.uid).ok()?;
    if matches!(standing, Standing::Admitted(_)) {
        return Some(uid);
    }
    facts.ledger.people.get(&uid).filter(|known| known.id == user.id && known.name == user.name).map(|_| uid)
}

fn seconds(moment: DateTime<Utc>) -> u64 {
    u64::try_from(moment.timestamp()).unwrap_or(1)
}
