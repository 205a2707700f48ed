//! Who is in which group, and until when that lets them in.

use std::collections::{HashMap, HashSet};

use hostward_protocol::document;

use crate::resolve::grants::{GrantEntry, GrantState};
use crate::resolve::groups::Groups;

/// Who is in which group, by index.
#[derive(Debug)]
pub(super) struct Members {
    users: Vec<u32>,
    /// Where each group's users end.
    ends: Vec<usize>,
    /// How many members of each group are no users of the policy.
    unknown: Vec<u32>,
}

impl Members {
    pub(super) fn of(groups: &Groups<'_>, documents: &[&document::User]) -> Self {
        let by_id: HashMap<&str, u32> =
            documents.iter().zip(0..).map(|(user, number)| (user.id.as_str(), number)).collect();
        let count = groups.entries.len();
        let mut members = Members {
            users: Vec::new(),
            ends: Vec::with_capacity(count),
            unknown: Vec::with_capacity(count),
        };
        for group in &groups.entries {
            let mut unknown = 0;
            for id in &group.document.members {
                match by_id.get(id.as_str()) {
                    Some(user) => members.users.push(*user),
                    None => unknown += 1,
                }
            }
            members.ends.push(members.users.len());
            members.unknown.push(unknown);
        }
        members
    }

    /// Indexes of a group's users; one that is listed twice is there twice.
    pub(super) fn users(&self, group: usize) -> &[u32] {
        let start = group.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(group).copied());
        range.and_then(|(start, end)| self.users.get(start..end)).unwrap_or_default()
    }

    /// How many of a group's members are no users of the policy.
    pub(super) fn unknown(&self, group: usize) -> u32 {
        self.unknown.get(group).copied().unwrap_or_default()
    }
}

/// Until when some grant gives each user login: `None` where none does, `Some(0)` for ever, else Unix seconds.
pub(super) fn login_until(
    grants: &[GrantEntry<'_>],
    members: &Members,
    documents: &[&document::User],
    shared_ids: &HashSet<&str>,
) -> Vec<Option<u64>> {
    let mut of_user = vec![None; documents.len()];
    for entry in grants.iter().filter(|entry| entry.document.login) {
        let GrantState::InForce(group) = entry.state else { continue };
        let until = entry.document.until.map_or(0, |until| u64::try_from(until.timestamp()).unwrap_or(1));
        for user in members.users(group) {
            if let Some(known) = of_user.get_mut(*user as usize) {
                *known = Some(known.map_or(until, |known| later(known, until)));
            }
        }
    }
    // Whichever of two entries with one id a grant was found for, it is for both: both are named as refused.
    if !shared_ids.is_empty() {
        let mut of_id: HashMap<&str, Option<u64>> = HashMap::new();
        let ambiguous = |user: &&document::User| shared_ids.contains(user.id.as_str());
        for (user, until) in documents.iter().zip(&of_user).filter(|(user, _)| ambiguous(user)) {
            let known = of_id.entry(user.id.as_str()).or_default();
            *known = known.or(*until);
        }
        for (user, until) in documents.iter().zip(&mut of_user).filter(|(user, _)| ambiguous(user)) {
            *until = of_id.get(user.id.as_str()).copied().flatten();
        }
    }
    of_user
}

/// The later of two moments, of which 0 is never.
fn later(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { 0 } else { a.max(b) }
}

/// The earlier of two moments, of which 0 is never.
pub(crate) fn earlier(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}
