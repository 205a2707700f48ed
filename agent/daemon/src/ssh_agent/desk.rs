//! What the agent answers to whom.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hostward_protocol::api::Target;
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::service::{Answer, BoundService, Query, ServiceIssuer, ServiceState};
use hostward_ssh_agent::{
    Keys, Refusal, Request, Rules, Session, SessionBind, Verdict, judge, reply, request,
};

use super::bindings::{Bindings, Bound};
use super::caller::Caller;
use super::gate::Standing;
use super::identities::{Identities, not_bound};
use super::issuer::{Issuer, Offices};
use super::record::{Event, Record, seconds};
use super::resolver::Resolver;
use super::step_ca::{Authority, route};
use crate::clock::Clock;
use crate::events::Events;

/// Answers. Shared by all connections.
#[derive(Debug)]
pub struct Desk {
    bindings: Arc<Bindings>,
    identities: Arc<Identities>,
    resolver: Arc<Resolver>,
    offices: Arc<Offices>,
    step_ca: Mutex<Option<Arc<Authority>>>,
    require_hostbound: AtomicBool,
    /// Names by which hosts of the backend's are gone to; any where there are none.
    hosts: Mutex<Option<Vec<String>>>,
    clock: Arc<Clock>,
    record: Arc<Record>,
}

impl Desk {
    /// A desk that goes by what root wrote down in `dir`.
    pub fn new(dir: PathBuf, clock: Arc<Clock>, events: Option<Arc<Events>>) -> Self {
        let bindings = Arc::new(Bindings::new(dir));
        let offices = Arc::new(Offices::default());
        let record = Arc::new(Record::new(events));
        Desk {
            identities: Arc::new(Identities::new(
                bindings.clone(),
                offices.clone(),
                clock.clone(),
                record.clone(),
            )),
            resolver: Arc::new(Resolver::new(offices.clone())),
            bindings,
            offices,
            step_ca: Mutex::default(),
            require_hostbound: AtomicBool::new(false),
            hosts: Mutex::default(),
            clock,
            record,
        }
    }

    /// Who issues for accounts that the policy binds, from now on.
    pub fn set_issuer(&self, issuer: Option<Issuer>) {
        self.offices.backend.set(issuer);
        self.identities.try_again();
    }

    /// Who issues for accounts that the operator's configuration binds, from now on.
    pub fn set_step_ca(&self, authority: Option<Arc<Authority>>) {
        self.step_ca().clone_from(&authority);
        self.offices.step_ca.set(authority.map(Issuer::StepCa));
        self.identities.try_again();
    }

    fn step_ca(&self) -> MutexGuard<'_, Option<Arc<Authority>>> {
        self.step_ca.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who signs for the hosts that the account goes to.
    fn host_cas<'a>(&self, bound: &'a Bound, service: &BoundService) -> Cow<'a, Keys> {
        match &*self.step_ca() {
            Some(authority) if !service.issuer.is_backend() => {
                Cow::Owned(bound.host_cas.and(&authority.host_cas()))
            }
            _ => Cow::Borrowed(&bound.host_cas),
        }
    }

    /// Whether clients that do not say for which session they ask are refused.
    pub fn set_require_hostbound(&self, require: bool) {
        self.require_hostbound.store(require, Ordering::Relaxed);
    }

    /// By which names hosts of the backend's are gone to, as patterns; any where there are none.
    pub fn set_hosts(&self, patterns: Option<Vec<String>>) {
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = patterns;
    }

    /// Root may have written something down: forgets what is not bound any more.
    pub fn look(&self) {
        let bound = self.bindings.current();
        self.identities.sweep(&bound);
        self.resolver.sweep(&bound);
        self.identities.try_again();
    }

    /// Whether a uid has business here.
    pub fn standing(&self, uid: u32) -> Standing {
        if self.bindings.current().service(uid).is_some() { Standing::Bound } else { Standing::Other }
    }

    /// The answer to one message, as a whole frame.
    pub async fn answer(&self, caller: &Caller, session: &mut Session, message: &[u8]) -> Vec<u8> {
        let bound = self.bindings.current();
        let service = bound.service(caller.uid);
        match (request(message), service) {
            (Request::Extensions, _) => reply::extensions(),
            (Request::Query(json), service) => self.query(caller, service, json).await,
            (Request::Other, _) => reply::failure(),
            (Request::BadExtension, _) => reply::extension_failure(),
            (Request::Identities, None) => reply::identities(&[]),
            (Request::Identities, Some(service)) => self.identities(caller, session, service).await,
            (Request::SessionBind(_), None) => reply::extension_failure(),
            (Request::SessionBind(bind), Some(service)) => {
                self.bind(caller, session, &self.host_cas(&bound, service), &bind)
            }
            (Request::Sign { .. }, None) => reply::failure(),
            (Request::Sign { key, data }, Some(service)) => {
                self.sign(caller, session, &bound, service, key, data)
            }
        }
    }

    async fn identities(&self, caller: &Caller, session: &Session, service: &BoundService) -> Vec<u8> {
        if session.refused().is_some() {
            return reply::identities(&[]);
        }
        match self.identities.fresh(caller, service).await {
            Ok(identity) => reply::identities(&[(identity.certificate(), identity.key_id())]),
            // Why is asked for by `hostward status`.
            Err(_) => reply::failure(),
        }
    }

    fn bind(
        &self,
        caller: &Caller,
        session: &mut Session,
        host_cas: &Keys,
        bind: &SessionBind<'_>,
    ) -> Vec<u8> {
        let was_refused = session.refused().is_some();
        match session.bind(bind, host_cas, seconds(self.clock.now())) {
            Ok(()) => reply::success(),
            Err(error) => {
                if !was_refused {
                    self.refused(caller, &Refusal::Session(error));
                }
                reply::extension_failure()
            }
        }
    }

    fn sign(
        &self,
        caller: &Caller,
        session: &Session,
        bound: &Bound,
        service: &BoundService,
        key: &[u8],
        data: &[u8],
    ) -> Vec<u8> {
        let rules = Rules {
            host_cas: &self.host_cas(bound, service),
            require_hostbound: self.require_hostbound.load(Ordering::Relaxed),
            now: seconds(self.clock.now()),
        };
        let identities = self.identities.good(service);
        match judge(&identities, session, key, data, &rules) {
            Verdict::Sign(permission) => reply::signature(&permission.sign()),
            Verdict::Refuse(refusal) => {
                self.refused(caller, &refusal);
                reply::failure()
            }
        }
    }

    fn refused(&self, caller: &Caller, refusal: &Refusal) {
        self.record.record(caller.uid, &caller.hint(), Event::NotSigned(refusal), self.clock.now());
    }

    async fn route(&self, service: &BoundService, name: &str) -> Result<Vec<Target>, Finding> {
        match &service.issuer {
            ServiceIssuer::Backend => {
                let patterns = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone();
                self.resolver.route(service, name, patterns.as_deref()).await
            }
            ServiceIssuer::StepCa { hosts } => route::route(hosts, name, self.clock.now()),
        }
    }

    async fn query(&self, caller: &Caller, service: Option<&BoundService>, json: &[u8]) -> Vec<u8> {
        let answer = match (serde_json::from_slice(json), service) {
            (Err(_), _) => Answer::Refused(unknown_query()),
            (Ok(Query::Service), None) => Answer::Service(ServiceState {
                uid: caller.uid,
                user: None,
                issuer: None,
                certificate_until: None,
                problem: None,
            }),
            (Ok(Query::Service), Some(service)) => {
                let state = self.identities.state(service);
                Answer::Service(ServiceState {
                    uid: caller.uid,
                    user: Some(service.user.clone()),
                    issuer: Some(service.issuer.word().into()),
                    certificate_until: state.until,
                    problem: state.problem,
                })
            }
            (Ok(Query::Resolve { .. }), None) => Answer::Refused(not_bound(caller.uid)),
            (Ok(Query::Resolve { name }), Some(service)) => match self.route(service, &name).await {
                Ok(route) => Answer::Resolved { user: service.user.clone(), route },
                Err(finding) => Answer::Refused(finding),
            },
        };
        match serde_json::to_vec(&answer) {
            Ok(json) => reply::answer(&json),
            Err(_) => reply::extension_failure(),
        }
    }
}

fn unknown_query() -> Finding {
    Finding {
        code: "query-unknown".into(),
        subject: "the question".into(),
        message: "hostward-agent does not know the question".into(),
        responsible: Responsible::Operator,
        mend: "use a `hostward` of the same version as the host's, in containers too".into(),
    }
}
