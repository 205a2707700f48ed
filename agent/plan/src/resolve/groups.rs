//! Groups: membership by stable id, and what of them is a POSIX group here.
//!
//! The two are apart on purpose. Who is a member is certain as long as the id is; a name or gid that is taken on this
//! host costs the group its entry and its sudo rules, not its members their login.

use std::collections::HashMap;

use hostward_protocol::document::{self, Entry};

use crate::account::Kind;
use crate::account::id::Gid;
use crate::account::name::GroupName;
use crate::refusal::{Findings, Refusal, malformed, subject};
use crate::resolve::duplicates::duplicates;
use crate::resolve::host::Host;

/// All groups of the policy.
#[derive(Debug)]
pub(crate) struct Groups<'a> {
    pub(crate) entries: Vec<GroupEntry<'a>>,
    by_id: HashMap<&'a str, Found>,
    by_gid: HashMap<u64, usize>,
}

/// A group of the policy.
#[derive(Debug)]
pub(crate) struct GroupEntry<'a> {
    pub(crate) document: &'a document::Group,
    /// As a POSIX group here, or why it is none.
    pub(crate) posix: Result<(GroupName<'a>, Gid), Vec<Refusal>>,
}

/// What a group id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    One(usize),
    Several,
}

impl<'a> Groups<'a> {
    pub(crate) fn read(
        groups: &'a [Entry<document::Group>],
        host: &Host<'_>,
        findings: &mut Findings,
    ) -> Self {
        let mut documents = Vec::with_capacity(groups.len());
        for entry in groups {
            match entry {
                Entry::Malformed { label, at } => findings.refuse(malformed("group", label, *at)),
                Entry::Shaped(group) => documents.push(group),
            }
        }
        let ids = duplicates(documents.iter().map(|group| group.id.as_str()));
        let names = duplicates(documents.iter().map(|group| group.name.as_str()));
        let gids = duplicates(documents.iter().map(|group| group.gid));
        let mut by_id = HashMap::with_capacity(documents.len());
        let mut by_gid = HashMap::with_capacity(documents.len());
        let mut entries = Vec::with_capacity(documents.len());
        for document in documents {
            by_gid.entry(document.gid).or_insert(entries.len());
            let is_ambiguous = ids.contains(document.id.as_str());
            let found = if is_ambiguous { Found::Several } else { Found::One(entries.len()) };
            by_id.insert(document.id.as_str(), found);
            let mut refusals = Vec::new();
            let twice = [
                ("id", is_ambiguous),
                ("name", names.contains(document.name.as_str())),
                ("gid", gids.contains(&document.gid)),
            ];
            refusals.extend(twice.into_iter().filter(|(_, twice)| *twice).map(|(what, _)| duplicate(what)));
            let name = GroupName::parse(&document.name)
                .and_then(|name| host.check_name(name.as_str(), Kind::Group).map(|()| name));
            let gid = Gid::parse(document.gid, &host.ids)
                .and_then(|gid| host.check_gid(gid.number()).map(|()| gid));
            let posix = match (name, gid) {
                (Ok(name), Ok(gid)) if refusals.is_empty() => Ok((name, gid)),
                (name, gid) => {
                    refusals.extend(name.err().into_iter().chain(gid.err()));
                    Err(refusals)
                }
            };
            entries.push(GroupEntry { document, posix });
        }
        Groups { entries, by_id, by_gid }
    }

    /// The group with this stable id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Found> {
        self.by_id.get(id).copied()
    }

    /// A group with this gid.
    pub(crate) fn by_gid(&self, gid: u64) -> Option<usize> {
        self.by_gid.get(&gid).copied()
    }
}

impl GroupEntry<'_> {
    pub(crate) fn subject(&self) -> String {
        subject("group", &self.document.name, &self.document.id)
    }
}

fn duplicate(what: &str) -> Refusal {
    Refusal::backend(
        format!("group-{what}-duplicate"),
        format!("another group of the policy has the same {what}; neither is accepted"),
        format!("give each group a {what} of its own on the backend"),
    )
}
