//! Telling the backend: root's reports, and what the host says of itself.
//!
//! At most one report waits: a newer one says all that counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hostward_protocol::api::HostInfo;
use hostward_protocol::local::HostStatus;
use hostward_protocol::problem::Code;
use hostward_protocol::report::{Finding, Report};
use serde::{Deserialize, Serialize};

use crate::apply::{Root, RootError};
use crate::backend::{Api, Fault};
use crate::backoff::{Backoff, jittered};
use crate::disk::{self, Durability};
use crate::identity::{Identity, sha256_base64url};
use crate::inbox::TIMESTAMP;
use crate::job::Job;
use crate::paths::Options;
use crate::random;

/// How often a host reports although nothing changed.
const INTERVAL: Duration = Duration::from_secs(3600);
/// How often root is asked because it did something by itself, at most.
const SPACING: Duration = Duration::from_secs(60);

/// What is to be told.
pub struct Reporting {
    options: Arc<Options>,
    identity: Arc<Identity>,
    api: Api,
    root: Root,
    waiting: Option<Waiting>,
    host: HostInfo,
    host_is_told: bool,
    told_of: ToldOf,
    ask_at: Instant,
    asked_at: Option<Instant>,
    send_at: Instant,
    failures: Backoff,
    job: Job<Event>,
    asking: bool,
    /// Something is before root that it has not looked at.
    unseen: bool,
}

#[derive(Clone)]
struct Waiting {
    report: Arc<Report>,
    idempotency_key: String,
}

/// What the backend was last told: `told.json`.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    host_id: String,
    host: String,
}

/// What root's reports said so far.
#[derive(Default)]
struct ToldOf {
    /// The status that went with the newest.
    status: Option<HostStatus>,
}

impl ToldOf {
    /// A report goes out, and this is what root wrote last.
    fn deliver(&mut self, report: &Report, status: Option<HostStatus>) {
        self.status = status.filter(|status| status.at == report.at);
    }

    /// Whether there is something in it that no report said: most passes only find that all is well.
    fn lacks(&self, status: &HostStatus) -> bool {
        let same = |told: &HostStatus| HostStatus { at: told.at, ..status.clone() } == *told;
        status.untold || !self.status.as_ref().is_some_and(same)
    }
}

enum Event {
    Asked(Result<Box<Report>, RootError>),
    Reported(Result<(), Fault>, String),
    HostTold(Result<(), Fault>, Box<HostInfo>),
}

/// What came of a job.
pub struct Finished(Event);

/// What the rest of the agent is told.
#[derive(Debug)]
pub enum News {
    /// A complete exchange with the backend.
    Contact,
    /// The backend does not know the host.
    HostUnknown(Finding, Duration),
    /// It failed, and how long until it is tried again.
    Failed(Finding, Duration),
    /// Root made a report.
    Heard(Box<Report>),
}

impl Reporting {
    /// Starts with what the host says of itself, where the backend does not know it yet.
    pub fn new(
        options: Arc<Options>,
        identity: Arc<Identity>,
        api: Api,
        root: Root,
        host: HostInfo,
        now: Instant,
    ) -> Self {
        let told = disk::read_json::<Told>(&options.told()).ok().flatten();
        let untold = crate::policy::host_status(&options.host_status).is_some_and(|status| status.untold);
        let ask_in = if untold { Duration::ZERO } else { jittered(INTERVAL, random::fraction()) };
        let mut reporting = Reporting {
            host_is_told: false,
            options,
            identity,
            api,
            root,
            waiting: None,
            host,
            told_of: ToldOf::default(),
            ask_at: now + ask_in,
            asked_at: None,
            send_at: now,
            failures: Backoff::backend(),
            job: Job::default(),
            asking: false,
            unseen: false,
        };
        reporting.host_is_told = told.is_some_and(|told| told == reporting.told());
        reporting
    }

    /// The enrollment itself told this.
    pub fn enrolled_with(&mut self, host: &HostInfo) {
        if *host == self.host {
            self.host_told();
        }
    }

    /// What the host says of itself now.
    pub fn set_host(&mut self, host: HostInfo, now: Instant) {
        if host != self.host {
            self.host = host;
            self.host_is_told = false;
            self.send_at = now;
        }
    }

    /// When there is something to start.
    pub fn due(&self) -> Option<Instant> {
        if self.job.is_running() {
            return None;
        }
        if self.waiting.is_some() || !self.host_is_told {
            // While the backend cannot be told there is no use in asking root for more to tell.
            return Some(self.send_at);
        }
        Some(self.ask_at)
    }

    /// Starts what is due. `free`: nothing else is before root.
    pub fn start(&mut self, now: Instant, free: bool) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        let (api, identity) = (self.api.clone(), self.identity.clone());
        if !self.host_is_told {
            let host = self.host.clone();
            self.job.start(async move {
                let told = api.put_host(&identity, &host).await;
                Event::HostTold(told, Box::new(host))
            });
        } else if let Some(waiting) = self.waiting.clone() {
            self.job.start(async move {
                let key = waiting.idempotency_key;
                let sent = api.report(&identity, &waiting.report, &key).await;
                Event::Reported(sent, key)
            });
        } else if free && self.options.inbox().join(TIMESTAMP).exists() {
            self.asking = true;
            self.unseen = false;
            self.asked_at = Some(now);
            self.ask_at = now + jittered(INTERVAL, random::fraction());
            let root = self.root.clone();
            self.job.start(async move { Event::Asked(root.admit().await) });
        } else {
            // Something is before root whose report will do, or there is no policy yet.
            let soon = self.unseen && !free;
            self.ask_at = now + if soon { Duration::from_secs(1) } else { SPACING };
        }
    }

    /// Root made a report: it goes to the backend.
    pub fn deliver(&mut self, report: &Report, now: Instant) {
        self.told_of.deliver(report, crate::policy::host_status(&self.options.host_status));
        // Root may have looked before the last of it was there.
        let ask_in = if self.unseen { Duration::ZERO } else { jittered(INTERVAL, random::fraction()) };
        self.ask_at = now + ask_in;
        self.waiting = Some(Waiting { report: Arc::new(report.clone()), idempotency_key: random::id() });
        if self.failures.is_fresh() {
            self.send_at = now;
        }
    }

    /// Root wrote its status: if it did something by itself, its report is wanted. `free`: nothing is before root
    /// whose report is still to come.
    pub fn root_did(&mut self, status: &HostStatus, now: Instant, free: bool) {
        if free && !self.asking && self.told_of.lacks(status) {
            let earliest = self.asked_at.map_or(now, |at| at + SPACING);
            self.ask_at = self.ask_at.min(earliest.max(now));
        }
    }

    /// What comes of what is under way.
    pub async fn finished(&mut self) -> Finished {
        Finished(self.job.finished().await)
    }

    /// Goes on from there.
    pub fn conclude(&mut self, finished: Finished, now: Instant) -> News {
        match finished.0 {
            Event::Asked(Ok(report)) => {
                self.asking = false;
                self.deliver(&report, now);
                News::Heard(report)
            }
            Event::Asked(Err(error)) => {
                self.asking = false;
                let delay = SPACING.mul_f64(1.0 + random::fraction());
                self.ask_at = now + delay;
                News::Failed(error.finding(), delay)
            }
            Event::Reported(Ok(()), key) => {
                if self.waiting.as_ref().is_some_and(|w| w.idempotency_key == key) {
                    self.waiting = None;
                }
                self.sent(now)
            }
            Event::HostTold(Ok(()), host) => {
                if *host == self.host {
                    self.host_told();
                }
                self.sent(now)
            }
            Event::Reported(Err(fault), _) | Event::HostTold(Err(fault), _) => self.failed(&fault, now),
        }
    }

    fn sent(&mut self, now: Instant) -> News {
        self.failures.reset();
        self.send_at = now;
        News::Contact
    }

    fn failed(&mut self, fault: &Fault, now: Instant) -> News {
        let subject = format!("backend `{}`", self.identity.enrollment.url);
        let finding = fault.finding(&subject);
        let unknown = fault.code() == Some(Code::HostUnknown);
        let mut delay = self.failures.next_or(fault.retry_after(), random::fraction());
        if unknown {
            // Only a new enrollment mends it, or the backend's operator.
            delay = jittered(INTERVAL, random::fraction());
        } else if fault.is_lasting() {
            delay = delay.max(Duration::from_secs(30));
        }
        self.send_at = now + delay;
        if unknown { News::HostUnknown(finding, delay) } else { News::Failed(finding, delay) }
    }

    /// Whether the backend knows what the host says of itself.
    pub fn is_host_told(&self) -> bool {
        self.host_is_told
    }

    /// Something in the inbox is new that is no part of the policy: root's next report is wanted now.
    pub fn ask_root(&mut self, now: Instant) {
        self.unseen = true;
        self.ask_at = now;
    }

    /// The operator acted: what waits is tried at once.
    pub fn hurry(&mut self, now: Instant) {
        self.failures.reset();
        self.send_at = now;
    }

    fn told(&self) -> Told {
        let text = serde_json::to_vec(&self.host).unwrap_or_default();
        Told { host_id: self.identity.enrollment.host_id.clone(), host: sha256_base64url(&text) }
    }

    fn host_told(&mut self) {
        self.host_is_told = true;
        if let Err(error) = disk::replace_json(&self.options.told(), &self.told(), Durability::Lazy) {
            log::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use hostward_protocol::report::Cause;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn report(at: DateTime<Utc>) -> Report {
        Report::new(Cause::Admission, at, "0.1.0")
    }

    fn status(at: DateTime<Utc>, untold: bool, refused: u32) -> HostStatus {
        HostStatus {
            at,
            version: "0.1.0".into(),
            project: None,
            trust: None,
            policy: None,
            admission: None,
            failures: Vec::new(),
            refused,
            warnings: 0,
            users: 0,
            untold,
        }
    }

    #[test]
    fn only_passes_that_found_something_are_told() {
        let mut told = ToldOf::default();
        assert!(told.lacks(&status(at(0), false, 0)), "nothing was told yet");
        told.deliver(&report(at(0)), Some(status(at(0), false, 0)));
        assert!(!told.lacks(&status(at(0), false, 0)), "that is the one that was told");
        assert!(!told.lacks(&status(at(300), false, 0)), "all is well");
        assert!(told.lacks(&status(at(600), true, 0)), "something was repaired");
        assert!(told.lacks(&status(at(600), false, 1)), "something is refused since");
        told.deliver(&report(at(900)), Some(status(at(600), false, 1)));
        assert!(told.lacks(&status(at(600), false, 1)), "the status is not that of the report");
    }
}
