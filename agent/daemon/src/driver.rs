//! The agent's one loop: it waits for whatever happens next and goes on from there.
//!
//! Nothing here waits for the network or for root: what takes time is a [`Job`], so that a request of the operator,
//! a signal or the watchdog is answered at once.

mod happening;
mod leaving;
mod news;
mod problems;
mod step_ca;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hostward_config::Config;
use hostward_protocol::api::HostInfo;
use hostward_protocol::local::{
    AgentReply, AgentRequest, AgentStatus, EnrollmentOutcome, EnrollmentState, EventsStatus, TokenProblem,
};
use hostward_protocol::report::{Finding, Responsible};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

use crate::apply::Root;
use crate::backend::{Api, Fault, Http};
use crate::clock::Clock;
use crate::control::Asked;
use crate::delivery::Delivery;
use crate::disk;
use crate::enrollment::{Ended, Enroller, disk_finding};
use crate::events::Events;
use crate::host_certificates::HostCertificates;
use crate::identity::{self, Identity, Standing};
use crate::job::Job;
use crate::metrics::{Counts, Metrics};
use crate::paths::Options;
use crate::policy::{self, Follower, Repository};
use crate::reporting::Reporting;
use crate::siem::Siem;
use crate::ssh_agent::{Desk, Issuer};
use crate::status::Board;
use crate::token::{Errand, Step};
use crate::watch::Watch;
use crate::{host_info, random};
use happening::Happening;
use problems::Problems;
use step_ca::StepCa;

/// What reaches the agent from outside.
pub struct Signals {
    /// The control socket.
    pub asked: mpsc::Receiver<Asked>,
    /// Files that count.
    pub watch: Watch,
    /// SIGHUP.
    pub hang_up: Signal,
    /// How often the service manager wants to hear, where it does.
    pub watchdog: Option<Duration>,
}

/// The agent.
pub struct Agent {
    options: Arc<Options>,
    config: Config,
    machine: String,
    clock: Arc<Clock>,
    board: Board,
    events: Arc<Events>,
    earlier: Option<AgentStatus>,
    root: Root,
    api: Api,
    standing: Standing,
    view: View,
    errand: Errand,
    /// Root does not know of the enrollment yet: it would judge the policy by the pin of the one before.
    telling: bool,
    token: Job<Ended>,
    follower: Option<Follower>,
    reporting: Option<Reporting>,
    certificates: Option<HostCertificates>,
    delivery: Option<Delivery>,
    leaving: Job<Result<(), Fault>>,
    leave_asked: Vec<oneshot::Sender<AgentReply>>,
    problems: Problems,
    desk: Arc<Desk>,
    step_ca: Option<StepCa>,
    siem: Siem,
    metrics: Metrics,
}

/// What there is to say of the token.
#[derive(Debug)]
enum View {
    Idle,
    Trying {
        url: String,
    },
    /// Root cannot use it.
    Unusable(TokenProblem),
    /// The backend refused it; it is gone.
    Refused(TokenProblem),
}

impl Agent {
    /// The agent as it finds itself.
    pub fn new(
        options: Arc<Options>,
        config: Config,
        machine: String,
        events: Arc<Events>,
    ) -> Result<Self, disk::DiskError> {
        let clock = Arc::new(Clock::default());
        let (board, earlier) = Board::open(options.status(), clock.now());
        let standing = identity::load(&options.identity(), &machine)
            .unwrap_or_else(|error| Standing::Damaged(damaged(&error)));
        let api = Api::new(Arc::new(Http::new(config.backend.clone())), clock.clone());
        let desk = Arc::new(Desk::new(options.ssh.clone(), clock.clone(), Some(events.clone())));
        let now = Instant::now();
        let siem = Siem::start(&config, &options, &events);
        let mut metrics = Metrics::new(&options.metrics, &options.host_status, now);
        metrics.set_wanted(config.metrics.textfile);
        let mut agent = Agent {
            root: Root::at(&options.apply_socket),
            options,
            config,
            machine,
            clock,
            board,
            events,
            earlier,
            api,
            standing: Standing::Nobody,
            view: View::Idle,
            errand: Errand::new(now),
            telling: false,
            token: Job::default(),
            follower: None,
            reporting: None,
            certificates: None,
            delivery: None,
            leaving: Job::default(),
            leave_asked: Vec::new(),
            problems: Problems::default(),
            desk,
            step_ca: None,
            siem,
            metrics,
        };
        agent.set_up_desk();
        agent.stand(standing, now);
        Ok(agent)
    }

    /// What answers those who ask the SSH agent.
    pub fn desk(&self) -> Arc<Desk> {
        self.desk.clone()
    }

    /// Runs for ever.
    pub async fn run(mut self, mut signals: Signals) {
        let mut watchdog = signals.watchdog.map(|period| tokio::time::interval(period / 2));
        loop {
            let now = Instant::now();
            self.start_due(now);
            self.publish(now);
            let happening = happening::next(&mut self, &mut signals, watchdog.as_mut()).await;
            self.handle(happening, Instant::now());
        }
    }

    fn due(&self) -> Option<Instant> {
        let token = self.errand.due().filter(|_| !self.token.is_running());
        let policy = self.follower.as_ref().filter(|_| !self.telling).and_then(Follower::due);
        let report = self.reporting.as_ref().and_then(Reporting::due);
        let certificates = self.certificates.as_ref().filter(|_| self.is_described());
        let certificates = certificates.and_then(|job| job.due(Instant::now(), self.clock.now()));
        let delivery = self.delivery.as_ref().and_then(Delivery::due);
        [token, policy, report, certificates, delivery, self.metrics.due()].into_iter().flatten().min()
    }

    /// Whether the backend knows the host's keys and names.
    fn is_described(&self) -> bool {
        self.reporting.as_ref().is_some_and(Reporting::is_host_told)
    }

    fn host_info(&self) -> HostInfo {
        host_info::collect(&self.config, &self.machine, &self.options.etc_ssh)
    }

    fn start_due(&mut self, now: Instant) {
        if !self.token.is_running()
            && let Some(step) = self.errand.take(now)
        {
            let enroller = Enroller {
                root: self.root.clone(),
                api: self.api.clone(),
                dir: self.options.identity(),
                machine: self.machine.clone(),
            };
            let host = self.host_info();
            self.token.start(enroller.take(step, self.standing.clone(), host));
        }
        let mut free = !self.telling;
        if let Some(follower) = &mut self.follower {
            if !self.telling {
                follower.start(now);
            }
            free &= !follower.is_adopting();
        }
        if let Some(reporting) = &mut self.reporting {
            reporting.start(now, free);
        }
        let is_described = self.is_described();
        if let Some(certificates) = self.certificates.as_mut().filter(|_| is_described) {
            certificates.start(now, self.clock.now());
        }
        if let Some(delivery) = &mut self.delivery {
            delivery.start(now);
        }
    }

    fn handle(&mut self, happening: Happening, now: Instant) {
        match happening {
            // What changed is in the status by the next turn.
            Happening::Due | Happening::StepCa | Happening::Siem => {}
            Happening::Watchdog => crate::service::notify(sd_notify::NotifyState::Watchdog),
            Happening::HangUp => self.reload(now),
            Happening::Changed(dirs) => self.changed(&dirs, now),
            Happening::Asked(asked) => self.asked(asked, now),
            Happening::Token(ended) => self.token_ended(ended, now),
            Happening::Policy(finished) => {
                if let Some(follower) = &mut self.follower {
                    for news in follower.conclude(finished, now) {
                        self.policy_news(news, now);
                    }
                }
            }
            Happening::Report(finished) => {
                if let Some(reporting) = &mut self.reporting {
                    let news = reporting.conclude(finished, now);
                    self.report_news(news, now);
                }
            }
            Happening::Certificates(finished) => {
                if let Some(certificates) = &mut self.certificates {
                    let news = certificates.conclude(finished, now, self.clock.now());
                    self.certificate_news(news, now);
                }
            }
            Happening::Delivered(finished) => {
                if let Some(delivery) = &mut self.delivery {
                    let news = delivery.conclude(finished, now);
                    self.delivery_news(news);
                }
            }
            Happening::Left(told) => self.left(told),
        }
    }

    fn token_ended(&mut self, ended: Ended, now: Instant) {
        // A token that is tried again does not mend what failed the last time: that stays in view until it is known.
        if !matches!(ended, Ended::Failed { .. } | Ended::Ready(..)) {
            self.problems.token(None);
            self.telling = false;
        }
        match ended {
            Ended::Absent => {
                let earlier = self.earlier.take();
                self.view = match (std::mem::replace(&mut self.view, View::Idle), earlier) {
                    (View::Refused(problem), _) => View::Refused(problem),
                    (
                        View::Idle,
                        Some(AgentStatus { enrollment: EnrollmentState::Refused { reason }, at, .. }),
                    ) => View::Refused(TokenProblem { finding: reason, at, next_attempt: None }),
                    _ => View::Idle,
                };
                self.errand.done(now);
            }
            Ended::Unusable(finding) => {
                log::error!("{}: {}; {}", finding.subject, finding.message, finding.mend);
                self.events.enrollment_refused(&finding);
                self.view = View::Unusable(self.final_(finding));
                self.errand.done(now);
            }
            Ended::Ready(token) => {
                log::info!("enrolling at {} for the project `{}`", token.url, token.project);
                self.view = View::Trying { url: token.url.clone() };
                self.errand.then(Step::Enroll(token), now);
            }
            Ended::Enrolled(identity, told) => {
                let host_id = identity.enrollment.host_id.clone();
                log::info!(
                    "enrolled as host `{host_id}` of the project `{}` at {}",
                    identity.enrollment.project,
                    identity.enrollment.url
                );
                self.view = View::Idle;
                self.events.enrolled(&identity.enrollment);
                self.board.contact(self.clock.now(), None);
                // The policy is put before root anew, for the report that the backend does not have of this host yet.
                if let Err(error) = disk::remove(&self.options.accepted()) {
                    log::warn!("{error}");
                }
                self.stand(Standing::Host(identity), now);
                if let (Some(reporting), Some(host)) = (&mut self.reporting, told) {
                    reporting.enrolled_with(&host);
                }
                let outcome = EnrollmentOutcome::Enrolled { host_id };
                self.telling = true;
                self.errand.then(Step::Finish(outcome), now);
            }
            Ended::Refused(reason) => {
                log::error!("enrollment refused: {}; {}", reason.message, reason.mend);
                self.events.enrollment_refused(&reason);
                self.view = View::Refused(self.final_(reason.clone()));
                let outcome = EnrollmentOutcome::Refused { reason };
                self.errand.then(Step::Finish(outcome), now);
            }
            Ended::Told => self.errand.done(now),
            Ended::Failed { step, finding, pace, asked } => {
                let delay = self.errand.retry(step, pace, asked, now, random::fraction());
                let (at, next_attempt) = (self.clock.now(), Some(self.in_(delay)));
                self.problems.token(Some(TokenProblem { finding, at, next_attempt }));
            }
        }
    }

    /// Files of the operator's or of root's changed.
    fn changed(&mut self, dirs: &[PathBuf], now: Instant) {
        if dirs.contains(&self.options.etc) {
            self.reload_if_changed(now);
            if !self.leaving.is_running() {
                self.errand.look(now, self.token.is_running());
            }
        }
        let (status_dir, _) = self.options.host_status_place();
        if dirs.iter().any(|dir| dir == status_dir || *dir == self.options.ssh) {
            self.desk.look();
        }
        if dirs.iter().any(|dir| dir == status_dir) {
            self.metrics.look();
        }
        if dirs.iter().any(|dir| dir == status_dir)
            && let Some(status) = policy::host_status(&self.options.host_status)
        {
            let free = !self.follower.as_mut().is_some_and(|follower| follower.root_has(&status, now));
            if let Some(reporting) = &mut self.reporting {
                reporting.root_did(&status, now, free);
            }
        }
    }

    fn asked(&mut self, asked: Asked, now: Instant) {
        match (asked.request, &mut self.follower) {
            (AgentRequest::Sync, Some(follower)) => {
                follower.sync(asked.reply, now);
                if let Some(reporting) = &mut self.reporting {
                    reporting.hurry(now);
                }
                if let Some(delivery) = &mut self.delivery {
                    delivery.hurry(now);
                }
                self.errand.look(now, self.token.is_running());
            }
            (AgentRequest::Sync, None) => {
                self.errand.look(now, self.token.is_running());
                let _ = asked.reply.send(AgentReply::Failed(not_enrolled()));
            }
            (AgentRequest::EventHead, _) => self.ask_event_head(asked.reply),
            (AgentRequest::Unenroll, _) => self.unenroll(asked.reply),
            (AgentRequest::Forget, _) => self.forget_silently(asked.reply),
        }
    }

    /// Asks the backend beside everything else, for somebody who wants to know what it says now.
    fn ask_event_head(&self, reply: oneshot::Sender<AgentReply>) {
        let Standing::Host(identity) = &self.standing else {
            let _ = reply.send(AgentReply::Failed(not_enrolled()));
            return;
        };
        let (api, identity) = (self.api.clone(), identity.clone());
        tokio::spawn(async move {
            let said = api.event_head(&identity).await;
            let subject = format!("backend `{}`", identity.enrollment.url);
            let _ = reply.send(match said {
                Ok(said) => AgentReply::EventHead { head: said.acknowledged },
                Err(fault) => AgentReply::Failed(fault.finding(&subject)),
            });
        });
    }

    /// Whoever writes the configuration and then a token expects the token to be tried with it.
    fn reload_if_changed(&mut self, now: Instant) {
        match hostward_config::load(&self.options.config()) {
            Ok(config) if config == self.config && !self.problems.is_misconfigured() => {}
            _ => self.reload(now),
        }
    }

    fn reload(&mut self, now: Instant) {
        let config = match hostward_config::load(&self.options.config()) {
            Ok(config) => config,
            Err(error) => {
                log::error!("{error}; the configuration that was read before stays in force");
                return;
            }
        };
        log::info!("read `{}` again", self.options.config().display());
        let http = Arc::new(Http::new(config.backend.clone()));
        self.api = Api::new(http, self.clock.clone());
        self.events.set_limits(&config.events);
        if config.siem != self.config.siem {
            self.siem = Siem::start(&config, &self.options, &self.events);
        }
        self.metrics.set_wanted(config.metrics.textfile);
        self.config = config;
        self.set_up_desk();
        if !self.leaving.is_running() {
            self.errand.look(now, self.token.is_running());
            self.stand(self.standing.clone(), now);
        }
    }

    /// Takes up what goes with being enrolled, or not.
    fn stand(&mut self, standing: Standing, now: Instant) {
        self.standing = standing;
        self.events.stand(&self.standing);
        self.follower = None;
        self.reporting = None;
        self.certificates = None;
        self.delivery = None;
        self.problems.events(None);
        self.problems.policy(None);
        self.problems.report(None);
        self.desk.set_issuer(None);
        self.problems.certificates(None);
        let identity = match &self.standing {
            Standing::Nobody => {
                self.events.set_taken(false);
                return;
            }
            Standing::Damaged(reason) => {
                log::error!("{}; {}", reason.message, reason.mend);
                return;
            }
            Standing::Clone(enrollment) => {
                log::warn!(
                    "this machine is a copy of the host `{}`: its identity is kept and not used, and what is in force stays. To enroll this one put a token into /etc/hostward/enrollment.token",
                    enrollment.host_id
                );
                return;
            }
            Standing::Host(identity) => identity.clone(),
        };
        self.desk.set_issuer(Some(Issuer::Backend { api: self.api.clone(), identity: identity.clone() }));
        match self.follow(identity.clone(), now) {
            Ok(follower) => self.follower = Some(follower),
            Err(finding) => self.problems.policy(Some((finding, None))),
        }
        let host = self.host_info();
        self.certificates = Some(HostCertificates::new(
            self.options.clone(),
            identity.clone(),
            self.api.clone(),
            host.clone(),
            now,
        ));
        self.delivery = Some(Delivery::new(
            self.options.clone(),
            identity.clone(),
            self.api.clone(),
            self.events.clone(),
            now,
        ));
        self.reporting = Some(Reporting::new(
            self.options.clone(),
            identity.clone(),
            self.api.clone(),
            self.root.clone(),
            host,
            now,
        ));
    }

    fn follow(&self, identity: Arc<Identity>, now: Instant) -> Result<Follower, Finding> {
        let auth = self.config.tuf.auth;
        let repository =
            Repository::new(self.api.clone(), identity, auth).map_err(|error| damaged(&error))?;
        Follower::new(self.options.clone(), &self.config, self.root.clone(), repository, now)
            .map_err(|error| disk_finding(&error.into()))
    }

    fn publish(&mut self, now: Instant) {
        let enrollment = match (&self.standing, &self.view) {
            (Standing::Host(identity), _) => EnrollmentState::Enrolled {
                url: identity.enrollment.url.clone(),
                host_id: identity.enrollment.host_id.clone(),
                project: identity.enrollment.project.clone(),
            },
            (_, View::Trying { url }) => EnrollmentState::Enrolling { url: url.clone() },
            (Standing::Clone(enrollment), _) => {
                EnrollmentState::Clone { host_id: enrollment.host_id.clone() }
            }
            (Standing::Damaged(reason), _) => EnrollmentState::Damaged { reason: reason.clone() },
            (Standing::Nobody, View::Unusable(problem) | View::Refused(problem)) => {
                EnrollmentState::Refused { reason: problem.finding.clone() }
            }
            (Standing::Nobody, View::Idle) => EnrollmentState::AwaitingToken,
        };
        let given_up = match &self.view {
            View::Unusable(problem) | View::Refused(problem) => Some(problem),
            View::Idle | View::Trying { .. } => None,
        };
        let token = given_up.or(self.problems.retried_token()).cloned();
        // Where the state has no room for it, a token that is of no use is a problem beside it.
        let beside = given_up.filter(|_| !matches!(self.standing, Standing::Nobody));
        let (problem, next_attempt) = self.problems.first(beside.map(|problem| &problem.finding));
        let polling = self.follower.as_ref().map(|f| f.describe(now));
        let step_ca = self.step_ca.as_ref().map(StepCa::status);
        let events = self.events_status();
        self.board.update(self.clock.now(), |status| {
            status.enrollment = enrollment;
            status.problem = problem;
            status.next_attempt = next_attempt;
            status.polling = polling;
            status.token = token;
            status.step_ca = step_ca;
            status.events = events;
        });
        let (issued, refused) = self.events.certificates();
        let recorded = self.events.progress().borrow().written;
        self.metrics.publish(&self.board.current(), Counts { recorded, issued, refused }, now);
    }

    fn events_status(&self) -> EventsStatus {
        let mut events = self.delivery.as_ref().map(Delivery::describe).unwrap_or_default();
        events.outputs = self.siem.describe();
        events.lost = self.events.progress().borrow().lost;
        if let Some((finding, at)) = self.problems.of_events() {
            (events.problem, events.next_attempt) = (Some(finding), at);
        }
        events
    }

    /// A token that is not tried again by itself.
    fn final_(&self, finding: Finding) -> TokenProblem {
        TokenProblem { finding, at: self.clock.now(), next_attempt: None }
    }

    fn in_(&self, delay: Duration) -> chrono::DateTime<chrono::Utc> {
        // Whole seconds: nobody plans by less.
        let at = self.clock.now() + delay;
        chrono::DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
    }
}

fn damaged(error: &dyn std::error::Error) -> Finding {
    Finding {
        code: "identity-damaged".into(),
        subject: "the host's identity".into(),
        message: error.to_string(),
        responsible: Responsible::Operator,
        mend: "what is in force stays. To enroll anew put a token into /etc/hostward/enrollment.token".into(),
    }
}

fn not_enrolled() -> Finding {
    Finding {
        code: "not-enrolled".into(),
        subject: "this host".into(),
        message: "this host is not enrolled, and no backend knows of it".into(),
        responsible: Responsible::Operator,
        mend: "put a token into /etc/hostward/enrollment.token; `hostward status` shows what came of it"
            .into(),
    }
}
