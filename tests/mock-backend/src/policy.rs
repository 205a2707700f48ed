//! What a `team.toml` means, as entries of documents.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use hostward_protocol::document::{self, Entry, HomeRemoval};
use serde::Serialize;
use serde_json::value::RawValue;
use toml::Spanned;

use crate::digest::sha256_hex;
use crate::team::{Command, Entitlement, Grant, Group, Raw, Service, Team, TeamError, User};

/// A project's policy: entries as JSON text, so that what is no sane entry can be published too.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The project id.
    pub project: String,
    /// Settings for every host.
    pub settings: document::Settings,
    /// Users.
    pub users: Vec<Item>,
    /// Groups.
    pub groups: Vec<Item>,
    /// Grants.
    pub grants: Vec<Item>,
    /// Entitlements.
    pub entitlements: Vec<Item>,
    /// Services; without any, their document is not published.
    pub services: Vec<Item>,
    /// Entries of `ssh.json`, without the backend's own CAs.
    pub ssh: SshLists,
    /// What is signed for hosts and their services; `None` for nothing.
    pub signs: Option<Signs>,
    /// Whole targets by name, whatever else has that name.
    pub documents: BTreeMap<String, String>,
    /// Certificate principals by user name.
    pub principals: BTreeMap<String, Vec<String>>,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Stable id, by which it is put into a shard.
    pub id: String,
    /// JSON text.
    pub json: String,
}

/// How long certificates are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Those of services.
    pub service: Duration,
    /// Those of hosts.
    pub host: Duration,
}

/// The lists of `ssh.json`, entries as JSON text.
#[derive(Clone, Debug, Default)]
pub struct SshLists {
    /// User CAs.
    pub user_cas: Vec<String>,
    /// Host CAs.
    pub host_cas: Vec<String>,
    /// Revoked serials.
    pub serials: Vec<String>,
    /// Revoked key ids.
    pub key_ids: Vec<String>,
    /// Revoked keys.
    pub keys: Vec<String>,
}

impl Policy {
    /// Reads the text of a `team.toml`.
    pub fn parse(text: &str) -> Result<Policy, TeamError> {
        Reader { text }.policy(&crate::team::parse(text)?)
    }
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn policy(&self, team: &Team) -> Result<Policy, TeamError> {
        let raw = &team.raw;
        let user_ids = user_ids(team);
        let group_ids = group_ids(team);
        let mut users: Vec<Item> = team
            .users
            .iter()
            .map(|(name, user)| item(&user_ids[name.as_str()], &self.user(name, user, &user_ids)))
            .collect();
        let mut groups = private_groups(team);
        for (name, group) in &team.groups {
            let group = self.group(name, group, &user_ids, &group_ids)?;
            groups.push(item(&group.id, &group));
        }
        let mut grants = self.grants(team, &group_ids)?;
        let mut entitlements = Vec::new();
        for (name, entitlement) in &team.entitlements {
            entitlements.push(item(name, &self.entitlement(name, entitlement)?));
        }
        let mut services = self.services(team, &user_ids)?;
        for (list, entries) in [
            (&mut services, &raw.services),
            (&mut users, &raw.users),
            (&mut groups, &raw.groups),
            (&mut grants, &raw.grants),
            (&mut entitlements, &raw.entitlements),
        ] {
            for entry in entries {
                list.push(self.raw_item(entry)?);
            }
        }
        Ok(Policy {
            project: self.project_id(&team.project.id)?,
            settings: settings(team),
            users,
            groups,
            grants,
            entitlements,
            services,
            ssh: self.ssh(team, raw)?,
            signs: signs(team),
            documents: raw.documents.clone(),
            principals: team
                .users
                .iter()
                .map(|(name, user)| (name.clone(), principals(name, user)))
                .collect(),
        })
    }

    fn project_id(&self, id: &Spanned<String>) -> Result<String, TeamError> {
        let text = id.get_ref();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !text.is_empty() && text.bytes().all(fits) && text.starts_with(char::is_alphanumeric) {
            return Ok(text.clone());
        }
        let message = "the project id must consist of letters, digits, `-`, `_` and `.`";
        Err(self.error(id, message.into()))
    }

    fn user(&self, name: &str, user: &User, ids: &HashMap<&str, String>) -> document::User {
        document::User {
            id: ids[name].clone(),
            name: name.into(),
            uid: user.uid,
            gid: user.gid.unwrap_or(user.uid),
            gecos: user.gecos.clone(),
            home: user.home.clone(),
            shell: user.shell.clone(),
            status: user.status,
            principals: principals(name, user),
            expires: user.expires,
            subids: user.subids.clone(),
        }
    }

    fn group(
        &self,
        name: &str,
        group: &Group,
        user_ids: &HashMap<&str, String>,
        group_ids: &HashMap<&str, String>,
    ) -> Result<document::Group, TeamError> {
        let member = |member: &Spanned<String>| {
            let user = member.get_ref().as_str();
            user_ids.get(user).cloned().ok_or_else(|| {
                let message = format!("group `{name}`: there is no [users.{user}]");
                self.error(member, message)
            })
        };
        Ok(document::Group {
            id: group_ids[name].clone(),
            name: name.into(),
            gid: group.gid,
            members: group.members.iter().map(member).collect::<Result<_, _>>()?,
        })
    }

    fn grants(&self, team: &Team, group_ids: &HashMap<&str, String>) -> Result<Vec<Item>, TeamError> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut items = Vec::new();
        for grant in &team.grants {
            let mut shaped = self.grant(grant, team, group_ids)?;
            if shaped.id.is_empty() {
                let derived = stable_id("grant", &json(&shaped));
                let earlier = seen.entry(derived.clone()).or_default();
                shaped.id = match *earlier {
                    0 => derived,
                    n => format!("{derived}-{n}"),
                };
                *earlier += 1;
            }
            items.push(item(&shaped.id, &shaped));
        }
        Ok(items)
    }

    fn grant(
        &self,
        grant: &Grant,
        team: &Team,
        group_ids: &HashMap<&str, String>,
    ) -> Result<document::Grant, TeamError> {
        let group = grant.group.get_ref().as_str();
        let Some(group_id) = group_ids.get(group) else {
            let message = format!("a grant names the group `{group}`, there is no [groups.{group}]");
            return Err(self.error(&grant.group, message));
        };
        for entitlement in &grant.entitlements {
            let name = entitlement.get_ref();
            if !team.entitlements.contains_key(name) && team.raw.entitlements.is_empty() {
                let message =
                    format!("a grant names the entitlement `{name}`, there is no [entitlements.{name}]");
                return Err(self.error(entitlement, message));
            }
        }
        let names = grant.entitlements.iter().map(|e| e.get_ref().clone());
        Ok(document::Grant {
            id: grant.id.clone().unwrap_or_default(),
            group: group_id.clone(),
            hosts: grant.hosts.clone(),
            login: grant.login,
            entitlements: names.collect(),
            local_groups: grant.local_groups.clone(),
            from: grant.from,
            until: grant.until,
        })
    }

    fn services(&self, team: &Team, user_ids: &HashMap<&str, String>) -> Result<Vec<Item>, TeamError> {
        let service = |service: &Service| {
            let user = service.user.get_ref().as_str();
            let Some(user_id) = user_ids.get(user) else {
                let message = format!("a service names the user `{user}`, there is no [users.{user}]");
                return Err(self.error(&service.user, message));
            };
            let mut shaped = document::Service {
                id: service.id.clone().unwrap_or_default(),
                user: user_id.clone(),
                hosts: service.hosts.clone(),
                uid: service.uid,
            };
            if shaped.id.is_empty() {
                shaped.id = stable_id("service", &json(&shaped));
            }
            Ok(item(&shaped.id, &shaped))
        };
        team.services.iter().map(service).collect()
    }

    fn entitlement(&self, name: &str, entitlement: &Entitlement) -> Result<document::Entitlement, TeamError> {
        let mut commands = Vec::new();
        for command in &entitlement.commands {
            commands.push(Entry::Shaped(self.command(command)?));
        }
        Ok(document::Entitlement {
            name: name.into(),
            run_as: document::RunAs {
                user: entitlement.run_as.user.clone(),
                group: entitlement.run_as.group.clone(),
            },
            commands,
            no_passwd: entitlement.no_passwd,
            no_exec: entitlement.no_exec,
            set_env: entitlement.set_env,
            env_keep: entitlement.env_keep.clone(),
            env_delete: entitlement.env_delete.clone(),
        })
    }

    fn command(&self, command: &Spanned<Command>) -> Result<document::Command, TeamError> {
        let parts = command.get_ref().clone();
        match (parts.executable, parts.directory, parts.raw) {
            (Some(executable), None, None) => Ok(document::Command::Executable {
                executable,
                arguments: parts.arguments.unwrap_or_default(),
            }),
            (None, Some(directory), None) if parts.arguments.is_none() => {
                Ok(document::Command::Directory { directory })
            }
            (None, None, Some(raw)) if parts.arguments.is_none() => Ok(document::Command::Raw { raw }),
            _ => {
                let message = "a command has exactly one of `executable` (with `arguments`, or \
                               without), `directory` and `raw`";
                Err(self.error(command, message.into()))
            }
        }
    }

    fn ssh(&self, team: &Team, raw: &Raw) -> Result<SshLists, TeamError> {
        let revoked = &team.ssh.revoked;
        Ok(SshLists {
            user_cas: self.entries(&team.ssh.user_cas, &raw.user_cas)?,
            host_cas: self.entries(&team.ssh.host_cas, &raw.host_cas)?,
            serials: self.entries(&revoked.serials, &raw.revoked_serials)?,
            key_ids: self.entries(&revoked.key_ids, &raw.revoked_key_ids)?,
            keys: self.entries(&revoked.keys, &raw.revoked_keys)?,
        })
    }

    fn entries<T: Serialize>(&self, shaped: &[T], raw: &[Spanned<String>]) -> Result<Vec<String>, TeamError> {
        let mut entries: Vec<String> = shaped.iter().map(json).collect();
        for entry in raw {
            entries.push(self.raw_item(entry)?.json);
        }
        Ok(entries)
    }

    fn raw_item(&self, entry: &Spanned<String>) -> Result<Item, TeamError> {
        let text = entry.get_ref();
        if let Err(error) = RawValue::from_string(text.clone()) {
            let message = format!(
                "a raw entry must be JSON ({error}); put a document that is none under [raw.documents]"
            );
            return Err(self.error(entry, message));
        }
        let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let id = value.as_ref().and_then(|value| value.get("id")).and_then(|id| id.as_str());
        Ok(Item { id: id.map_or_else(|| stable_id("raw", text), str::to_owned), json: text.clone() })
    }

    fn error<T>(&self, place: &Spanned<T>, message: String) -> TeamError {
        TeamError::at(self.text, place.span().start, message)
    }
}

fn user_ids(team: &Team) -> HashMap<&str, String> {
    let id = |name: &str, user: &User| user.id.clone().unwrap_or_else(|| stable_id("user", name));
    let ids = team.users.iter();
    ids.map(|(name, user)| (name.as_str(), id(name, user))).collect()
}

fn group_ids(team: &Team) -> HashMap<&str, String> {
    let id = |name: &str, g: &Group| g.id.clone().unwrap_or_else(|| stable_id("group", name));
    let ids = team.groups.iter();
    ids.map(|(name, group)| (name.as_str(), id(name, group))).collect()
}

/// Groups of one user each, for those who name no primary group. Empty: a primary group needs no member list.
fn private_groups(team: &Team) -> Vec<Item> {
    let taken: HashSet<u64> = team.groups.values().map(|group| group.gid).collect();
    team.users
        .iter()
        .filter(|(name, user)| {
            user.gid.is_none() && !taken.contains(&user.uid) && !team.groups.contains_key(*name)
        })
        .map(|(name, user)| {
            let id = stable_id("private", name);
            let group =
                document::Group { id: id.clone(), name: name.clone(), gid: user.uid, members: Vec::new() };
            item(&id, &group)
        })
        .collect()
}

fn principals(name: &str, user: &User) -> Vec<String> {
    let given = user.principals.clone();
    given.unwrap_or_else(|| vec![name.to_owned()])
}

fn settings(team: &Team) -> document::Settings {
    let given = &team.settings;
    let default = document::Settings::default();
    let removal = &given.removal;
    document::Settings {
        default_home: given.default_home.clone().unwrap_or(default.default_home),
        default_shell: given.default_shell.clone().unwrap_or(default.default_shell),
        certificate_only: given.certificate_only.unwrap_or(default.certificate_only),
        removal: document::Removal {
            homes: removal.homes.unwrap_or(HomeRemoval::Keep),
            grace: removal.grace.map_or(default.removal.grace, |time| time.as_secs()),
        },
        report_interval: given.report_interval.map_or(default.report_interval, |time| time.as_secs()),
        empty: given.empty,
    }
}

fn signs(team: &Team) -> Option<Signs> {
    const MINUTE: u64 = 60;
    let ssh = &team.ssh;
    (!ssh.sign_nothing).then(|| Signs {
        service: ssh.service_validity.unwrap_or(Duration::from_secs(3 * MINUTE)),
        host: ssh.host_validity.unwrap_or(Duration::from_secs(7 * 24 * 60 * MINUTE)),
    })
}

fn item<T: Serialize>(id: &str, value: &T) -> Item {
    Item { id: id.to_owned(), json: json(value) }
}

pub(crate) fn json<T: Serialize>(value: &T) -> String {
    // The types of the protocol have string keys and no fallible `Serialize`.
    serde_json::to_string(value).unwrap_or_default()
}

/// The same for the same name for ever, so that nothing need be remembered.
pub(crate) fn stable_id(kind: &str, name: &str) -> String {
    let digest = sha256_hex(format!("{kind}/{name}").as_bytes());
    format!("{}-{}", &kind[..1], &digest[..12])
}

#[cfg(test)]
mod tests;
