//! What the host has of its own, and the operator's limits: the things that a policy's entries are held against.

use std::collections::{BTreeMap, HashMap, HashSet};

use hostward_config::Config;

use crate::account::Kind;
use crate::account::home::HomeRules;
use crate::account::id::IdRules;
use crate::facts::Facts;
use crate::refusal::Refusal;
use crate::selector::Labels;
use crate::text::shown;

/// The host, indexed.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a Facts,
    pub(crate) labels: Labels,
    pub(crate) ids: IdRules<'a>,
    pub(crate) homes: HomeRules,
    users: HashSet<&'a str>,
    groups: BTreeMap<&'a str, u32>,
    uids: HashMap<u32, &'a str>,
    gids: HashMap<u32, &'a str>,
    local_homes: HashSet<&'a str>,
}

impl<'a> Host<'a> {
    pub(crate) fn new(config: &'a Config, facts: &'a Facts) -> Self {
        let passwd = &facts.local_users;
        let group = &facts.local_groups;
        // A primary group need not have an entry in /etc/group to give rights.
        let primary = passwd.iter().map(|user| (user.gid, user.name.as_str()));
        Host {
            config,
            facts,
            labels: Labels::of(config, facts),
            ids: IdRules::new(&config.accounts.id_ranges, &facts.subordinate_ids),
            homes: HomeRules::new(&config.accounts.home_parents),
            users: passwd.iter().map(|user| user.name.as_str()).collect(),
            groups: group.iter().map(|group| (group.name.as_str(), group.gid)).collect(),
            uids: passwd.iter().map(|user| (user.uid, user.name.as_str())).collect(),
            gids: primary.chain(group.iter().map(|group| (group.gid, group.name.as_str()))).collect(),
            local_homes: passwd.iter().map(|user| user.home.trim_end_matches('/')).collect(),
        }
    }

    /// The gid of a group in the local group file.
    pub(crate) fn local_group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }

    /// Refuses a name that the passwd or the group file has. What exists locally is never served, and somebody would
    /// believe that the two are one.
    pub(crate) fn check_name(&self, name: &str, kind: Kind) -> Result<(), Refusal> {
        let local = if self.users.contains(name) {
            "user"
        } else if self.groups.contains_key(name) {
            "group"
        } else {
            return Ok(());
        };
        let word = kind.word();
        Err(Refusal::operator(
            format!("{word}-name-exists-locally"),
            format!("this host has a local {local} `{}`", shown(name)),
            format!("choose another name on the backend, or remove the local {local} `{}`", shown(name)),
        ))
    }

    pub(crate) fn check_uid(&self, uid: u32) -> Result<(), Refusal> {
        match self.uids.get(&uid) {
            None => Ok(()),
            Some(name) => Err(Refusal::operator(
                "user-id-exists-locally",
                format!("its uid {uid} is that of the local user `{}`", shown(name)),
                format!("choose another uid on the backend, or remove the local user `{}`", shown(name)),
            )),
        }
    }

    pub(crate) fn check_gid(&self, gid: u32) -> Result<(), Refusal> {
        match self.gids.get(&gid) {
            None => Ok(()),
            Some(name) => Err(Refusal::operator(
                "group-id-exists-locally",
                format!(
                    "its gid {gid} is that of the local group, or primary group of the local user, `{}`",
                    shown(name)
                ),
                format!(
                    "choose another gid on the backend, or remove the local group or user `{}`",
                    shown(name)
                ),
            )),
        }
    }

    pub(crate) fn check_home(&self, home: &str) -> Result<(), Refusal> {
        if !self.local_homes.contains(home) {
            return Ok(());
        }
        Err(Refusal::operator(
            "user-home-exists-locally",
            format!("its home `{}` is that of a local user", shown(home)),
            "choose another home on the backend, or remove the local user whose home it is",
        ))
    }
}
