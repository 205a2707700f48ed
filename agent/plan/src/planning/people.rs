//! What the ledger is to know before the first step.

use chrono::{DateTime, Utc};
use hostward_accounts::User;
use hostward_protocol::document::SubidRange;

use super::target::Target;
use crate::desired::Desired;
use crate::facts::{DatabaseFact, Facts, ManagedFile};
use crate::ledger::{DATABASE_PATH, Ledger, Person, WrittenFile};
use crate::sshd::{MAIN_PATH, has_block};

/// The ledger with everybody who is about to be served, and with the moment at which others were found to have left.
pub(super) fn remember(
    desired: &Desired,
    target: Option<&Target<'_>>,
    facts: &Facts,
    now: DateTime<Utc>,
) -> Ledger {
    let mut ledger = facts.ledger.clone();
    // What is not there any more is told as drift once; it is known again when it is written again.
    for file in ManagedFile::ALL {
        match (facts.files.get(&file), target) {
            (None, _) => _ = ledger.files.remove(file.path()),
            // A kill after it was written kept it from being known.
            (Some(fact), Some(target)) if target.is_met(file, fact) => {
                ledger.files.insert(file.path().into(), WrittenFile::of(&fact.content));
            }
            _ => {}
        }
    }
    if facts.database == DatabaseFact::Absent {
        ledger.files.remove(DATABASE_PATH);
    }
    if facts.sshd.as_ref().is_none_or(|sshd| !has_block(&sshd.main)) {
        ledger.files.remove(MAIN_PATH);
    }
    for (uid, person) in &mut ledger.people {
        if !desired.ids.contains_key(uid) {
            person.left.get_or_insert(now);
        }
    }
    for user in &desired.accounts.users {
        let Some(id) = desired.ids.get(&user.uid) else { continue };
        let person = || Person {
            id: id.clone(),
            name: user.name.clone(),
            home: user.home.clone(),
            left: None,
            subids: Vec::new(),
            home_settled: false,
        };
        match ledger.people.get_mut(&user.uid) {
            // A uid that is another person's was refused when the policy was resolved; it stays theirs whatever happens.
            Some(known) if known.id != *id => {}
            Some(known) => {
                let is_same = known.name == user.name && known.home == user.home;
                if !is_same || known.left.is_some() || known.home_settled {
                    *known = Person { subids: std::mem::take(&mut known.subids), ..person() };
                }
                remember_subids(known, user);
            }
            None => {
                let mut new = person();
                remember_subids(&mut new, user);
                ledger.people.insert(user.uid, new);
            }
        }
    }
    ledger
}

fn remember_subids(person: &mut Person, user: &User) {
    for range in &user.subids {
        let range = SubidRange { start: range.start.into(), count: range.count.into() };
        if let Err(place) = person.subids.binary_search(&range) {
            person.subids.insert(place, range);
        }
    }
}
