//! Grants: which of them hold here and now.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hostward_protocol::document::{self, Entry};
use hostward_protocol::report::Finding;

use crate::refusal::{Findings, Refusal, malformed, selector_invalid};
use crate::resolve::groups::{Found, Groups};
use crate::resolve::horizon::Horizon;
use crate::selector::{Labels, Selector};
use crate::text::shown;

/// A grant and what it is here and now.
#[derive(Debug)]
pub(crate) struct GrantEntry<'a> {
    pub(crate) document: &'a document::Grant,
    pub(crate) state: GrantState,
}

/// What a grant is here and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantState {
    /// It holds for the members of the group with this index.
    InForce(usize),
    /// It will.
    NotYet(usize, DateTime<Utc>),
    /// It did.
    Over(usize, DateTime<Utc>),
    /// It holds on other hosts.
    OtherHosts,
    /// It cannot be understood, and holds nowhere here.
    Refused,
}

/// All grants of the policy.
pub(crate) fn read<'a>(
    grants: &'a [Entry<document::Grant>],
    groups: &Groups<'_>,
    labels: &Labels,
    horizon: &mut Horizon,
    findings: &mut Findings,
) -> Vec<GrantEntry<'a>> {
    let mut ids: HashMap<&str, u32> = HashMap::with_capacity(grants.len());
    for grant in grants.iter().filter_map(Entry::shaped) {
        *ids.entry(&grant.id).or_default() += 1;
    }
    let mut entries = Vec::with_capacity(grants.len());
    for entry in grants {
        match entry {
            Entry::Malformed { label, at } => findings.refuse(malformed("grant", label, *at)),
            Entry::Shaped(document) => {
                let is_twice = ids.get(document.id.as_str()).is_some_and(|n| *n > 1);
                let state = judge(document, is_twice, groups, labels, horizon).unwrap_or_else(|refusal| {
                    findings.refuse(about(document, &refusal));
                    GrantState::Refused
                });
                entries.push(GrantEntry { document, state });
            }
        }
    }
    entries
}

/// A finding about a grant.
pub(crate) fn about(grant: &document::Grant, refusal: &Refusal) -> Finding {
    refusal.about(format!("grant `{}`", shown(&grant.id)))
}

fn judge(
    grant: &document::Grant,
    is_twice: bool,
    groups: &Groups<'_>,
    labels: &Labels,
    horizon: &mut Horizon,
) -> Result<GrantState, Refusal> {
    let selector =
        Selector::parse(&grant.hosts).map_err(|why| selector_invalid("grant", &grant.hosts, why))?;
    if !selector.selects(labels) {
        return Ok(GrantState::OtherHosts);
    }
    if is_twice {
        return Err(Refusal::backend(
            "grant-id-duplicate",
            "another grant of the policy has the same id; neither is accepted",
            "give each grant an id of its own on the backend",
        ));
    }
    let group = match groups.by_id(&grant.group) {
        Some(Found::One(group)) => group,
        found => {
            let (code, why) = match found {
                None => ("grant-group-unknown", "is not in the policy"),
                Some(_) => ("grant-group-ambiguous", "is in the policy more than once"),
            };
            return Err(Refusal::backend(
                code,
                format!("its group (id {}) {why}", shown(&grant.group)),
                "name the stable id of one group on the backend",
            ));
        }
    };
    let now = horizon.now();
    if let (Some(from), Some(until)) = (grant.from, grant.until)
        && from >= until
    {
        return Err(Refusal::backend(
            "grant-window-empty",
            "its time window ends before it begins",
            "set `from` before `until` on the backend",
        ));
    }
    horizon.note(grant.from);
    horizon.note(grant.until);
    Ok(match (grant.from, grant.until) {
        (_, Some(until)) if until <= now => GrantState::Over(group, until),
        (Some(from), _) if from > now => GrantState::NotYet(group, from),
        _ => GrantState::InForce(group),
    })
}
