//! Services: which local accounts of this host stand for which users.
//!
//! A binding gives whoever has a uid the certificates of a user, so that a uid that is nobody's in particular (root's, a
//! container's, one that systemd hands out) is never bound.

use std::collections::{HashMap, HashSet};

use hostward_protocol::document::{self, Entry, SubidRange, UserStatus};
use hostward_protocol::report::Finding;
use hostward_protocol::service::BoundService;

use crate::account::name::UserName;
use crate::account::principal::Principal;
use crate::refusal::{Findings, Refusal, malformed, selector_invalid};
use crate::resolve::duplicates::duplicates;
use crate::resolve::horizon::Horizon;
use crate::resolve::host::Host;
use crate::resolve::people::People;
use crate::selector::Selector;
use crate::text::shown;

/// System users of the package. What they run as is nobody's to stand for.
const OWN_USERS: [&str; 2] = ["hostward", "hostward-principals"];

/// Uids that no account has for its own. Those of containers are not among them: outside a user namespace they are as
/// good as any.
const RESERVED: &[(u64, u64, &str)] = &[
    (0, 0, "0 is root"),
    (61_184, 65_519, "61184 to 65519 belong to systemd's dynamic users, who change"),
    (65_534, 65_534, "65534 is nobody"),
    (65_535, 65_535, "65535 is what 16-bit programs read as -1"),
    (u32::MAX as u64, u64::MAX, "ids from 4294967295 on are none"),
];

/// The bindings in force here, by uid.
pub(crate) fn read(
    services: &[Entry<document::Service>],
    people: &People<'_>,
    host: &Host<'_>,
    horizon: &mut Horizon,
    findings: &mut Findings,
) -> Vec<BoundService> {
    let here = of_this_host(services, host, findings);
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
            .and_then(|()| check_uid(service.uid, people, host))
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
                bound.push(BoundService { uid, user: user.name.clone(), principals });
            }
            Err(refusal) => findings.refuse(about(service, &refusal)),
        }
    }
    bound.sort_by_key(|service| service.uid);
    bound
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

fn check_uid(uid: u64, people: &People<'_>, host: &Host<'_>) -> Result<u32, Refusal> {
    let reserved = |why: &str| {
        Refusal::backend(
            "service-uid-reserved",
            format!("its uid is {uid}, and {why}"),
            "bind the uid of an account that only the service uses",
        )
    };
    if let Some((.., why)) = RESERVED.iter().find(|(first, last, _)| (*first..=*last).contains(&uid)) {
        return Err(reserved(why));
    }
    let Ok(number) = u32::try_from(uid) else {
        return Err(reserved("that is no id"));
    };
    let is_own =
        |user: &crate::facts::LocalUser| user.uid == number && OWN_USERS.contains(&user.name.as_str());
    if host.facts.local_users.iter().any(is_own) {
        return Err(reserved("that is hostward's own"));
    }
    if let Some(range) = host.ids.subordinate_among(number, number) {
        return Err(Refusal::operator(
            "service-uid-subordinate",
            format!(
                "its uid {uid} is inside the subordinate ids {}-{} that /etc/subuid or /etc/subgid gives to somebody's containers",
                range.first, range.last
            ),
            "bind another uid on the backend, or take the range out of /etc/subuid and /etc/subgid",
        ));
    }
    let of_policy = people.entries.iter().flat_map(|(user, _)| &user.subids);
    let of_former = host.facts.ledger.people.values().flat_map(|person| &person.subids);
    let has_it = |range: &SubidRange| range.start <= uid && uid - range.start < range.count;
    if of_policy.chain(of_former).any(has_it) {
        return Err(Refusal::backend(
            "service-uid-subordinate",
            format!(
                "its uid {uid} is inside the subordinate ids of a user, who can become it in a container"
            ),
            "bind another uid on the backend",
        ));
    }
    let is_managed = people.admitted.binary_search_by_key(&number, |person| person.uid.number()).is_ok()
        || host.facts.ledger.people.contains_key(&number);
    if is_managed {
        return Err(Refusal::backend(
            "service-uid-managed",
            format!(
                "its uid {uid} belongs, or belonged, to a person whom the policy brought to this host; people have certificates of their own"
            ),
            "bind the uid of a local account on the backend",
        ));
    }
    Ok(number)
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
