//! Whose sessions end.

use std::collections::{BTreeSet, HashSet};

use super::Steps;
use crate::desired::Desired;
use crate::facts::{DatabaseFact, Facts};
use crate::ledger::Ledger;
use crate::step::Step;

/// Uids of local users are local users' uids, whoever had them before: nothing under them is touched.
fn local_uids(facts: &Facts) -> HashSet<u32> {
    facts.local_users.iter().map(|user| user.uid).collect()
}

/// Ends what runs under the uid of somebody who was once let in and is not any more. Of those who lose login now also
/// where nothing was seen to run: what forks and ends at once is missed by a look.
pub(super) fn end(desired: &Desired, facts: &Facts, ledger: &Ledger, steps: &mut Steps) {
    let local = local_uids(facts);
    let running = facts.running.iter().copied();
    let still = running.filter(|uid| !desired.admits(*uid) && !local.contains(uid));
    let uids: BTreeSet<u32> = leaving(desired, facts).into_iter().chain(still).collect();
    for uid in uids {
        if let Some(person) = ledger.people.get(&uid) {
            steps.narrow(Step::EndSessions { uid, name: person.name.clone() }, "");
        }
    }
}

/// Whom the present database lets in and the desired state does not.
pub(super) fn leaving(desired: &Desired, facts: &Facts) -> BTreeSet<u32> {
    let DatabaseFact::Present(present) = &facts.database else { return BTreeSet::new() };
    let local = local_uids(facts);
    let uids = present.users.iter().map(|user| user.uid);
    uids.filter(|uid| !desired.admits(*uid) && !local.contains(uid)).collect()
}
