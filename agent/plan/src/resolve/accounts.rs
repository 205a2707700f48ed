//! What of the people and groups goes into the account database.

use std::collections::{BTreeSet, HashMap, HashSet};

use hostward_accounts::{Group, User};

use crate::facts::Accounts;
use crate::refusal::{Findings, Refusal};
use crate::resolve::groups::Groups;
use crate::resolve::host::Host;
use crate::resolve::people::People;
use crate::text::shown;

/// Positions among the admitted of each group's members, ascending, by the group's index.
pub(crate) fn members(groups: &Groups<'_>, people: &People<'_>) -> Vec<Vec<u32>> {
    (0..groups.entries.len()).map(|group| people.admitted_members(group)).collect()
}

/// Names what is wrong with groups that matter on this host. The others are other hosts' business.
pub(crate) fn report_groups(
    groups: &Groups<'_>,
    people: &People<'_>,
    members: &[Vec<u32>],
    findings: &mut Findings,
) {
    for (number, (group, members)) in groups.entries.iter().zip(members).enumerate() {
        if members.is_empty() && !people.primary_gids.contains(&group.document.gid) {
            continue;
        }
        for refusal in group.posix.as_ref().err().into_iter().flatten() {
            findings.refuse(refusal.about(group.subject()));
        }
        let unknown = people.unknown_members(number);
        if unknown > 0 {
            let message = format!("{unknown} of its members are no users of the policy");
            let mend = "remove them from the group, or publish the users, on the backend";
            findings.warn(Refusal::backend("group-members-unknown", message, mend).about(group.subject()));
        }
    }
}

/// The gid of a local group that a grant names.
pub(crate) fn local_group(name: &str, host: &Host<'_>) -> Result<u32, Refusal> {
    let allowed = &host.config.accounts.allow_local_groups;
    if !allowed.iter().any(|allowed| allowed == name) {
        return Err(Refusal::operator(
            "local-group-not-allowed",
            format!(
                "it puts people into the local group `{}`, which this host's operator does not allow",
                shown(name)
            ),
            "take it out of the grant, or add it to `allow_local_groups` under [accounts] in /etc/hostward/hostward.toml",
        ));
    }
    if name == "hostward" || name.starts_with("hostward-") {
        return Err(Refusal::operator(
            "local-group-reserved",
            format!("the local group `{}` is hostward's own", shown(name)),
            "take it out of the grant and of `allow_local_groups`",
        ));
    }
    match host.local_group(name) {
        Some(0) => Err(Refusal::operator(
            "local-group-root",
            format!("the local group `{}` has gid 0, which no managed user gets", shown(name)),
            "take it out of the grant and of `allow_local_groups`",
        )),
        Some(gid) => Ok(gid),
        None => Err(Refusal::operator(
            "local-group-absent",
            format!("this host has no local group `{}`", shown(name)),
            "create the group (`groupadd --system`), or take it out of the grant",
        )),
    }
}

/// Gids that are no groups of the policy: those that everybody has, and those of some, by position among the admitted.
#[derive(Debug, Default)]
pub(crate) struct LocalGids {
    pub(crate) of_all: Option<u32>,
    pub(crate) of_some: HashMap<u32, BTreeSet<u32>>,
}

impl LocalGids {
    fn of(&self, position: u32) -> Vec<u32> {
        match self.of_some.get(&position) {
            None => self.of_all.into_iter().collect(),
            Some(gids) => {
                let all: BTreeSet<u32> = gids.iter().copied().chain(self.of_all).collect();
                all.into_iter().collect()
            }
        }
    }
}

/// The accounts. `members` goes by the group's index.
pub(crate) fn build(
    groups: &Groups<'_>,
    people: &People<'_>,
    members: &[Vec<u32>],
    local_gids: &LocalGids,
    locked: bool,
) -> Accounts {
    let users = people
        .admitted
        .iter()
        .zip(0..)
        .map(|(person, position)| User {
            name: person.name.as_str().to_owned(),
            uid: person.uid.number(),
            gid: person.gid.number(),
            gecos: person.gecos.as_str().to_owned(),
            home: person.home.as_str().to_owned(),
            shell: person.shell.as_str().to_owned(),
            local_gids: local_gids.of(position),
            principals: match locked {
                true => Vec::new(),
                false => person.principals.iter().map(|p| p.as_str().to_owned()).collect(),
            },
            valid_until: person.valid_until,
            subids: person.subids.clone(),
        })
        .collect();
    let primary: HashSet<u32> = people.admitted.iter().map(|person| person.gid.number()).collect();
    let mut served: Vec<Group> = groups
        .entries
        .iter()
        .zip(members)
        .filter_map(|(group, members)| {
            let (name, gid) = group.posix.as_ref().ok()?;
            let gid = gid.number();
            let is_served = !members.is_empty() || primary.contains(&gid);
            is_served.then(|| Group { name: name.as_str().to_owned(), gid, members: members.clone() })
        })
        .collect();
    served.sort_by_key(|group| group.gid);
    Accounts { users, groups: served }
}
