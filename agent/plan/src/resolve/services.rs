//! Services: which local accounts of this host stand for which users.
//!
//! The signed policy binds uids, and the operator's configuration does, which comes first: whoever is root here says what
//! their accounts are.

mod operator;
mod uid;

use std::collections::{HashMap, HashSet};

use hostward_config::Config;
use hostward_protocol::document::{self, Entry, UserStatus};
use hostward_protocol::report::Finding;
use hostward_protocol::service::{BoundService, ServiceIssuer};

use crate::account::name::UserName;
use crate::account::principal::Principal;
use crate::client_config::{client_config, known_hosts};
use crate::desired::{KrlSpec, Services};
use crate::facts::Facts;
use crate::refusal::{Findings, Refusal, malformed, selector_invalid};
use crate::resolve::duplicates::duplicates;
use crate::resolve::horizon::Horizon;
use crate::resolve::host::Host;
use crate::resolve::people::People;
use crate::selector::Selector;
use crate::text::shown;
use uid::{Origin, Uids};

/// The bindings in force here, by uid.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    /// Of the signed policy.
    of_policy: Vec<BoundService>,
    /// Of the operator's configuration, which says nothing about those.
    of_operator: Vec<BoundService>,
}

impl Bindings {
    /// Those of a host with a policy.
    pub(crate) fn read(
        services: &[Entry<document::Service>],
        people: &People<'_>,
        host: &Host<'_>,
        horizon: &mut Horizon,
        findings: &mut Findings,
    ) -> Self {
        let uids = Uids { host, people: Some(people) };
        let of_operator = operator::read(uids, findings);
        let taken: HashSet<u32> = of_operator.iter().map(|service| service.uid).collect();
        let of_policy = of_policy(services, people, &taken, uids, horizon, findings);
        Bindings { of_policy, of_operator }
    }

    /// Those of a host without one.
    pub(crate) fn without_policy(config: &Config, facts: &Facts, findings: &mut Findings) -> Self {
        let host = Host::new(config, facts);
        let of_operator = operator::read(Uids { host: &host, people: None }, findings);
        Bindings { of_policy: Vec::new(), of_operator }
    }

    /// Once the host was offline for too long nobody is bound by the policy: whoever left meanwhile must not come in
    /// elsewhere. What the operator bound does not depend on it.
    pub(crate) fn end_those_of_policy(&mut self) {
        self.of_policy.clear();
    }

    /// What ssh and the agent are told; `None` where nobody is bound.
    pub(crate) fn told(
        self,
        facts: &Facts,
        (host_cas, krl): (&[String], &KrlSpec),
        findings: &mut Findings,
    ) -> Option<Services> {
        let mut bound = self.of_policy;
        bound.extend(self.of_operator);
        bound.sort_by_key(|service| service.uid);
        (!bound.is_empty()).then(|| Services {
            client_config: client_config(&bound, &facts.local_users, findings),
            known_hosts: known_hosts(host_cas, krl),
            bound,
        })
    }
}

fn of_policy(
    services: &[Entry<document::Service>],
    people: &People<'_>,
    taken: &HashSet<u32>,
    uids: Uids<'_>,
    horizon: &mut Horizon,
    findings: &mut Findings,
) -> Vec<BoundService> {
    let here = of_this_host(services, uids.host, findings);
    if here.is_empty() {
        return Vec::new();
    }
    let twice = Twice {
        ids: duplicates(here.iter().map(|service| service.id.as_str())),
        uids: duplicates(here.iter().map(|service| service.uid)),
    };
    let users = Users::of(&here, people);
    let mut bound = Vec::with_capacity(here.len());
    for service in here {
        let judged = twice
            .check(service)
            .and_then(|()| uids.check(service.uid, Origin::Policy))
            .and_then(|uid| if taken.contains(&uid) { Err(taken_by_operator(uid)) } else { Ok(uid) })
            .and_then(|uid| users.find(&service.user).map(|user| (uid, user)));
        let (uid, user) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                findings.refuse(about(service, &refusal));
                continue;
            }
        };
        if let Some(refusal) = out_of_service(user, horizon) {
            findings.warn(about(service, &refusal));
            continue;
        }
        match users.principals(user, |refusal| findings.refuse(about(service, &refusal))) {
            Ok(principals) => {
                if !principals.contains(&user.name) {
                    findings.warn(about(service, &name_is_no_principal(user)));
                }
                let issuer = ServiceIssuer::Backend;
                bound.push(BoundService { uid, user: user.name.clone(), principals, issuer });
            }
            Err(refusal) => findings.refuse(about(service, &refusal)),
        }
    }
    bound
}

fn taken_by_operator(uid: u32) -> Refusal {
    Refusal::operator(
        "service-uid-taken",
        format!("[[step_ca.services]] in /etc/hostward/hostward.toml binds uid {uid} too, and comes first"),
        "take one of the two away: the entry there, or the binding on the backend",
    )
}

fn about(service: &document::Service, refusal: &Refusal) -> Finding {
    refusal.about(format!("service `{}` (uid {})", shown(&service.id), service.uid))
}

fn of_this_host<'a>(
    services: &'a [Entry<document::Service>],
    host: &Host<'_>,
    findings: &mut Findings,
) -> Vec<&'a document::Service> {
    let mut here = Vec::new();
    for entry in services {
        match entry {
            Entry::Malformed { label, at } => findings.refuse(malformed("service", label, *at)),
            Entry::Shaped(service) => match Selector::parse(&service.hosts) {
                Ok(selector) if selector.selects(&host.labels) => here.push(service),
                Ok(_) => {}
                Err(why) => {
                    findings.refuse(about(service, &selector_invalid("service", &service.hosts, why)));
                }
            },
        }
    }
    here
}

/// What more than one binding of this host has.
struct Twice<'a> {
    ids: HashSet<&'a str>,
    uids: HashSet<u64>,
}

impl Twice<'_> {
    fn check(&self, service: &document::Service) -> Result<(), Refusal> {
        let what = if self.ids.contains(service.id.as_str()) {
            "id"
        } else if self.uids.contains(&service.uid) {
            "uid"
        } else {
            return Ok(());
        };
        Err(Refusal::backend(
            format!("service-{what}-duplicate"),
            format!("another service of this host has the same {what}; neither is accepted"),
            format!("give each service a {what} of its own on the backend"),
        ))
    }
}

/// Why a user is not bound for now, where they are not.
fn out_of_service(user: &document::User, horizon: &mut Horizon) -> Option<Refusal> {
    let (what, mend) = match user.status {
        UserStatus::Suspended => ("suspended", "activate the user on the backend"),
        UserStatus::Active if user.expires.is_some_and(|expires| expires <= horizon.now()) => {
            ("expired", "extend the user's time on the backend")
        }
        UserStatus::Active => {
            horizon.note(user.expires);
            return None;
        }
    };
    Some(Refusal::backend(
        format!("service-user-{what}"),
        format!("its user `{}` is {what}: the account gets no certificates", shown(&user.name)),
        mend,
    ))
}

fn name_is_no_principal(user: &document::User) -> Refusal {
    let name = shown(&user.name);
    Refusal::backend(
        "service-user-not-principal",
        format!(
            "the name of its user `{name}` is not among the user's principals: the agent signs in nobody under it"
        ),
        format!("list `{name}` among the user's principals on the backend"),
    )
}

/// The users that services name.
struct Users<'a> {
    /// `None` where several have the id.
    by_id: HashMap<&'a str, Option<&'a document::User>>,
    /// Principals of theirs that other users list too.
    shared: HashSet<&'a str>,
}

impl<'a> Users<'a> {
    fn of(services: &[&'a document::Service], people: &People<'a>) -> Self {
        let named: HashSet<&str> = services.iter().map(|service| service.user.as_str()).collect();
        let mut by_id: HashMap<&str, Option<&document::User>> = HashMap::new();
        for (user, _) in people.entries.iter().filter(|(user, _)| named.contains(user.id.as_str())) {
            by_id.entry(&user.id).and_modify(|found| *found = None).or_insert(Some(user));
        }
        let mut owners: HashMap<&str, HashSet<&str>> = HashMap::new();
        for principal in by_id.values().flatten().flat_map(|user| &user.principals) {
            owners.entry(principal).or_default();
        }
        for (user, _) in &people.entries {
            for principal in &user.principals {
                if let Some(owners) = owners.get_mut(principal.as_str()) {
                    owners.insert(&user.id);
                }
            }
        }
        let shared =
            owners.into_iter().filter(|(_, owners)| owners.len() > 1).map(|(principal, _)| principal);
        Users { by_id, shared: shared.collect() }
    }

    fn find(&self, id: &str) -> Result<&'a document::User, Refusal> {
        let unusable = |code: &str, why: &str| {
            Refusal::backend(
                code,
                format!("its user (id {}) {why}", shown(id)),
                "name the stable id of one user on the backend",
            )
        };
        match self.by_id.get(id) {
            None => Err(unusable("service-user-unknown", "is not in the policy, or cannot be read")),
            Some(None) => Err(unusable("service-user-ambiguous", "is in the policy more than once")),
            Some(Some(user)) => UserName::parse(&user.name)
                .map(|_| *user)
                .map_err(|why| unusable("service-user-refused", &format!("is refused: {}", why.message))),
        }
    }

    /// What the user's certificates may have; `refused` gets what they may not.
    fn principals(
        &self,
        user: &document::User,
        mut refused: impl FnMut(Refusal),
    ) -> Result<Vec<String>, Refusal> {
        let mut principals = Vec::with_capacity(user.principals.len());
        for text in &user.principals {
            if self.shared.contains(text.as_str()) {
                refused(Refusal::backend(
                    "principal-shared",
                    format!(
                        "another user lists the principal `{}` of its user too; no certificate may have it",
                        shown(text)
                    ),
                    "list each principal for one user only on the backend",
                ));
                continue;
            }
            match Principal::parse(text) {
                Ok(principal) => principals.push(principal.as_str().to_owned()),
                Err(refusal) => refused(refusal),
            }
        }
        principals.sort_unstable();
        principals.dedup();
        if principals.is_empty() {
            return Err(Refusal::backend(
                "service-user-without-principals",
                format!("its user `{}` has no acceptable certificate principal", shown(&user.name)),
                "list the principals of the user's certificates on the backend",
            ));
        }
        Ok(principals)
    }
}
