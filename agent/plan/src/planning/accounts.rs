//! Steps for the account database.

use std::collections::{HashMap, HashSet};

use hostward_accounts::{Group, User};

use super::Steps;
use super::changes::{Difference, uids};
use crate::facts::{Accounts, DatabaseFact};
use crate::resolve::earlier;
use crate::step::Step;

pub(super) fn replace(desired: &Accounts, database: &DatabaseFact, steps: &mut Steps) {
    let nothing = Accounts::default();
    let present = match database {
        DatabaseFact::Present(present) if present == desired => return,
        DatabaseFact::Present(present) => present,
        // Whether it is not there or not legible, nobody is known through it: whatever comes is given.
        DatabaseFact::Absent | DatabaseFact::Damaged(_) => &nothing,
    };
    let difference = Difference::between(present, desired);
    if difference.takes && difference.gives {
        let narrowed = narrowed(present, desired);
        let (first, detail) = step(Difference::between(present, &narrowed), narrowed.clone());
        steps.narrow(first, detail);
        let (last, detail) = step(Difference::between(&narrowed, desired), desired.clone());
        steps.widen(last, detail);
    } else {
        let narrows = difference.takes;
        let (step, detail) = step(difference, desired.clone());
        if narrows { steps.narrow(step, detail) } else { steps.widen(step, detail) }
    }
}

fn step(difference: Difference, to: Accounts) -> (Step, String) {
    let detail = difference.summary();
    let (changes, more) = difference.into_changes();
    (Step::ReplaceAccounts { accounts: to, changes, more }, detail)
}

/// What both give: users who are in both, with their new attributes, and of groups, principals and times what both have.
/// A uid is one person's for ever, so it says who is in both.
fn narrowed(present: &Accounts, desired: &Accounts) -> Accounts {
    let old: HashMap<u32, &User> = present.users.iter().map(|user| (user.uid, user)).collect();
    let mut users: Vec<User> = Vec::with_capacity(desired.users.len());
    // Positions in `desired.users` to positions in `users`.
    let mut kept: Vec<Option<u32>> = Vec::with_capacity(desired.users.len());
    for user in &desired.users {
        let both = old.get(&user.uid).map(|old| common_user(old, user));
        kept.push(both.as_ref().and_then(|_| u32::try_from(users.len()).ok()));
        users.extend(both);
    }
    let primary: HashSet<u32> = users.iter().map(|user| user.gid).collect();
    let old_groups: HashMap<u32, &Group> = present.groups.iter().map(|group| (group.gid, group)).collect();
    let groups = desired
        .groups
        .iter()
        .filter(|group| old_groups.contains_key(&group.gid) || primary.contains(&group.gid))
        .map(|group| {
            let old: HashSet<u32> =
                old_groups.get(&group.gid).map(|old| uids(old, present).collect()).unwrap_or_default();
            let stays = |member: &&u32| {
                desired.users.get(**member as usize).is_some_and(|user| old.contains(&user.uid))
            };
            let position = |member: &u32| kept.get(*member as usize).copied().flatten();
            let members = group.members.iter().filter(stays).filter_map(position).collect();
            Group { members, ..group.clone() }
        })
        .collect();
    Accounts { users, groups }
}

fn common_user(old: &User, new: &User) -> User {
    let gids = new.local_gids.iter().filter(|gid| old.local_gids.contains(gid)).copied().collect();
    let principals = new.principals.iter().filter(|p| old.principals.contains(p)).cloned().collect();
    let subids = new.subids.iter().filter(|range| old.subids.contains(range)).copied().collect();
    User {
        local_gids: gids,
        principals,
        subids,
        valid_until: earlier(old.valid_until, new.valid_until),
        ..new.clone()
    }
}
