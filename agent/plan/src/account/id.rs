//! User and group ids.
//!
//! Reserved ranges: <https://systemd.io/UIDS-GIDS/>, Debian policy 9.2.2.

use hostward_config::IdRange;

use super::Kind;
use crate::refusal::Refusal;

/// A uid that a managed user may have here, as far as numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Uid(u32);

/// A gid that a managed group may have here, as far as numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Gid(u32);

impl Uid {
    pub(crate) fn parse(id: u64, rules: &IdRules<'_>) -> Result<Self, Refusal> {
        rules.check(id, Kind::User).map(Uid)
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

impl Gid {
    pub(crate) fn parse(id: u64, rules: &IdRules<'_>) -> Result<Self, Refusal> {
        rules.check(id, Kind::Group).map(Gid)
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// What no configuration makes acceptable.
const RESERVED: &[(u64, u64, &str)] = &[
    (0, 0, "0 is root"),
    (1, 999, "ids below 1000 belong to the system"),
    (60_001, 60_513, "60001 to 60513 belong to systemd-homed"),
    (60_514, 60_577, "60514 to 60577 belong to host users mapped into containers"),
    (60_578, 60_705, "60578 to 60705 are reserved by systemd"),
    (61_184, 65_519, "61184 to 65519 belong to systemd's dynamic users"),
    (65_534, 65_534, "65534 is nobody"),
    (65_535, 65_535, "65535 is what 16-bit programs read as -1"),
    (524_288, 1_879_048_191, "524288 to 1879048191 belong to containers"),
    (2_147_483_647, u64::MAX, "ids from 2147483647 on are negative, or no ids at all, to many programs"),
];

/// What the operator and the host say about ids.
#[derive(Debug)]
pub(crate) struct IdRules<'a> {
    allowed: &'a [IdRange],
    /// Sorted, disjoint.
    subordinate: Vec<IdRange>,
}

impl<'a> IdRules<'a> {
    pub(crate) fn new(allowed: &'a [IdRange], subordinate: &[IdRange]) -> Self {
        let mut sorted = subordinate.to_vec();
        sorted.sort_by_key(|range| range.first);
        let mut merged: Vec<IdRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if range.first <= last.last => last.last = last.last.max(range.last),
                _ => merged.push(range),
            }
        }
        IdRules { allowed, subordinate: merged }
    }

    /// A range of /etc/subuid or /etc/subgid that has one of these ids.
    pub(crate) fn subordinate_among(&self, first: u32, last: u32) -> Option<IdRange> {
        let next = self.subordinate.partition_point(|range| range.last < first);
        self.subordinate.get(next).filter(|range| range.first <= last).copied()
    }

    fn check(&self, id: u64, kind: Kind) -> Result<u32, Refusal> {
        let word = kind.word();
        let of = if kind == Kind::User { "uid" } else { "gid" };
        if let Some((.., why)) = RESERVED.iter().find(|(a, b, _)| (*a..=*b).contains(&id)) {
            return Err(Refusal::backend(
                format!("{word}-id-reserved"),
                format!("its {of} is {id}, and {why}"),
                format!("choose another {of} on the backend"),
            ));
        }
        let Ok(id) = u32::try_from(id) else {
            // Covered by the last reserved range.
            return Err(Refusal::backend(
                format!("{word}-id-reserved"),
                format!("its {of} is no id"),
                format!("choose another {of} on the backend"),
            ));
        };
        if !self.allowed.iter().any(|range| range.contains(id)) {
            return Err(Refusal::operator(
                format!("{word}-id-outside-ranges"),
                format!("its {of} is {id}, outside this host's `accounts.id_ranges`"),
                format!(
                    "choose another {of} on the backend, or widen `id_ranges` under [accounts] in /etc/hostward/hostward.toml"
                ),
            ));
        }
        if let Some(range) = self.subordinate_among(id, id) {
            return Err(Refusal::operator(
                format!("{word}-id-subordinate"),
                format!(
                    "its {of} is {id}, inside the subordinate ids {}-{} that /etc/subuid or /etc/subgid gives to somebody's containers",
                    range.first, range.last
                ),
                format!(
                    "choose another {of} on the backend, or take the range out of /etc/subuid and /etc/subgid"
                ),
            ));
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let all = [IdRange { first: 0, last: u32::MAX }];
        let ranges = [(200_000, 265_535), (100_000, 165_535), (150_000, 170_000)]
            .map(|(first, last)| IdRange { first, last });
        let rules = IdRules::new(&all, &ranges);
        for good in [1000, 60_000, 65_536, 99_999, 170_001, 265_536, 1_879_048_192, 2_147_483_646] {
            assert_eq!(Uid::parse(good, &rules).unwrap().number(), good as u32);
        }
        for bad in [0, 1, 999, 60_001, 60_600, 61_184, 65_534, 65_535, 524_288, 1 << 31, 1 << 32, u64::MAX] {
            assert_eq!(Gid::parse(bad, &rules).unwrap_err().code, "group-id-reserved", "{bad}");
        }
        for bad in [100_000, 165_600, 170_000, 200_000, 265_535] {
            assert_eq!(Uid::parse(bad, &rules).unwrap_err().code, "user-id-subordinate", "{bad}");
        }
        let narrow = [IdRange { first: 70_000, last: 79_999 }];
        let rules = IdRules::new(&narrow, &[]);
        assert_eq!(Uid::parse(80_000, &rules).unwrap_err().code, "user-id-outside-ranges");
    }
}
