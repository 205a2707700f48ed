//! Whose processes are looked for: uids, and the subordinate ids of each.

use std::collections::BTreeSet;

use hostward_plan::ledger::Person;

/// Uids, and the ids that whoever has them may map into user namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    uids: BTreeSet<u32>,
    /// First, last, and whose; sorted, and disjoint but for what one person had in several ranges.
    subordinate: BTreeSet<(u32, u32, u32)>,
}

impl Whose {
    /// Adds a uid with the subordinate ids that the ledger knows of.
    pub fn add(&mut self, uid: u32, person: Option<&Person>) {
        self.uids.insert(uid);
        let ranges = person.into_iter().flat_map(|person| &person.subids);
        self.subordinate.extend(ranges.filter_map(|range| {
            let last = range.start.checked_add(range.count.checked_sub(1)?)?;
            Some((u32::try_from(range.start).ok()?, u32::try_from(last).ok()?, uid))
        }));
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
}
