//! Which homes of former users are archived or deleted, and when the next one is due.
//!
//! Deleting is for ever, so whatever is doubtful stays: a home that is anybody else's by now, that is not where this
//! host allows homes, or whose owner's entry is only refused.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_config::Config;
use hostward_protocol::document::HomeRemoval;

use crate::account::home::{HomePath, HomeRules};
use crate::desired::Desired;
use crate::facts::Facts;
use crate::ledger::{Ledger, Person};
use crate::step::Step;

/// What is due, and when something will be.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) steps: Vec<Step>,
    pub(super) next: Option<DateTime<Utc>>,
}

pub(super) fn due(
    desired: &Desired,
    config: &Config,
    facts: &Facts,
    ledger: &Ledger,
    now: DateTime<Utc>,
) -> Due {
    let mut due = Due::default();
    let removal = &desired.settings.removal;
    if removal.homes == HomeRemoval::Keep || desired.locked {
        return due;
    }
    let rules = HomeRules::new(&config.accounts.home_parents);
    let in_use = homes_in_use(desired, facts, ledger);
    let local: HashSet<u32> = facts.local_users.iter().map(|user| user.uid).collect();
    for (uid, home) in &facts.homes {
        let Some((person, left)) = ledger.people.get(uid).and_then(|person| Some((person, person.left?)))
        else {
            continue;
        };
        let is_theirs = home.to_str() == Some(&person.home)
            && HomePath::parse(person.home.as_str().into(), &rules)
                .is_ok_and(|home| home.as_str() == person.home)
            && !in_use.contains(person.home.as_str());
        let spared = person.home_settled
            || desired.ids.contains_key(uid)
            || desired.withheld.contains(&person.id)
            || local.contains(uid);
        if !is_theirs || spared {
            continue;
        }
        let grace = i64::try_from(removal.grace).ok().and_then(TimeDelta::try_seconds);
        match grace.and_then(|grace| left.checked_add_signed(grace)) {
            Some(moment) if moment <= now => due.steps.push(step(removal.homes, *uid, person)),
            Some(moment) => due.next = Some(due.next.map_or(moment, |next| next.min(moment))),
            None => {}
        }
    }
    due
}

/// Homes of managed users, of local users, and of other people in the ledger who have not left.
fn homes_in_use<'a>(desired: &'a Desired, facts: &'a Facts, ledger: &'a Ledger) -> HashSet<&'a str> {
    let managed = desired.accounts.users.iter().map(|user| user.home.as_str());
    let local = facts.local_users.iter().map(|user| user.home.trim_end_matches('/'));
    let known = ledger.people.values().filter(|person| person.left.is_none());
    managed.chain(local).chain(known.map(|person| person.home.as_str())).collect()
}

fn step(removal: HomeRemoval, uid: u32, person: &Person) -> Step {
    let (name, home) = (person.name.clone(), person.home.clone());
    match removal {
        HomeRemoval::Archive => Step::ArchiveHome { uid, name, home },
        HomeRemoval::Delete | HomeRemoval::Keep => Step::DeleteHome { uid, name, home },
    }
}
