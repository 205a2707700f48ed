//! Following the project's policy: poll, mirror, put before root, again.
//!
//! Only bytes that root has not seen go to root. What root refuses is not put before it again until it changes,
//! or a good while has passed, since some reasons pass with time.

mod adopt;
mod metadata;
mod mirror;
mod pacing;
mod repository;
mod standing;

pub use repository::Repository;
pub use standing::host_status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hostward_config::{Config, Trust};
use hostward_protocol::local::{AgentReply, HostStatus};
use hostward_protocol::report::{Finding, Report};
use tokio::sync::oneshot;

use crate::apply::Root;
use crate::backend::Fault;
use crate::backoff::Backoff;
use crate::disk::{self, Durability};
use crate::identity::sha256_base64url;
use crate::inbox::Inbox;
use crate::job::Job;
use crate::paths::Options;
use crate::random;
use adopt::{AdoptError, Adopted, Candidate};
use mirror::Reuse;
use pacing::{Answered, Pacing};
use repository::{Polled, timed};
use standing::Accepted;

/// When something refused is tried again if the try that is being made comes to nothing.
const LATER: Duration = Duration::from_secs(3600);

/// What the rest of the agent is told.
#[derive(Debug)]
pub enum News {
    /// A complete exchange; backend's clock minus this host's, in seconds.
    Contact(Option<i64>),
    /// What is wrong and how long until it is tried again; or that nothing is.
    Problem(Option<(Finding, Duration)>),
    /// Root's report.
    Report(Box<Report>),
}

/// Follows the policy of one project.
pub struct Follower {
    options: Arc<Options>,
    trust: Trust,
    root: Root,
    repository: Arc<Repository>,
    inbox: Inbox,
    pacing: Pacing,
    /// The timestamp that root saw last.
    seen: Option<Seen>,
    accepted: Option<u64>,
    refused: Option<Refused>,
    refusals: Backoff,
    root_failures: Backoff,
    next: Option<(Task, Instant)>,
    poll_at: Instant,
    job: Job<Event>,
    polling: bool,
    /// Root wrote its status while something was before it.
    unread: bool,
    quick: Quick,
}

struct Seen {
    etag: Option<String>,
    digest: String,
}

struct Refused {
    candidate: Candidate,
    again_at: Instant,
}

enum Task {
    Poll,
    /// It is in the inbox; root could not be asked.
    Admit(Candidate),
}

enum Event {
    Polled(Result<Polled, Fault>, Attempt),
    Adopted(Result<Adopted, AdoptError>),
}

/// How a poll was made.
#[derive(Clone, Copy)]
struct Attempt {
    /// How long it took.
    held: Duration,
    /// Somebody wanted it at once.
    quick: bool,
}

/// Those who asked for a poll at once.
#[derive(Default)]
struct Quick {
    /// Whether the pass under way, or to come, is put before root whether or not it is new.
    insist: bool,
    next: Vec<oneshot::Sender<AgentReply>>,
    now: Vec<oneshot::Sender<AgentReply>>,
}

impl Follower {
    /// Starts with a poll at `now`.
    pub fn new(
        options: Arc<Options>,
        config: &Config,
        root: Root,
        repository: Repository,
        now: Instant,
    ) -> Result<Self, disk::DiskError> {
        let enrollment = &repository.identity().enrollment;
        let accepted = standing::accepted(&options, enrollment);
        Ok(Follower {
            inbox: Inbox::open(options.inbox())?,
            trust: config.trust.clone(),
            root,
            pacing: Pacing::new(&config.tuf),
            accepted: accepted.as_ref().map(|a| a.version),
            seen: accepted.map(|a| Seen { etag: a.etag, digest: a.timestamp }),
            repository: Arc::new(repository),
            options,
            refused: None,
            refusals: Backoff::patient(),
            root_failures: Backoff::local(),
            next: Some((Task::Poll, now)),
            poll_at: now,
            job: Job::default(),
            polling: false,
            unread: false,
            quick: Quick::default(),
        })
    }

    /// When there is something to start.
    pub fn due(&self) -> Option<Instant> {
        let again = self.refused.as_ref().map(|r| r.again_at);
        match (&self.next, self.polling) {
            (Some((_, at)), _) => Some(again.map_or(*at, |again| again.min(*at))),
            (None, true) => again,
            (None, false) => None,
        }
    }

    /// Starts what is due.
    pub fn start(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        match self.next.take() {
            Some((Task::Admit(candidate), _)) => self.adopt(adopt::again(&self.root, candidate)),
            Some((Task::Poll, _)) | None => self.poll(now),
        }
    }

    fn poll(&mut self, now: Instant) {
        let again = self.refused.as_ref().is_some_and(|r| r.again_at <= now);
        self.quick.insist |= again;
        if let Some(refused) = self.refused.as_mut().filter(|_| again) {
            refused.again_at = now + LATER;
        }
        let quick = self.quick.insist || !self.quick.next.is_empty();
        let waiting = std::mem::take(&mut self.quick.next);
        self.quick.now.extend(waiting);
        let etag = self.seen.as_ref().filter(|_| !self.quick.insist).and_then(|s| s.etag.clone());
        let wait = self.pacing.wait(now).filter(|_| !quick);
        let repository = self.repository.clone();
        self.polling = true;
        self.job.start(async move {
            let (polled, held) = timed(repository.poll(etag.as_deref(), wait)).await;
            Event::Polled(polled, Attempt { held, quick })
        });
    }

    fn adopt(&mut self, adoption: impl Future<Output = Result<Adopted, AdoptError>> + 'static) {
        self.polling = false;
        self.job.start(async move { Event::Adopted(adoption.await) });
    }

    /// Somebody asked for a poll at once, and for what came of it.
    pub fn sync(&mut self, reply: oneshot::Sender<AgentReply>, now: Instant) {
        self.quick.next.push(reply);
        self.pacing.reset();
        self.quick.insist |= self.refused.is_some();
        // What is being put before root is seen through; the poll comes after it.
        if self.polling || !self.job.is_running() {
            self.restart(now);
        }
    }

    fn restart(&mut self, now: Instant) {
        self.job.stop();
        self.polling = false;
        match &mut self.next {
            Some((Task::Admit(_), at)) => *at = now,
            _ => self.next = Some((Task::Poll, now)),
        }
    }

    /// Whether something is before root at this moment.
    pub fn is_adopting(&self) -> bool {
        self.job.is_running() && !self.polling
    }

    /// Whether the backend knows the host.
    pub fn set_estranged(&mut self, estranged: bool) {
        self.pacing.set_estranged(estranged);
    }

    /// How it polls, for people.
    pub fn describe(&self, now: Instant) -> (String, u64) {
        self.pacing.describe(now)
    }

    /// Root says what it has: where that is not what the agent believes, everything is put before it anew. Answers with
    /// whether something is before root, or will be, whose report says it all.
    pub fn root_has(&mut self, status: &HostStatus, now: Instant) -> bool {
        if self.is_adopting() {
            self.unread = true;
            return true;
        }
        if status.policy.is_none() && !status.failures.is_empty() {
            // It could not even look.
            return false;
        }
        let has = status.policy.as_ref().map(|p| p.version);
        if let Some(refused) = self.refused.take_if(|r| Some(r.candidate.version) == has) {
            self.take_for_accepted(refused.candidate);
        } else if self.accepted.is_some() && self.accepted != has {
            log::info!("hostward-apply no longer has the policy that it accepted: it gets it again");
            self.accepted = None;
            self.seen = None;
            self.restart(now);
            return true;
        }
        false
    }

    /// What comes of what is under way.
    pub async fn finished(&mut self) -> Finished {
        Finished(self.job.finished().await)
    }

    /// Goes on from there.
    pub fn conclude(&mut self, finished: Finished, now: Instant) -> Vec<News> {
        self.polling = false;
        let news = self.concluded(finished.0, now);
        if !self.is_adopting()
            && std::mem::take(&mut self.unread)
            && let Some(status) = host_status(&self.options.host_status)
        {
            self.root_has(&status, now);
        }
        news
    }

    fn concluded(&mut self, event: Event, now: Instant) -> Vec<News> {
        match event {
            Event::Polled(Ok(polled), attempt) => self.polled(polled, attempt, now),
            Event::Polled(Err(fault), Attempt { held, .. }) => {
                let finding = fault.finding(&self.subject());
                let delay =
                    self.pacing.failed(held, fault.is_cut(), fault.retry_after(), now, random::fraction());
                // A poll that was only cut for its length is no problem.
                let is_problem = delay >= Duration::from_secs(1);
                self.poll_failed(finding, delay, now, is_problem)
            }
            Event::Adopted(Ok(adopted)) => self.adopted(adopted, now),
            Event::Adopted(Err(AdoptError::Mirror(error))) => {
                let finding = error.finding(&self.subject());
                let asked = error.retry_after();
                let delay = self.pacing.failed(Duration::ZERO, false, asked, now, random::fraction());
                self.poll_failed(finding, delay, now, true)
            }
            Event::Adopted(Err(AdoptError::Root(error, candidate))) => {
                let finding = error.finding();
                let delay = self.root_failures.next(random::fraction());
                let waiting = std::mem::take(&mut self.quick.next);
                self.quick.now.extend(waiting);
                self.answer(|| AgentReply::Failed(finding.clone()));
                self.next = Some((Task::Admit(candidate), now + delay));
                vec![News::Problem(Some((finding, delay)))]
            }
        }
    }

    fn polled(&mut self, polled: Polled, attempt: Attempt, now: Instant) -> Vec<News> {
        let digest = polled.timestamp.as_deref().map(sha256_base64url);
        let is_new = match (&digest, &self.seen) {
            (Some(digest), Some(seen)) => *digest != seen.digest,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let delay = if attempt.quick {
            self.pacing.answered_at_once(random::fraction())
        } else {
            let answered = Answered { held: attempt.held, applied: polled.applied, news: is_new };
            self.pacing.answered(answered, now, random::fraction())
        };
        self.poll_at = now + delay;
        let contact = News::Contact(polled.offset);
        let insist = std::mem::take(&mut self.quick.insist);
        let (Some(timestamp), Some(digest), true) = (polled.timestamp, digest, is_new || insist) else {
            if polled.etag.is_some()
                && let Some(seen) = &mut self.seen
            {
                seen.etag = polled.etag;
            }
            self.next_poll(now);
            self.answer(|| AgentReply::Synced { report: None });
            return vec![contact, News::Problem(None)];
        };
        let enrollment = &self.repository.identity().enrollment;
        let wanted = mirror::Wanted {
            timestamp,
            first_root: standing::first_root(&self.options, &self.trust, enrollment),
            pinned_root: standing::pinned_root(&self.options, &self.trust, enrollment),
            known: standing::known(standing::accepted(&self.options, enrollment)),
            reuse: Reuse::Known,
        };
        let adoption = adopt::adopt(
            self.root.clone(),
            self.repository.clone(),
            self.inbox.clone(),
            wanted,
            adopt::Label { etag: polled.etag, digest },
        );
        self.adopt(adoption);
        vec![contact]
    }

    fn poll_failed(
        &mut self,
        finding: Finding,
        delay: Duration,
        now: Instant,
        is_problem: bool,
    ) -> Vec<News> {
        self.next = Some((Task::Poll, now + delay));
        self.answer(|| AgentReply::Failed(finding.clone()));
        self.follow_up(now);
        if is_problem { vec![News::Problem(Some((finding, delay)))] } else { Vec::new() }
    }

    fn adopted(&mut self, adopted: Adopted, now: Instant) -> Vec<News> {
        let Adopted { candidate, report } = adopted;
        self.root_failures.reset();
        self.seen = Some(Seen { etag: candidate.label.etag.clone(), digest: candidate.label.digest.clone() });
        self.settle(candidate, &report, now);
        self.next_poll(now);
        self.answer(|| AgentReply::Synced { report: Some(report.clone()) });
        vec![News::Problem(None), News::Report(report)]
    }

    /// A report that was asked for another reason: what root refused before may be in force by now.
    pub fn heard(&mut self, report: &Report, now: Instant) {
        if let Some(refused) = self.refused.take() {
            self.settle(refused.candidate, report, now);
        }
    }

    fn settle(&mut self, candidate: Candidate, report: &Report, now: Instant) {
        if candidate.is_in_force(report) {
            return self.take_for_accepted(candidate);
        }
        if let Some(reason) = &report.admission {
            log::warn!("the policy was not admitted: {}; {}", reason.message, reason.mend);
        }
        for gap in &candidate.gaps {
            log::warn!("{}; {}", gap.message, gap.mend);
        }
        let delay = if candidate.gaps.is_empty() {
            self.refusals.next(random::fraction())
        } else {
            // The repository is being written, perhaps.
            self.root_failures.next(random::fraction()).max(Duration::from_secs(1))
        };
        self.refused = Some(Refused { candidate, again_at: now + delay });
    }

    fn take_for_accepted(&mut self, candidate: Candidate) {
        self.refusals.reset();
        self.refused = None;
        self.accepted = Some(candidate.version);
        if let Err(error) = self.keep(candidate) {
            // The next version is fetched whole, that is all.
            log::warn!("{error}");
        }
    }

    fn keep(&self, candidate: Candidate) -> Result<(), disk::DiskError> {
        let accepted = Accepted {
            repository: self.repository.identity().enrollment.repository.clone(),
            version: candidate.version,
            etag: candidate.label.etag,
            timestamp: candidate.label.digest,
            targets: candidate.targets,
        };
        disk::replace_json(&self.options.accepted(), &accepted, Durability::Lazy)?;
        // Root has the targets and the roots in its own store.
        let keep = candidate.metadata.into_iter().filter(|name| !name.ends_with(".root.json"));
        self.inbox.sweep(&keep.collect())
    }

    fn next_poll(&mut self, now: Instant) {
        self.next = Some((Task::Poll, self.poll_at.max(now)));
        self.follow_up(now);
    }

    /// Whoever asked during a pass gets one of their own.
    fn follow_up(&mut self, now: Instant) {
        if !self.quick.next.is_empty() {
            self.next = Some((Task::Poll, now));
        }
    }

    fn answer(&mut self, reply: impl Fn() -> AgentReply) {
        for waiting in self.quick.now.drain(..) {
            // Whoever asked may have gone.
            let _ = waiting.send(reply());
        }
    }

    fn subject(&self) -> String {
        format!("repository `{}`", self.repository.url())
    }
}

/// What came of a job.
pub struct Finished(Event);
