//! The policy of a project: the union of its documents.

use chrono::{DateTime, Utc};
use hostward_protocol::document::{
    DocumentError, Entitlement, Entitlements, Entry, Grant, Grants, Group, Groups, Kind, Project, Service,
    Services, Ssh, User, Users, parse,
};

/// All documents of a committed policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Version of the timestamp, snapshot and targets metadata.
    pub version: u64,
    /// Version of the newest accepted root.
    pub root_version: u64,
    /// When the committed timestamp expires.
    pub expires: DateTime<Utc>,
    /// `project.json`
    pub project: Project,
    /// All shards of the users.
    pub users: Vec<Entry<User>>,
    /// All shards of the groups.
    pub groups: Vec<Entry<Group>>,
    /// All shards of the grants.
    pub grants: Vec<Entry<Grant>>,
    /// `entitlements.json`
    pub entitlements: Vec<Entry<Entitlement>>,
    /// `ssh.json`
    pub ssh: Ssh,
    /// `services.json`; none where the policy is without it
    pub services: Vec<Entry<Service>>,
}

/// The metadata that comes with the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Version of the timestamp, snapshot and targets metadata.
    pub version: u64,
    /// Version of the newest accepted root.
    pub root_version: u64,
    /// When the timestamp expires.
    pub expires: DateTime<Utc>,
}

/// Why a set of documents is no policy. The whole set is refused, and what was in force stays.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A document cannot be read.
    #[error("cannot read `{target}` of the policy")]
    Document {
        /// The target's name.
        target: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// A document that every policy has is not there.
    #[error("the policy has no `{0}`")]
    Missing(&'static str),
    /// It is the policy of another project.
    #[error("the policy is that of another project than the one this host is pinned to (`{pinned}`)")]
    OtherProject {
        /// The project that the host is pinned to.
        pinned: String,
    },
    /// It has no users, and does not say that this is meant.
    #[error(
        "the policy has no users at all and does not say `\"empty\": true` in `project.json`; it would remove every account"
    )]
    NoUsers,
}

impl Policy {
    /// Reads the documents of a policy. `documents` yields target names and their bytes, verified; names that are no
    /// policy documents are passed over. `pinned` is the project that the host belongs to.
    pub fn read<'a>(
        versions: Versions,
        documents: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        pinned: &str,
    ) -> Result<Policy, PolicyError> {
        let mut read = Read::default();
        for (target, bytes) in documents {
            if let Some((kind, _)) = Kind::of_target(target) {
                read.document(kind, bytes)
                    .map_err(|source| PolicyError::Document { target: target.to_owned(), source })?;
            }
        }
        read.into_policy(versions, pinned)
    }
}

/// What was read so far.
#[derive(Default)]
struct Read {
    project: Option<Project>,
    users: Option<Vec<Entry<User>>>,
    groups: Option<Vec<Entry<Group>>>,
    grants: Option<Vec<Entry<Grant>>>,
    entitlements: Option<Vec<Entry<Entitlement>>>,
    ssh: Option<Ssh>,
    services: Option<Vec<Entry<Service>>>,
}

impl Read {
    fn document(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), DocumentError> {
        match kind {
            Kind::Project => self.project = Some(parse::<Project>(bytes)?),
            Kind::Users => join(&mut self.users, parse::<Users>(bytes)?.users),
            Kind::Groups => join(&mut self.groups, parse::<Groups>(bytes)?.groups),
            Kind::Grants => join(&mut self.grants, parse::<Grants>(bytes)?.grants),
            Kind::Entitlements => {
                join(&mut self.entitlements, parse::<Entitlements>(bytes)?.entitlements);
            }
            Kind::Ssh => self.ssh = Some(parse::<Ssh>(bytes)?),
            Kind::Services => self.services = Some(parse::<Services>(bytes)?.services),
        }
        Ok(())
    }

    fn into_policy(self, versions: Versions, pinned: &str) -> Result<Policy, PolicyError> {
        let missing = PolicyError::Missing;
        let project = self.project.ok_or(missing("project.json"))?;
        if project.id != pinned {
            return Err(PolicyError::OtherProject { pinned: pinned.to_owned() });
        }
        let policy = Policy {
            version: versions.version,
            root_version: versions.root_version,
            expires: versions.expires,
            project,
            users: self.users.ok_or(missing("users-00.json"))?,
            groups: self.groups.ok_or(missing("groups-00.json"))?,
            grants: self.grants.ok_or(missing("grants-00.json"))?,
            entitlements: self.entitlements.ok_or(missing("entitlements.json"))?,
            ssh: self.ssh.ok_or(missing("ssh.json"))?,
            services: self.services.unwrap_or_default(),
        };
        // Entries that cannot be read are nobody's accounts.
        let is_empty = policy.users.iter().all(|user| user.shaped().is_none());
        if is_empty && !policy.project.settings.empty {
            return Err(PolicyError::NoUsers);
        }
        Ok(policy)
    }
}

fn join<T>(all: &mut Option<Vec<T>>, shard: Vec<T>) {
    match all {
        Some(all) => all.extend(shard),
        None => *all = Some(shard),
    }
}

#[cfg(test)]
mod tests;
