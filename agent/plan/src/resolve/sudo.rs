//! Which sudo rules the grants give here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hostward_protocol::document::{self, Entry};

use crate::refusal::{Findings, Refusal, malformed};
use crate::resolve::grants::{GrantEntry, GrantState, about};
use crate::resolve::groups::Groups;
use crate::resolve::host::Host;
use crate::sudoers::{Dialects, Expressed, RuleSource, SudoersFile, express};
use crate::text::shown;

/// Rules and where they come from.
#[derive(Debug, Default)]
pub(crate) struct Sudo<'a> {
    pub(crate) file: SudoersFile<'a>,
    /// By name, those that some grant in force names.
    pub(crate) expressed: BTreeMap<&'a str, Expressed>,
}

impl<'a> Sudo<'a> {
    /// `members` are the uids of a group (by index) who may log in here.
    pub(crate) fn read(
        entitlements: &'a [Entry<document::Entitlement>],
        grants: &[GrantEntry<'a>],
        groups: &Groups<'a>,
        members: impl Fn(usize) -> BTreeSet<u32>,
        host: &Host<'_>,
        findings: &mut Findings,
    ) -> Self {
        let mut by_name: HashMap<&str, Option<&document::Entitlement>> = HashMap::new();
        for entry in entitlements {
            match entry {
                Entry::Malformed { label, at } => findings.refuse(malformed("entitlement", label, *at)),
                Entry::Shaped(entitlement) => {
                    by_name
                        .entry(&entitlement.name)
                        .and_modify(|found| *found = None)
                        .or_insert(Some(entitlement));
                }
            }
        }
        let mut sudo = Sudo::default();
        let dialects = Dialects { installed: &host.facts.sudo, allow_raw: host.config.sudo.allow_raw };
        for GrantEntry { document: grant, state } in grants {
            let GrantState::InForce(group) = *state else { continue };
            if grant.entitlements.is_empty() {
                continue;
            }
            let members = members(group);
            if members.is_empty() {
                continue;
            }
            let Some(group) = groups.entries.get(group) else { continue };
            let Ok((group_name, gid)) = &group.posix else {
                findings.refuse(about(grant, &group_refused(&group.document.name)));
                continue;
            };
            for name in &grant.entitlements {
                let found = match by_name.get(name.as_str()) {
                    Some(Some(found)) => *found,
                    other => {
                        findings.refuse(about(grant, &entitlement_missing(name, other.is_some())));
                        continue;
                    }
                };
                sudo.expressed.entry(&found.name).or_insert_with(|| express(found, dialects));
                let source =
                    RuleSource { gid: gid.number(), group: group_name.as_str(), entitlement: &found.name };
                sudo.file.add(source, &grant.id, members.clone());
            }
        }
        for expressed in sudo.expressed.values() {
            expressed.refusals.iter().for_each(|finding| findings.refuse(finding.clone()));
            expressed.warnings.iter().for_each(|finding| findings.warn(finding.clone()));
        }
        sudo
    }

    /// The file's text, `None` where there is no rule.
    pub(crate) fn render(&self, logs_exit: bool) -> Option<String> {
        self.file.render(&self.expressed, logs_exit)
    }
}

fn group_refused(name: &str) -> Refusal {
    Refusal::backend(
        "grant-group-refused",
        format!(
            "its group `{}` is refused on this host, so the sudo rules that it gives are not in force; its members can log in",
            shown(name)
        ),
        "mend what the group is refused for",
    )
}

fn entitlement_missing(name: &str, is_twice: bool) -> Refusal {
    let (code, why) = if is_twice {
        ("grant-entitlement-ambiguous", "is in the policy more than once")
    } else {
        ("grant-entitlement-unknown", "is not in the policy, or cannot be read")
    };
    Refusal::backend(
        code,
        format!("its entitlement `{}` {why}", shown(name)),
        "name one entitlement of `entitlements.json` on the backend",
    )
}
