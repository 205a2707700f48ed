//! Which grants hold here, and for whom: for the record of who came in through what.

use std::collections::{BTreeMap, BTreeSet};

use hostward_protocol::grants::{GRANTS_SCHEMA, Grants, GroupGrant};

use crate::resolve::grants::{GrantEntry, GrantState};
use crate::resolve::groups::Groups;
use crate::resolve::people::People;

/// Several grants of a group are one.
pub(crate) fn granted(
    grants: &[GrantEntry<'_>],
    groups: &Groups<'_>,
    people: &People<'_>,
    members: &[Vec<u32>],
) -> Grants {
    let mut privileges: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for grant in grants {
        let GrantState::InForce(group) = grant.state else { continue };
        let document = grant.document;
        let has = privileges.entry(group).or_default();
        has.extend(document.login.then(|| "login".to_owned()));
        has.extend(document.entitlements.iter().map(|name| format!("sudo:{name}")));
        has.extend(document.local_groups.iter().map(|name| format!("group:{name}")));
    }
    let mut found: Vec<GroupGrant> = privileges
        .into_iter()
        .filter_map(|(group, privileges)| {
            let positions = members.get(group)?;
            let admitted = positions.iter().filter_map(|position| people.admitted.get(*position as usize));
            let mut users: Vec<(u32, String)> =
                admitted.map(|person| (person.uid.number(), person.document.name.clone())).collect();
            users.sort();
            let group = groups.entries.get(group)?.document.name.clone();
            let privileges = privileges.into_iter().collect();
            (!users.is_empty()).then_some(GroupGrant { group, privileges, users })
        })
        .collect();
    found.sort();
    // Two groups of one name are both refused as POSIX groups; which of them it was is nothing that a name tells.
    found.dedup_by(|later, earlier| later.group == earlier.group);
    Grants { schema: GRANTS_SCHEMA.into(), groups: found }
}
