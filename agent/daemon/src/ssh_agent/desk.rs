//! What the agent answers to whom.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::service::{Answer, BoundService, Query, ServiceState};
use hostward_ssh_agent::{Refusal, Request, Rules, Session, SessionBind, Verdict, judge, reply, request};

use super::bindings::{Bindings, Bound};
use super::caller::Caller;
use super::gate::Standing;
use super::identities::{Identities, not_bound};
use super::issuer::{Issuer, Office};
use super::record::{Event, Record, seconds};
use super::resolver::Resolver;
use crate::clock::Clock;
use crate::events::Events;

/// Answers. Shared by all connections.
#[derive(Debug)]
pub struct Desk {
    bindings: Arc<Bindings>,
    identities: Arc<Identities>,
    resolver: Arc<Resolver>,
    office: Arc<Office>,
    require_hostbound: AtomicBool,
    clock: Arc<Clock>,
    record: Arc<Record>,
}

impl Desk {
    /// A desk that goes by what root wrote down in `dir`.
    pub fn new(dir: PathBuf, clock: Arc<Clock>, events: Option<Arc<Events>>) -> Self {
        let bindings = Arc::new(Bindings::new(dir));
        let office = Arc::new(Office::default());
        let record = Arc::new(Record::new(events));
        Desk {
            identities: Arc::new(Identities::new(
                bindings.clone(),
                office.clone(),
                clock.clone(),
                record.clone(),
            )),
            resolver: Arc::new(Resolver::new(office.clone())),
            bindings,
            office,
            require_hostbound: AtomicBool::new(false),
            clock,
            record,
        }
    }

    /// Who issues from now on.
    pub fn set_issuer(&self, issuer: Option<Issuer>) {
        self.office.set(issuer);
        self.identities.try_again();
    }

    /// Whether clients that do not say for which session they ask are refused.
    pub fn set_require_hostbound(&self, require: bool) {
        self.require_hostbound.store(require, Ordering::Relaxed);
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
            (Request::SessionBind(bind), Some(_)) => self.bind(caller, session, &bound, &bind),
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

    fn bind(&self, caller: &Caller, session: &mut Session, bound: &Bound, bind: &SessionBind<'_>) -> Vec<u8> {
        let was_refused = session.refused().is_some();
        match session.bind(bind, &bound.host_cas, seconds(self.clock.now())) {
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
            host_cas: &bound.host_cas,
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

    async fn query(&self, caller: &Caller, service: Option<&BoundService>, json: &[u8]) -> Vec<u8> {
        let answer = match (serde_json::from_slice(json), service) {
            (Err(_), _) => Answer::Refused(unknown_query()),
            (Ok(Query::Service), None) => Answer::Service(ServiceState {
                uid: caller.uid,
                user: None,
                certificate_until: None,
                problem: None,
            }),
            (Ok(Query::Service), Some(service)) => {
                let state = self.identities.state(service);
                Answer::Service(ServiceState {
                    uid: caller.uid,
                    user: Some(service.user.clone()),
                    certificate_until: state.until,
                    problem: state.problem,
                })
            }
            (Ok(Query::Resolve { .. }), None) => Answer::Refused(not_bound(caller.uid)),
            (Ok(Query::Resolve { name }), Some(service)) => match self.resolver.route(service, &name).await {
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
