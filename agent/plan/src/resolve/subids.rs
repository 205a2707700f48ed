//! Subordinate ids: which ranges of a user's are accepted here.
//!
//! Whoever may map an id can become it, so none may be anybody's: no user's or group's, neither here nor in the policy, no
//! other range's, and no former person's.

use std::collections::HashSet;

use hostward_accounts::SubidRange;
use hostward_protocol::document;

use crate::account::id::IdRules;
use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::resolve::groups::Groups;
use crate::resolve::host::Host;
use crate::text::shown;

/// Below are system, people and systemd's dynamic users.
const FIRST: u64 = 65_536;
/// From here on are systemd's ids of foreign images, and ids that are negative to many programs.
const END: u64 = 2_147_352_576;

/// Whose an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder<'a> {
    LocalUser(&'a str),
    LocalGroup(&'a str),
    PolicyUser(&'a str),
    PolicyGroup(&'a str),
    Former(&'a str),
}

/// What ranges are held against.
#[derive(Debug)]
pub(crate) struct SubidRules<'a> {
    local: &'a IdRules<'a>,
    /// Sorted.
    ids: Vec<(u64, Holder<'a>)>,
    /// Ranges of the policy that have an id in common with another one.
    shared: HashSet<document::SubidRange>,
    former: Former<'a>,
}

impl<'a> SubidRules<'a> {
    pub(crate) fn new(documents: &[&'a document::User], groups: &'a Groups<'_>, host: &'a Host<'_>) -> Self {
        let shared = shared(documents.iter().flat_map(|user| &user.subids).copied().collect());
        let mut ids = Vec::new();
        // Most policies give no ranges, and need no index.
        if documents.iter().any(|user| !user.subids.is_empty()) {
            let facts = host.facts;
            let users = &facts.local_users;
            let gids = users.iter().map(|user| (user.gid, Holder::LocalUser(&user.name)));
            let uids = users.iter().map(|user| (user.uid, Holder::LocalUser(&user.name)));
            let local = facts.local_groups.iter().map(|group| (group.gid, Holder::LocalGroup(&group.name)));
            let former = facts.ledger.people.iter().map(|(uid, person)| (*uid, Holder::Former(&person.name)));
            ids.extend(uids.chain(gids).chain(local).chain(former).map(|(id, who)| (u64::from(id), who)));
            for user in documents {
                let who = Holder::PolicyUser(&user.name);
                ids.extend([(user.uid, who), (user.gid, who)]);
            }
            let groups = groups.entries.iter().map(|group| group.document);
            ids.extend(groups.map(|group| (group.gid, Holder::PolicyGroup(&group.name))));
            ids.sort_unstable();
        }
        SubidRules { local: &host.ids, ids, shared, former: Former::of(&host.facts.ledger) }
    }

    /// Whether the user with this stable id may have this range.
    pub(crate) fn judge(&self, user: &str, range: document::SubidRange) -> Result<SubidRange, Refusal> {
        let (start, count) = (range.start, range.count);
        let backend = |code: &str, message: String| {
            Refusal::backend(code, message, "give the user other subordinate ids on the backend")
        };
        if count == 0 {
            return Err(backend("subids-empty", format!("its subordinate ids from {start} on are none")));
        }
        let last = start.saturating_add(count - 1);
        let both = u32::try_from(start).ok().zip(u32::try_from(count).ok());
        let Some((start, count)) = both.filter(|_| start >= FIRST && last < END) else {
            return Err(backend(
                "subids-reserved",
                format!("its subordinate ids {start}-{last} are not between {FIRST} and {}", END - 1),
            ));
        };
        let ours = SubidRange { start, count };
        let next = self.ids.partition_point(|(id, _)| *id < range.start);
        if let Some((id, who)) = self.ids.get(next).filter(|(id, _)| *id <= last) {
            return Err(taken(*id, *who, range, last));
        }
        if self.shared.contains(&range) {
            return Err(backend(
                "subids-shared",
                format!("its subordinate ids {start}-{last} are given twice; neither is accepted"),
            ));
        }
        if let Some(local) = self.local.subordinate_among(start, last as u32) {
            return Err(Refusal::operator(
                "subids-exist-locally",
                format!(
                    "its subordinate ids {start}-{last} have some in common with {}-{}, which /etc/subuid or /etc/subgid gives to somebody",
                    local.first, local.last
                ),
                "give the user other subordinate ids on the backend, or take the range out of /etc/subuid and /etc/subgid",
            ));
        }
        match self.former.somebody_else(user, range.start, last) {
            Some(name) => Err(backend(
                "subids-were-anothers",
                format!(
                    "its subordinate ids {start}-{last} have some in common with those that another person, `{}`, has or had on this host",
                    shown(name)
                ),
            )),
            None => Ok(ours),
        }
    }
}

fn taken(id: u64, who: Holder<'_>, range: document::SubidRange, last: u64) -> Refusal {
    let what = match who {
        Holder::LocalUser(name) => format!("the local user `{}`", shown(name)),
        Holder::LocalGroup(name) => format!("the local group `{}`", shown(name)),
        Holder::PolicyUser(name) => format!("the user `{}` of the policy", shown(name)),
        Holder::PolicyGroup(name) => format!("the group `{}` of the policy", shown(name)),
        Holder::Former(name) => format!("`{}`, a managed user, now or formerly", shown(name)),
    };
    let message = format!("its subordinate ids {}-{last} hold {id}, an id of {what}", range.start);
    let mend = "give the user other subordinate ids on the backend";
    match who {
        Holder::LocalUser(_) | Holder::LocalGroup(_) => {
            Refusal::operator("subids-hold-local", message, format!("{mend}, or change the local id"))
        }
        _ => Refusal::backend("subids-hold-id", message, mend),
    }
}

/// The ranges that share an id with another, or are there twice.
fn shared(mut ranges: Vec<document::SubidRange>) -> HashSet<document::SubidRange> {
    ranges.sort_unstable();
    let mut shared = HashSet::new();
    // In the order of their starts, a range that meets any before it meets the one that reaches furthest.
    let mut furthest: Option<(u64, document::SubidRange)> = None;
    for range in ranges.into_iter().filter(|range| range.count > 0) {
        let last = range.start.saturating_add(range.count - 1);
        match furthest {
            Some((reach, other)) if reach >= range.start => {
                shared.extend([other, range]);
                if last > reach {
                    furthest = Some((last, range));
                }
            }
            _ => furthest = Some((last, range)),
        }
    }
    shared
}

/// Ranges that people have or had here.
#[derive(Debug)]
struct Former<'a> {
    /// First, last, stable id and name; sorted.
    ranges: Vec<(u64, u64, &'a str, &'a str)>,
    /// The furthest last of each and all before it.
    reach: Vec<u64>,
}

impl<'a> Former<'a> {
    fn of(ledger: &'a Ledger) -> Self {
        let people = ledger.people.values();
        let mut ranges: Vec<_> = people
            .flat_map(|person| {
                let range = |range: &document::SubidRange| {
                    let last = range.start.saturating_add(range.count.saturating_sub(1));
                    (range.start, last, person.id.as_str(), person.name.as_str())
                };
                person.subids.iter().map(range)
            })
            .collect();
        ranges.sort_unstable();
        let mut furthest = 0;
        let reach = ranges
            .iter()
            .map(|(_, last, ..)| {
                furthest = furthest.max(*last);
                furthest
            })
            .collect();
        Former { ranges, reach }
    }

    /// The name of a person with another stable id than `user` who had one of these ids.
    fn somebody_else(&self, user: &str, first: u64, last: u64) -> Option<&'a str> {
        let end = self.ranges.partition_point(|(start, ..)| *start <= last);
        let before = self.ranges.get(..end)?.iter().zip(self.reach.get(..end)?).rev();
        let reaching = before.take_while(|(_, reach)| **reach >= first);
        let mut met = reaching.filter(|((_, end, id, _), _)| *end >= first && *id != user);
        met.next().map(|((.., name), _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, count: u64) -> document::SubidRange {
        document::SubidRange { start, count }
    }

    #[test]
    fn what_meets_another_is_shared_with_it() {
        let all = [range(0, 101), range(10, 5), range(50, 10), range(101, 1), range(102, 9), range(102, 9)];
        let expected = HashSet::from([range(0, 101), range(10, 5), range(50, 10), range(102, 9)]);
        assert_eq!(shared(all.to_vec()), expected);
        assert_eq!(shared(vec![range(5, 0), range(5, 1), range(6, 1)]), HashSet::new());
        assert_eq!(shared(vec![range(1, u64::MAX), range(u64::MAX, 9)]).len(), 2);
    }

    #[test]
    fn a_range_stays_a_persons() {
        let mut ledger = Ledger::default();
        for (uid, id, subids) in
            [(1, "a", range(100, 100)), (2, "b", range(150, 10)), (3, "c", range(300, 1))]
        {
            let person = serde_json::json!({"id": id, "name": id, "home": "/", "subids": [subids]});
            ledger.people.insert(uid, serde_json::from_value(person).unwrap());
        }
        let former = Former::of(&ledger);
        assert_eq!(former.somebody_else("a", 100, 149), None);
        assert_eq!(former.somebody_else("a", 100, 150), Some("b"));
        assert_eq!(former.somebody_else("b", 199, 299), Some("a"));
        assert_eq!(former.somebody_else("x", 200, 299), None);
        assert_eq!(former.somebody_else("x", 200, 300), Some("c"));
        assert_eq!(former.somebody_else("c", 300, u64::MAX), None);
    }
}
