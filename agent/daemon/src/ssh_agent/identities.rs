//! The identities of bound accounts: made when they are asked for, kept in memory until they are used up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hostward_protocol::api::ServiceCertificateRequest;
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::service::{BoundService, ServiceIssuer};
use hostward_ssh_agent::{Expected, Identity, ServiceKey};

use super::bindings::{Bindings, Bound};
use super::caller::Caller;
use super::flights::{Flight, Flights};
use super::issuer::{Failure, Offices, shown};
use super::record::{Event, Record, seconds};
use crate::clock::Clock;

/// A certificate is handed out while it is good for so many seconds …
const ENOUGH: u64 = 60;
/// … and for this part of its life. With half of it gone the next one is fetched, while this one is used.
const ENOUGH_OF_LIFE: u64 = 3;
/// What is left of one that is handed out where no other can be had.
const LAST_RESORT: u64 = 5;
/// After a failure the issuer is left alone for so long; whoever asks meanwhile is told of that failure.
const REST: Duration = Duration::from_secs(3);
/// The longest rest, whatever the issuer says.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// How many identities of one account are kept. More than two are good at a time only where the issuer issues far shorter
/// ones than it should.
const KEPT: usize = 4;

/// All of them.
#[derive(Debug)]
pub struct Identities {
    slots: Mutex<HashMap<u32, Slot>>,
    asking: Arc<Flights<u32, ()>>,
    bindings: Arc<Bindings>,
    offices: Arc<Offices>,
    clock: Arc<Clock>,
    record: Arc<Record>,
}

/// Those of one account. It is made anew with the binding.
#[derive(Debug)]
struct Slot {
    service: BoundService,
    /// The newest first. Older ones are for clients that were told of them.
    identities: Vec<Arc<Identity>>,
    problem: Option<Finding>,
    rest_until: Option<Instant>,
}

/// What to do for somebody who wants an identity.
#[derive(Debug)]
enum Step {
    Use(Arc<Identity>),
    UseAndRenew(Arc<Identity>),
    Renew,
    Refuse(Finding),
}

/// How it stands with one account.
#[derive(Debug, Default)]
pub struct State {
    /// Until when the newest certificate is good.
    pub until: Option<DateTime<Utc>>,
    /// Why there was none the last time.
    pub problem: Option<Finding>,
}

impl Identities {
    /// None yet.
    pub fn new(
        bindings: Arc<Bindings>,
        offices: Arc<Offices>,
        clock: Arc<Clock>,
        record: Arc<Record>,
    ) -> Self {
        Identities { slots: Mutex::default(), asking: Arc::default(), bindings, offices, clock, record }
    }

    /// One that is good for long enough, for whom it is bound to.
    pub async fn fresh(
        self: &Arc<Self>,
        caller: &Caller,
        service: &BoundService,
    ) -> Result<Arc<Identity>, Finding> {
        match self.step(service) {
            Step::Use(identity) => return Ok(identity),
            Step::UseAndRenew(identity) => {
                drop(self.ask(caller, service));
                return Ok(identity);
            }
            Step::Refuse(finding) => return Err(finding),
            Step::Renew => {}
        }
        self.ask(caller, service).landed().await;
        // It may have been unbound meanwhile.
        let bound = self.bindings.current();
        if bound.service(caller.uid) != Some(service) {
            return Err(not_bound(caller.uid));
        }
        let now = seconds(self.clock.now());
        let mut slots = self.slots();
        let slot = slot(&mut slots, service);
        slot.newest(now, LAST_RESORT).ok_or_else(|| slot.reason())
    }

    /// Those that may sign.
    pub fn good(&self, service: &BoundService) -> Vec<Arc<Identity>> {
        let mut slots = self.slots();
        slot(&mut slots, service).identities.clone()
    }

    /// How it stands with an account.
    pub fn state(&self, service: &BoundService) -> State {
        let now = seconds(self.clock.now());
        let mut slots = self.slots();
        let slot = slot(&mut slots, service);
        let until = slot.newest(now, 1).and_then(|identity| i64::try_from(identity.valid_before()).ok());
        State {
            until: until.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            problem: slot.problem.clone(),
        }
    }

    /// Forgets what is not as it is bound, keys included.
    pub fn sweep(&self, bound: &Bound) {
        self.slots().retain(|uid, slot| bound.service(*uid) == Some(&slot.service));
    }

    /// The issuer may have changed: what it said before counts no more.
    pub fn try_again(&self) {
        self.slots().values_mut().for_each(|slot| slot.rest_until = None);
    }

    fn step(&self, service: &BoundService) -> Step {
        let now = seconds(self.clock.now());
        slot(&mut self.slots(), service).step(now, Instant::now())
    }

    fn ask(self: &Arc<Self>, caller: &Caller, service: &BoundService) -> Flight<()> {
        let (own, caller, service) = (self.clone(), *caller, service.clone());
        self.asking.join(service.uid, move || async move { own.renew(caller, service).await })
    }

    async fn renew(self: Arc<Self>, caller: Caller, service: BoundService) {
        let hint = caller.hint();
        let request =
            |public_key| ServiceCertificateRequest { uid: service.uid, public_key, hint: hint.clone() };
        let outcome = self.issued(&service, request).await;
        let now = self.clock.now();
        match &outcome {
            Ok(identity) => {
                let event = Event::Issued { service: &service, identity };
                self.record.record(service.uid, &hint, event, now);
            }
            Err(failure) => {
                let event = Event::NotIssued { service: &service, reason: &failure.finding };
                self.record.record(service.uid, &hint, event, now);
            }
        }
        // What was made for a binding that is gone is gone with it.
        if self.bindings.current().service(service.uid) == Some(&service) {
            slot(&mut self.slots(), &service).take(outcome, Instant::now());
        }
    }

    async fn issued(
        &self,
        service: &BoundService,
        request: impl FnOnce(String) -> ServiceCertificateRequest,
    ) -> Result<Arc<Identity>, Failure> {
        let bound = self.bindings.current();
        if service.issuer.is_backend() && bound.user_cas.is_empty() {
            return Err(failure(user_cas_unknown()));
        }
        let made = ServiceKey::generate().and_then(|key| Ok((key.public_line()?, key)));
        let (public_key, key) = made.map_err(|error| failure(no_key(&error.to_string())))?;
        let issued = self.offices.of(service).issue(service, &request(public_key)).await?;
        let expected = Expected {
            principals: &service.principals,
            authorities: issued.authorities.as_ref().unwrap_or(&bound.user_cas),
            limits: issued.limits,
            now: seconds(self.clock.now()),
        };
        let identity = key.certified(&issued.line, &expected);
        identity.map(Arc::new).map_err(|error| failure(unacceptable(service, &error.to_string())))
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<u32, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of a binding, an empty one where there was another binding.
fn slot<'a>(slots: &'a mut HashMap<u32, Slot>, service: &BoundService) -> &'a mut Slot {
    let slot = slots.entry(service.uid).or_insert_with(|| Slot::new(service));
    if slot.service != *service {
        *slot = Slot::new(service);
    }
    slot
}

impl Slot {
    fn new(service: &BoundService) -> Self {
        Slot { service: service.clone(), identities: Vec::new(), problem: None, rest_until: None }
    }

    /// What to do at `now`, which certificates count by, and `at`, which rests do.
    fn step(&mut self, now: u64, at: Instant) -> Step {
        self.identities.retain(|identity| identity.left(now) > 0);
        let is_resting = self.rest_until.is_some_and(|until| at < until);
        match self.identities.first().filter(|identity| is_enough(identity, now)).cloned() {
            Some(identity) if is_resting || identity.left(now) * 2 >= identity.life() => Step::Use(identity),
            Some(identity) => Step::UseAndRenew(identity),
            None if !is_resting => Step::Renew,
            None => self.newest(now, LAST_RESORT).map_or_else(|| Step::Refuse(self.reason()), Step::Use),
        }
    }

    fn newest(&self, now: u64, least: u64) -> Option<Arc<Identity>> {
        self.identities.iter().find(|identity| identity.left(now) >= least).cloned()
    }

    fn take(&mut self, outcome: Result<Arc<Identity>, Failure>, now: Instant) {
        match outcome {
            Ok(identity) => {
                self.identities.insert(0, identity);
                self.identities.truncate(KEPT);
                self.problem = None;
                self.rest_until = None;
            }
            Err(failure) => {
                let rest = failure.retry_after.unwrap_or(REST).clamp(REST, LONGEST_REST);
                self.problem = Some(*failure.finding);
                self.rest_until = Some(now + rest);
            }
        }
    }

    fn reason(&self) -> Finding {
        self.problem.clone().unwrap_or_else(|| no_key("nothing came of it"))
    }
}

fn is_enough(identity: &Identity, now: u64) -> bool {
    let left = identity.left(now);
    left >= ENOUGH && left * ENOUGH_OF_LIFE >= identity.life()
}

fn failure(finding: Finding) -> Failure {
    Failure::lasting(finding)
}

/// For whoever is not bound.
pub fn not_bound(uid: u32) -> Finding {
    Finding {
        code: "service-not-bound".into(),
        subject: format!("uid {uid}"),
        message: format!("uid {uid} stands for no service user on this host"),
        responsible: Responsible::Backend,
        mend: "bind it in the project's services, or in [[step_ca.services]] of this host; `hostward status` as root names \
               bindings that are refused"
            .into(),
    }
}

fn user_cas_unknown() -> Finding {
    Finding {
        code: "user-ca-unknown".into(),
        subject: "the certificate".into(),
        message: "this host knows no user CA of its project, so it cannot check a certificate".into(),
        responsible: Responsible::Backend,
        mend: "name one in `user_cas` of the project's ssh.json; `hostward status` as root shows what was refused".into(),
    }
}

fn no_key(message: &str) -> Finding {
    Finding {
        code: "no-certificate".into(),
        subject: "the certificate".into(),
        message: format!("there is no certificate: {message}"),
        responsible: Responsible::Host,
        mend: "try again; `journalctl -u hostward` may say more".into(),
    }
}

fn unacceptable(service: &BoundService, why: &str) -> Finding {
    let (responsible, mend) = match service.issuer {
        ServiceIssuer::Backend => (
            Responsible::Backend,
            "have the backend issue certificates of this project's user CA for this key, for principals of the user's, \
             for at most a day, permitting only pty and port forwarding; where a time is the matter see both clocks",
        ),
        ServiceIssuer::StepCa { .. } => (
            Responsible::Operator,
            "correct the provisioner's SSH template (options.ssh.template in ca.json)",
        ),
    };
    Finding {
        code: "certificate-unacceptable".into(),
        subject: format!("the certificate of uid {}", service.uid),
        message: format!("the certificate that was issued is not used: {}", shown(why)),
        responsible,
        mend: mend.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Ca;
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn service() -> BoundService {
        let (user, issuer) = ("deploy".to_owned(), ServiceIssuer::Backend);
        BoundService { uid: 112, principals: vec![user.clone()], user, issuer }
    }

    /// A slot that was given a certificate of four minutes at `NOW`, one of which is over.
    fn slot(ca: &Ca) -> Slot {
        let mut slot = Slot::new(&service());
        slot.take(Ok(ca.identity("deploy", NOW - 60..NOW + 180, NOW)), Instant::now());
        slot
    }

    fn refused(code: &str) -> Failure {
        failure(Finding { code: code.into(), ..not_bound(112) })
    }

    #[test]
    fn a_certificate_is_reused_renewed_ahead_and_replaced() {
        let ca = Ca::new();
        let (mut slot, at) = (slot(&ca), Instant::now());
        assert!(matches!(slot.step(NOW, at), Step::Use(_)));
        assert!(matches!(slot.step(NOW + 60, at), Step::Use(_)));
        assert!(matches!(slot.step(NOW + 61, at), Step::UseAndRenew(_)), "half of its life is over");
        assert!(matches!(slot.step(NOW + 100, at), Step::UseAndRenew(_)));
        assert!(matches!(slot.step(NOW + 101, at), Step::Renew), "less than a third is left");
        slot.take(Ok(ca.identity("deploy", NOW + 40..NOW + 280, NOW + 101)), at);
        let Step::Use(newer) = slot.step(NOW + 101, at) else { panic!("not used") };
        assert_eq!(newer.valid_before(), NOW + 280);
        assert_eq!(slot.identities.len(), 2, "the one before is good for whoever was told of it");
        assert!(matches!(slot.step(NOW + 180, at), Step::UseAndRenew(_)));
        assert_eq!(slot.identities.len(), 1, "it has expired");
    }

    #[test]
    fn what_is_left_is_used_while_no_other_can_be_had() {
        let ca = Ca::new();
        let (mut slot, at) = (slot(&ca), Instant::now());
        slot.take(Err(refused("down")), at);
        assert!(matches!(slot.step(NOW + 61, at), Step::Use(_)), "the issuer is left alone");
        assert!(matches!(slot.step(NOW + 150, at), Step::Use(_)));
        assert!(matches!(slot.step(NOW + 150, at + REST), Step::Renew), "and asked again");
        let Step::Refuse(finding) = slot.step(NOW + 176, at) else { panic!("used") };
        assert_eq!(finding.code, "down");
        assert!(matches!(slot.step(NOW + 176, at + REST), Step::Renew));
    }

    #[test]
    fn the_issuer_says_when_to_ask_again_within_limits() {
        let ca = Ca::new();
        for (said, expected) in [(None, 3), (Some(0), 3), (Some(10), 10), (Some(86_400), 30)] {
            let (mut slot, at) = (slot(&ca), Instant::now());
            slot.take(Err(Failure { retry_after: said.map(Duration::from_secs), ..refused("busy") }), at);
            let rest = Duration::from_secs(expected);
            let late = NOW + 180;
            assert!(matches!(slot.step(late, at + rest - Duration::from_millis(1)), Step::Refuse(_)));
            assert!(matches!(slot.step(late, at + rest), Step::Renew), "{said:?}");
        }
    }

    #[test]
    fn another_binding_has_nothing_of_the_one_before() {
        let ca = Ca::new();
        let mut slots = HashMap::from([(112, slot(&ca))]);
        let other = BoundService { user: "backup".into(), ..service() };
        assert!(super::slot(&mut slots, &other).identities.is_empty());
        let narrower = BoundService { principals: Vec::new(), ..service() };
        assert!(super::slot(&mut slots, &narrower).identities.is_empty());
    }
}
