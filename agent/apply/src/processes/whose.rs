//! Whose processes are looked for: uids, and the subordinate ids of each.

use std::collections::BTreeSet;

use hostward_config::IdRange;
use hostward_plan::ledger::Person;

/// Uids, and the ids that whoever has them may map into user namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    uids: BTreeSet<u32>,
    /// First, last, and whose; sorted and disjoint.
    subordinate: BTreeSet<(u32, u32, u32)>,
}

impl Whose {
    /// Adds a uid with the subordinate ids that the ledger knows of.
    pub fn add(&mut self, uid: u32, person: Option<&Person>) {
        self.uids.insert(uid);
        let ranges = person.into_iter().flat_map(|person| &person.subids);
        let ranges = ranges.filter_map(|range| {
            let last = range.start.checked_add(range.count.checked_sub(1)?)?;
            Some((u32::try_from(range.start).ok()?, u32::try_from(last).ok()?))
        });
        // One person may have had a range and a part of it.
        self.subordinate.extend(joined(ranges.collect()).into_iter().map(|(first, last)| (first, last, uid)));
    }

    /// Takes away the subordinate ids that somebody local has meanwhile: what runs under them is theirs.
    pub fn spare(&mut self, local: &LocalIds) {
        self.subordinate = self
            .subordinate
            .iter()
            .flat_map(|(first, last, uid)| {
                local.outside(*first, *last).into_iter().map(|(a, b)| (a, b, *uid))
            })
            .collect();
    }

    /// The uids.
    pub fn uids(&self) -> &BTreeSet<u32> {
        &self.uids
    }

    /// The same of some of the uids.
    pub fn only(mut self, uids: BTreeSet<u32>) -> Self {
        self.subordinate.retain(|(.., uid)| uids.contains(uid));
        Whose { uids, ..self }
    }

    /// Both together.
    pub fn extend(&mut self, other: Self) {
        self.uids.extend(other.uids);
        self.subordinate.extend(other.subordinate);
    }

    /// The uid of whoever has `id` among their subordinate ids.
    pub fn above(&self, id: u32) -> Option<u32> {
        let (_, last, uid) = self.subordinate.range(..=(id, u32::MAX, u32::MAX)).next_back()?;
        (id <= *last).then_some(*uid)
    }
}

/// Ids of local accounts, and those that /etc/subuid and /etc/subgid give to anybody: sorted and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalIds(Vec<(u32, u32)>);

impl LocalIds {
    /// The uids of local accounts, and the ranges given to anybody.
    pub fn new(uids: &BTreeSet<u32>, ranges: &[IdRange]) -> Self {
        let uids = uids.iter().map(|uid| (*uid, *uid));
        LocalIds(joined(uids.chain(ranges.iter().map(|range| (range.first, range.last))).collect()))
    }

    /// What of a range is not local.
    fn outside(&self, first: u32, last: u32) -> Vec<(u32, u32)> {
        let mut outside = Vec::new();
        let mut from = Some(first);
        let next = self.0.partition_point(|(_, end)| *end < first);
        for (start, end) in self.0.iter().skip(next).take_while(|(start, _)| *start <= last) {
            outside.extend(from.filter(|from| from < start).zip(start.checked_sub(1)));
            from = end.checked_add(1);
        }
        outside.extend(from.filter(|from| *from <= last).map(|from| (from, last)));
        outside
    }
}

/// The same ids in ranges of which none meets another.
fn joined(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

impl<const N: usize> From<[u32; N]> for Whose {
    fn from(uids: [u32; N]) -> Self {
        Whose { uids: uids.into(), ..Whose::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_lead_to_their_person() {
        let person = serde_json::json!({
            "id": "u1", "name": "alice", "home": "/home/alice",
            "subids": [{"start": 600_000, "count": 10}, {"start": 700_000, "count": 1}, {"start": 1, "count": u64::MAX}],
        });
        let person: Person = serde_json::from_value(person).expect("a person");
        let mut whose = Whose::from([70_002]);
        whose.add(70_001, Some(&person));
        let found: Vec<Option<u32>> =
            [599_999, 600_000, 600_009, 600_010, 700_000, 70_001].map(|id| whose.above(id)).into();
        assert_eq!(found, [None, Some(70_001), Some(70_001), None, Some(70_001), None]);
        assert_eq!(whose.only([70_002].into()), Whose::from([70_002]));
    }

    fn alice(subids: &[(u64, u64)]) -> Whose {
        let subids: Vec<_> =
            subids.iter().map(|(start, count)| serde_json::json!({"start": start, "count": count})).collect();
        let person =
            serde_json::json!({"id": "u1", "name": "alice", "home": "/home/alice", "subids": subids});
        let mut whose = Whose::default();
        whose.add(70_001, Some(&serde_json::from_value(person).expect("a person")));
        whose
    }

    #[test]
    fn a_range_counts_beside_a_part_of_it() {
        let whose = alice(&[(600_000, 1000), (600_100, 10), (600_990, 20)]);
        let found =
            [600_050, 600_105, 600_500, 600_999, 601_009, 601_010].map(|id| whose.above(id).is_some());
        assert_eq!(found, [true, true, true, true, true, false]);
    }

    #[test]
    fn what_somebody_local_has_is_spared() {
        let mut whose = alice(&[(600_000, 100), (700_000, 10), (800_000, 1)]);
        let range = |first, last| IdRange { first, last };
        let ranges = [range(600_010, 600_019), range(600_015, 600_020), range(600_090, 650_000), range(1, 2)];
        whose.spare(&LocalIds::new(&[600_000, 800_000, 700_005].into(), &ranges));
        let ids = [600_000, 600_001, 600_009, 600_010, 600_020, 600_021, 600_089, 600_090, 700_005, 800_000];
        let theirs = ids.map(|id| whose.above(id).is_some());
        assert_eq!(theirs, [false, true, true, false, false, true, true, false, false, false]);
        assert!(whose.uids().contains(&70_001));
        whose.spare(&LocalIds::new(&BTreeSet::new(), &[range(0, u32::MAX)]));
        assert_eq!(whose, Whose::from([70_001]));
    }
}
