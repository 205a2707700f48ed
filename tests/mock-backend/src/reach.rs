//! Who may enter which hosts by a policy, as far as a backend can tell: by what hosts say of themselves.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use hostward_plan::selector::{Labels, Selector};
use hostward_protocol::api::HostInfo;
use hostward_protocol::document::{Grant, Group, Service, User, UserStatus};
use serde::de::DeserializeOwned;

use crate::policy::{Item, Policy};

/// Grants and services, ready to be asked.
pub struct Reach {
    users: HashMap<String, User>,
    groups: HashMap<String, HashSet<String>>,
    logins: Vec<(Selector, Grant)>,
    services: Vec<(Selector, Service)>,
}

impl Reach {
    /// What the entries say that have the shape of their kind.
    pub fn of(policy: &Policy) -> Reach {
        let by_id = |user: User| (user.id.clone(), user);
        let members = |group: Group| (group.id, group.members.into_iter().collect());
        let grants = shaped::<Grant>(&policy.grants).filter(|grant| grant.login);
        Reach {
            users: shaped(&policy.users).map(by_id).collect(),
            groups: shaped(&policy.groups).map(members).collect(),
            logins: selecting(grants, |grant| &grant.hosts),
            services: selecting(shaped(&policy.services), |service: &Service| &service.hosts),
        }
    }

    /// The user that a uid stands for on a host, if there is exactly one binding and the user may log in at all.
    pub fn bound(&self, host: &HostInfo, uid: u32, now: DateTime<Utc>) -> Option<&User> {
        let labels = labels(host);
        let mut bindings = self
            .services
            .iter()
            .filter(|(hosts, service)| service.uid == u64::from(uid) && hosts.selects(&labels));
        let (_, service) = bindings.next()?;
        let user = self.users.get(&service.user).filter(|_| bindings.next().is_none())?;
        let is_over = user.expires.is_some_and(|expires| expires <= now);
        (user.status == UserStatus::Active && !is_over).then_some(user)
    }

    /// Whether some grant lets a user log in to a host.
    pub fn admits(&self, user: &User, host: &HostInfo, now: DateTime<Utc>) -> bool {
        let labels = labels(host);
        self.logins.iter().any(|(hosts, grant)| {
            let holds =
                grant.from.is_none_or(|from| from <= now) && grant.until.is_none_or(|until| now < until);
            let is_member = || self.groups.get(&grant.group).is_some_and(|group| group.contains(&user.id));
            holds && is_member() && hosts.selects(&labels)
        })
    }
}

fn shaped<T: DeserializeOwned>(items: &[Item]) -> impl Iterator<Item = T> {
    items.iter().filter_map(|item| serde_json::from_str(&item.json).ok())
}

fn selecting<T>(entries: impl Iterator<Item = T>, hosts: impl Fn(&T) -> &String) -> Vec<(Selector, T)> {
    entries.filter_map(|entry| Some((Selector::parse(hosts(&entry)).ok()?, entry))).collect()
}

/// The labels of a host, from its own word.
fn labels(host: &HostInfo) -> Labels {
    let own = host.labels.iter().map(|(key, value)| (format!("labels.{key}"), value.clone()));
    let observed = [
        ("host.name", &host.hostname),
        ("host.fqdn", host.fqdn.as_ref().unwrap_or(&host.hostname)),
        ("host.arch", &host.architecture),
        ("os.id", &host.os),
        ("os.version", &host.os_version),
    ];
    own.chain(observed.map(|(key, value)| (key.to_owned(), value.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEAM: &str = r#"
        [project]
        id = "acme"
        [users.deploy]
        uid = 70100
        [users.gone]
        uid = 70101
        status = "suspended"
        [groups.deployers]
        gid = 71100
        members = ["deploy"]
        [[grants]]
        group = "deployers"
        hosts = "labels.role = web"
        login = true
        until = 2030-01-01T00:00:00Z
        [[services]]
        user = "deploy"
        hosts = "labels.role = ci, os.id = debian"
        uid = 112
        [[services]]
        user = "gone"
        uid = 113
        [[services]]
        user = "deploy"
        uid = 114
        [[services]]
        user = "gone"
        uid = 114
    "#;

    fn host(role: &str) -> HostInfo {
        HostInfo {
            hostname: role.into(),
            os: "debian".into(),
            labels: [("role".to_owned(), role.to_owned())].into(),
            ..HostInfo::default()
        }
    }

    #[test]
    fn bindings_and_grants_hold_where_and_while_they_say() {
        let reach = Reach::of(&Policy::parse(TEAM).unwrap());
        let before = "2029-12-31T23:59:59Z".parse().unwrap();
        let after = "2030-01-01T00:00:00Z".parse().unwrap();
        let bound = |host: &HostInfo, uid| reach.bound(host, uid, before).map(|user| user.name.as_str());
        assert_eq!(bound(&host("ci"), 112), Some("deploy"));
        assert_eq!(bound(&host("web"), 112), None, "another host");
        assert_eq!(bound(&host("ci"), 113), None, "suspended");
        assert_eq!(bound(&host("ci"), 114), None, "bound twice");
        assert_eq!(bound(&host("ci"), 0), None);
        let user = reach.bound(&host("ci"), 112, before).unwrap();
        assert!(reach.admits(user, &host("web"), before));
        assert!(!reach.admits(user, &host("web"), after));
        assert!(!reach.admits(user, &host("db"), before));
    }
}
