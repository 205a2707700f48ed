//! Where hosts are: names looked up at the backend, bastions included, and kept for when it is down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hostward_protocol::api::Target;
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::service::BoundService;

use super::bindings::Bound;
use super::flights::Flights;
use super::issuer::{Offices, PATIENCE, shown};
use super::step_ca::route::selects;

/// For how long what the backend said is not asked again.
const FRESH: Duration = Duration::from_secs(10);
/// For how long it is believed while the backend does not answer.
const STALE: Duration = Duration::from_secs(12 * 3600);
/// So much longer than one answer may all take, so that an issuer that is silent is known as such.
const MARGIN: Duration = Duration::from_millis(200);
/// The longest way: a bastion of a bastion of …
const MAX_HOPS: usize = 8;
/// How many names of one account are kept, and how many hosts of one name.
const MAX_NAMES: usize = 128;
const MAX_HOSTS: usize = 16;
/// The longest name that is looked up.
const MAX_NAME: usize = 255;

type Hosts = Arc<[Target]>;
type Found = Result<Hosts, Finding>;

/// Looks names up.
#[derive(Debug)]
pub struct Resolver {
    known: Mutex<Known>,
    asking: Arc<Flights<(u32, String), Found>>,
    offices: Arc<Offices>,
}

#[derive(Debug, Default)]
struct Known {
    of: HashMap<u32, Names>,
}

#[derive(Debug)]
struct Names {
    service: BoundService,
    names: HashMap<String, (Instant, Hosts)>,
}

impl Resolver {
    /// Knows nothing yet.
    pub fn new(offices: Arc<Offices>) -> Self {
        Resolver { known: Mutex::default(), asking: Arc::default(), offices }
    }

    /// The way to `name` for whom `service` binds: bastions first, the target last. Where there are patterns, one must
    /// select the name, or it must be the target's id: a host says itself what it is called, but for its id.
    pub async fn route(
        self: &Arc<Self>,
        service: &BoundService,
        name: &str,
        patterns: Option<&[String]>,
    ) -> Result<Vec<Target>, Finding> {
        match tokio::time::timeout(PATIENCE + MARGIN, self.hops(service, name)).await {
            Ok(route) => {
                let route = route?;
                let is_id = route.last().is_some_and(|target| target.id.eq_ignore_ascii_case(name));
                let is_selected = patterns.is_none_or(|patterns| selects(patterns, name));
                if is_id || is_selected { Ok(route) } else { Err(not_selected(name)) }
            }
            Err(_) => Err(Finding {
                code: "backend-timeout".into(),
                subject: format!("host `{}`", shown(name)),
                message: format!("the way to it was not known within {} s", PATIENCE.as_secs()),
                responsible: Responsible::Backend,
                mend: "try again; see whether the backend is overloaded".into(),
            }),
        }
    }

    async fn hops(self: &Arc<Self>, service: &BoundService, name: &str) -> Result<Vec<Target>, Finding> {
        let mut route: Vec<Target> = Vec::new();
        let mut next = Some(name.to_owned());
        while let Some(name) = next {
            let target = one(&name, &self.hosts(service, &name).await?)?.clone();
            if route.len() >= MAX_HOPS || route.iter().any(|hop| hop.id == target.id) {
                return Err(bastions_in_a_circle(&target));
            }
            next = target.bastion.clone();
            route.push(target);
        }
        route.reverse();
        Ok(route)
    }

    async fn hosts(self: &Arc<Self>, service: &BoundService, name: &str) -> Found {
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with('-') || name.contains(is_odd) {
            return Err(unknown(name));
        }
        if let Some(hosts) = self.known().not_older(service, name, FRESH) {
            return Ok(hosts);
        }
        let (own, wanted, of) = (self.clone(), name.to_owned(), service.clone());
        let flight =
            self.asking.join((of.uid, wanted.clone()), move || async move { own.ask(of, wanted).await });
        flight.landed().await.unwrap_or_else(|| Err(unknown(name)))
    }

    async fn ask(self: Arc<Self>, service: BoundService, name: String) -> Found {
        let answer = self.offices.backend.targets(&name, service.uid).await;
        let mut known = self.known();
        match answer {
            Ok(targets) => Ok(known.keep(&service, name, targets.hosts)),
            Err(failure) if failure.is_down => {
                known.not_older(&service, &name, STALE).ok_or(*failure.finding)
            }
            Err(failure) => Err(*failure.finding),
        }
    }

    /// Forgets what was for bindings that are gone.
    pub fn sweep(&self, bound: &Bound) {
        self.known().of.retain(|uid, names| bound.service(*uid) == Some(&names.service));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// A host that was found by whatever name is known by its id too: it is what clients go on with.
    fn by_id(&self, id: &str, is_young: impl Fn(&Instant) -> bool) -> Option<&Target> {
        let young = self.names.values().filter(|(at, _)| is_young(at));
        let found = young.filter_map(|(at, hosts)| Some((at, hosts.iter().find(|host| host.id == id)?)));
        found.max_by_key(|(at, _)| **at).map(|(_, host)| host)
    }
}

impl Known {
    fn not_older(&self, service: &BoundService, name: &str, age: Duration) -> Option<Hosts> {
        let names = self.of.get(&service.uid).filter(|names| names.service == *service)?;
        let is_young = |at: &Instant| at.elapsed() < age;
        let own = names.names.get(name).filter(|(at, _)| is_young(at)).map(|(_, hosts)| hosts.clone());
        own.or_else(|| names.by_id(name, is_young).map(|host| Arc::from([host.clone()])))
    }

    fn keep(&mut self, service: &BoundService, name: String, mut hosts: Vec<Target>) -> Hosts {
        hosts.truncate(MAX_HOSTS);
        let hosts: Hosts = hosts.into();
        let empty = || Names { service: service.clone(), names: HashMap::new() };
        let names = self.of.entry(service.uid).or_insert_with(empty);
        if names.service != *service {
            *names = empty();
        }
        if names.names.len() >= MAX_NAMES {
            let oldest = names.names.iter().min_by_key(|(_, (at, _))| *at).map(|(name, _)| name.clone());
            oldest.and_then(|name| names.names.remove(&name));
        }
        names.names.insert(name, (Instant::now(), hosts.clone()));
        hosts
    }
}

fn is_odd(c: char) -> bool {
    c.is_control() || c.is_whitespace()
}

fn one<'a>(name: &str, hosts: &'a [Target]) -> Result<&'a Target, Finding> {
    match hosts {
        [] => Err(unknown(name)),
        [host] => Ok(host),
        several => Err(ambiguous(name, several)),
    }
}

fn unknown(name: &str) -> Finding {
    Finding {
        code: "target-unknown".into(),
        subject: format!("host `{}`", shown(name)),
        message: "no host of that name is known that this account may enter and that was heard of lately"
            .into(),
        responsible: Responsible::Backend,
        mend: "see whether the name is right, the host is up, and a grant lets the service user log in there"
            .into(),
    }
}

fn not_selected(name: &str) -> Finding {
    Finding {
        code: "target-not-selected".into(),
        subject: format!("host `{}`", shown(name)),
        message: "a host is called so, but accounts of this host do not go by that name".into(),
        responsible: Responsible::Operator,
        mend: "let `hosts` of [service] in /etc/hostward/hostward.toml select it, then `systemctl reload hostward`; or use its id"
            .into(),
    }
}

fn ambiguous(name: &str, hosts: &[Target]) -> Finding {
    let candidate = |host: &Target| {
        let name = host.canonical_name.as_ref().unwrap_or(&host.hostname);
        format!("{} ({}, {})", shown(&host.id), shown(name), shown(&host.address))
    };
    let list: Vec<_> = hosts.iter().map(candidate).collect();
    Finding {
        code: "target-ambiguous".into(),
        subject: format!("host `{}`", shown(name)),
        message: format!("several hosts are called so: {}", list.join(", ")),
        responsible: Responsible::Operator,
        mend: "use the id or the canonical name of the one that is meant".into(),
    }
}

fn bastions_in_a_circle(host: &Target) -> Finding {
    Finding {
        code: "bastion-loop".into(),
        subject: format!("host `{}`", shown(&host.id)),
        message: format!("its bastions lead back to it, or are more than {MAX_HOPS}"),
        responsible: Responsible::Operator,
        mend: "correct [host] bastion in the configuration of the hosts on the way".into(),
    }
}
