//! Delivery of events to the backend: from the log, in order, each at least once.
//!
//! The log is the queue. What the backend acknowledged is written down beside it, and only after it was held against
//! the log: a backend that is mistaken, or lies, makes nothing be deleted. At rest nothing happens here: the agent
//! wakes when something is written.

mod aside;
mod begin;
mod lanes;
mod record;
mod send;
mod under_way;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hostward_events::{GENESIS, Head, Progress, Reader};
use hostward_protocol::local::EventsStatus;
use hostward_protocol::problem::Code;
use hostward_protocol::report::{Finding, Responsible};
use reqwest::StatusCode;
use tokio::sync::watch;

use crate::backend::{Api, Fault, MAX_SAID};
use crate::backoff::{Backoff, jittered};
use crate::disk::{self, Durability};
use crate::events::{self, Events};
use crate::foreign::plain;
use crate::identity::Identity;
use crate::job::Job;
use crate::paths::Options;
use crate::random;
use begin::{Begun, Place};
use lanes::{Lane, Lanes};
use send::{Believed, Failure, Outcome, Sending, Sent};
use under_way::UnderWay;

/// From the end of a batch to the next one.
const SPACING: Duration = Duration::from_secs(1);
/// How long until a backend that takes no events is asked again.
const PATIENCE: Duration = Duration::from_secs(3600);
/// When what waits is tried once the backend is known to answer.
const SOON: Duration = Duration::from_secs(2);

/// Delivers events.
pub struct Delivery {
    options: Arc<Options>,
    identity: Arc<Identity>,
    api: Api,
    events: Arc<Events>,
    progress: watch::Receiver<Progress>,
    beginning: Job<Begun>,
    /// What is sent, once it is known where to begin.
    under_way: Option<UnderWay>,
    failures: Backoff,
    patience: Backoff,
    not_before: Instant,
    /// The last failure was that nobody answered.
    is_cut_off: bool,
    is_taken: Option<bool>,
}

/// What came of a job.
pub enum Finished {
    Recorded,
    Begun(Box<Begun>),
    Sent(Lane, Box<Sent>),
}

/// What the rest of the agent is told.
#[derive(Debug)]
pub enum News {
    /// There is more to send.
    None,
    /// A complete exchange with the backend, and nothing is wrong.
    Contact,
    /// The backend takes no events.
    NotTaken,
    /// It failed, and how long until it is tried again.
    Failed(Finding, Duration),
}

impl Delivery {
    /// Starts where an earlier run ended.
    pub fn new(
        options: Arc<Options>,
        identity: Arc<Identity>,
        api: Api,
        events: Arc<Events>,
        now: Instant,
    ) -> Self {
        let progress = events.progress();
        Delivery {
            options,
            identity,
            api,
            events,
            progress,
            beginning: Job::default(),
            under_way: None,
            failures: Backoff::backend(),
            patience: Backoff::patient(),
            not_before: now,
            is_cut_off: false,
            is_taken: None,
        }
    }

    /// When there is something to start.
    pub fn due(&self) -> Option<Instant> {
        let at = match &self.under_way {
            None => (!self.beginning.is_running() && self.progress.borrow().written > 0)
                .then_some(self.not_before)?,
            Some(under_way) => under_way.due()?,
        };
        Some(at.max(self.not_before))
    }

    /// Starts what is due.
    pub fn start(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        let end = self.progress.borrow().written;
        let Some(under_way) = &mut self.under_way else {
            let place = Place {
                api: self.api.clone(),
                identity: self.identity.clone(),
                log: self.options.events.clone(),
                record: self.options.delivery(),
                end,
            };
            self.beginning.start(begin::begin(place));
            return;
        };
        under_way.lanes.extend(end);
        if self.failures.is_fresh() && self.patience.is_fresh() {
            under_way.lanes.split();
        }
        for lane in [Lane::Live, Lane::Backlog] {
            if let Some(span) = under_way.next(lane).filter(|_| under_way.way(lane).at <= now) {
                let reader = under_way.way_mut(lane).reader.take();
                let sending = Sending {
                    api: self.api.clone(),
                    identity: self.identity.clone(),
                    log: self.options.events.clone(),
                    reader: reader.unwrap_or_else(|| Reader::new(&self.options.events)),
                    span,
                    bytes: under_way.bytes,
                    most: under_way.most,
                    known: under_way.known.iter().chain(&under_way.acknowledged).cloned().collect(),
                    acknowledged: under_way.acknowledged.as_ref().map_or(0, |head| head.sequence),
                    progress: self.progress.clone(),
                };
                under_way.way_mut(lane).job.start(send::send(sending));
            }
        }
    }

    /// What comes of what is under way, or that there is more to send.
    pub async fn finished(&mut self) -> Finished {
        let Delivery { beginning, under_way, progress, .. } = self;
        match under_way {
            None => tokio::select! {
                begun = beginning.finished() => Finished::Begun(Box::new(begun)),
                () = changed(progress) => Finished::Recorded,
            },
            Some(UnderWay { live, backlog, .. }) => tokio::select! {
                sent = live.job.finished() => Finished::Sent(Lane::Live, Box::new(sent)),
                sent = backlog.job.finished() => Finished::Sent(Lane::Backlog, Box::new(sent)),
                () = changed(progress) => Finished::Recorded,
            },
        }
    }

    /// Goes on from there.
    pub fn conclude(&mut self, finished: Finished, now: Instant) -> News {
        match finished {
            Finished::Recorded => {
                let end = self.progress.borrow().written;
                if let Some(under_way) = &mut self.under_way {
                    under_way.extend(end, now);
                    if under_way.unsaid {
                        self.say_acknowledged();
                    }
                }
                News::None
            }
            Finished::Begun(begun) => self.begun(*begun, now),
            Finished::Sent(lane, sent) => self.sent(lane, *sent, now),
        }
    }

    /// The operator acted: what waits is tried at once.
    pub fn hurry(&mut self, now: Instant) {
        self.failures.reset();
        self.patience.reset();
        self.not_before = now;
    }

    /// The backend answers others: if it did not answer here, what waits is tried soon. Whoever answered first waited for as
    /// long as chance had it, so that a fleet does not come back all at once.
    pub fn reached(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_cut_off) {
            self.failures.reset();
            self.not_before = self.not_before.min(now + jittered(SOON, random::fraction()));
        }
    }

    /// How it stands.
    pub fn describe(&self) -> EventsStatus {
        let Progress { written, lost } = *self.progress.borrow();
        let under_way = self.under_way.as_ref();
        EventsStatus {
            taken: self.is_taken,
            waiting: under_way.map_or(0, |under_way| {
                let mut lanes = under_way.lanes.clone();
                lanes.extend(written);
                lanes.waiting()
            }),
            acknowledged: under_way
                .and_then(|under_way| under_way.acknowledged.as_ref().map(|head| head.sequence)),
            refused: under_way.map_or(0, |under_way| under_way.delivered.refused),
            lost,
            ..EventsStatus::default()
        }
    }

    fn begun(&mut self, begun: Begun, now: Instant) -> News {
        let (delivered, acknowledged, head) = match begun {
            Ok(begun) => begun,
            Err(failure) => return self.failed(failure, now),
        };
        let from = delivered.from;
        let mut has_lost = false;
        let head = match head {
            Believed::Head(head) => Some(head),
            Believed::Nothing => None,
            Believed::Unknown => acknowledged,
            Believed::Behind(head) => {
                let has = head.as_ref().map_or(0, |head| head.sequence);
                log::warn!(
                    "the backend has lost events behind {has} that it had acknowledged: they are sent again"
                );
                has_lost = true;
                head
            }
            other => return self.mistaken(&other, now),
        };
        let end = self.progress.borrow().written;
        let reached = head.as_ref().map_or(from - 1, |head| head.sequence);
        let mut lanes = Lanes::new(from, reached, end);
        delivered.skipped.iter().for_each(|number| lanes.pass_over(*number));
        let unsaid = head.is_some() || has_lost;
        self.under_way = Some(UnderWay::new(delivered, lanes, head, unsaid, now));
        self.succeeded();
        self.say_acknowledged();
        self.keep();
        News::Contact
    }

    fn sent(&mut self, lane: Lane, sent: Sent, now: Instant) -> News {
        let Some(under_way) = &mut self.under_way else {
            return News::None;
        };
        let Sent { reader, span, took, result, count, bytes } = sent;
        under_way.way_mut(lane).reader = Some(reader);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(Failure::Gone) => {
                under_way.gone = Some(under_way.lanes.end());
                return News::None;
            }
            Err(Failure::Backend(fault)) if aside::is_too_large(&fault) && count > 1 => {
                under_way.bytes = (bytes / 2).max(1);
                under_way.ceiling = under_way.bytes;
                under_way.way_mut(lane).at = now + SPACING;
                return News::None;
            }
            Err(Failure::Backend(fault)) if aside::is_unacceptable(&fault) => {
                under_way.way_mut(lane).at = now + SPACING;
                if count > 1 {
                    under_way.most = count / 2;
                    return News::None;
                }
                log::warn!("event {} is set aside: {fault}", span.first);
                under_way.lanes.skip(lane, span, span.first);
                under_way.delivered.refused += 1;
                self.keep();
                return News::Contact;
            }
            Err(failure) => {
                if matches!(&failure, Failure::Backend(fault) if fault.is_cut()) {
                    under_way.send_less();
                }
                return self.failed(failure, now);
            }
        };
        let Outcome { last, head, refused, is_full } = outcome;
        // What follows the head without a gap is had, so the head is there or beyond.
        let is_short = |head: Option<&Head>| {
            lane == Lane::Backlog && head.is_none_or(|head| head.sequence < last.sequence)
        };
        let head = match head {
            Believed::Head(head) if is_short(Some(&head)) => {
                return self.mistaken(&Believed::Behind(Some(head)), now);
            }
            Believed::Nothing if is_short(None) => return self.mistaken(&Believed::Behind(None), now),
            Believed::Head(head) => Some(head),
            Believed::Nothing | Believed::Unknown => None,
            other => return self.mistaken(&other, now),
        };
        under_way.lanes.sent(lane, span, last.sequence);
        if !under_way.live.job.is_running() {
            under_way.lanes.join();
        }
        under_way.remember(last);
        under_way.pace(lane, took, is_full, now);
        if !refused.is_empty() {
            for refused in &refused {
                log::warn!(
                    "the backend will never take event {}: {}",
                    refused.sequence,
                    plain(&refused.detail, MAX_SAID)
                );
            }
            under_way.delivered.refused += refused.len() as u64;
        }
        let newest = under_way.acknowledged.as_ref().map_or(0, |head| head.sequence);
        if let Some(head) = head.filter(|head| head.sequence > newest) {
            under_way.acknowledged = Some(head);
            under_way.unsaid = true;
        }
        self.succeeded();
        self.say_acknowledged();
        if !refused.is_empty() {
            self.keep();
        }
        News::Contact
    }

    fn succeeded(&mut self) {
        self.is_cut_off = false;
        self.failures.reset();
        self.patience.reset();
        self.set_taken(true);
    }

    fn set_taken(&mut self, is_taken: bool) {
        if self.is_taken != Some(is_taken) && self.events.set_taken(is_taken) {
            self.is_taken = Some(is_taken);
        }
    }

    /// The log is to know what may be deleted.
    fn say_acknowledged(&mut self) {
        if let Some(under_way) = self.under_way.as_mut().filter(|under_way| under_way.unsaid) {
            let nothing = || Head { sequence: 0, hash: GENESIS.into() };
            let head = under_way.acknowledged.clone().unwrap_or_else(nothing);
            under_way.unsaid = !self.events.acknowledge(head);
        }
    }

    fn keep(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.delivered.skipped = under_way.lanes.skipped().to_vec();
        }
        if let Some(under_way) = &self.under_way
            && let Err(error) =
                disk::replace_json(&self.options.delivery(), &under_way.delivered, Durability::Synced)
        {
            log::warn!("{error}");
        }
    }

    fn failed(&mut self, failure: Failure, now: Instant) -> News {
        if let Some(under_way) = &mut self.under_way {
            under_way.lanes.unite();
        }
        let fault = match failure {
            Failure::Backend(fault) => fault,
            Failure::Log(error) => {
                let delay = self.wait_patiently(now);
                return News::Failed(events::unreadable(&error), delay);
            }
            Failure::Gone => return News::None,
        };
        if takes_none(&fault) {
            self.set_taken(false);
            self.not_before = now + jittered(PATIENCE, random::fraction());
            return News::NotTaken;
        }
        self.is_cut_off = fault.refusal().is_none() && !fault.is_lasting();
        let finding = fault.finding(&self.subject());
        let mut delay = self.failures.next_or(fault.retry_after(), random::fraction());
        if fault.code() == Some(Code::HostUnknown) {
            delay = jittered(PATIENCE, random::fraction());
        } else if fault.is_lasting() {
            delay = delay.max(self.patience.next(random::fraction()));
        }
        self.not_before = now + delay;
        News::Failed(finding, delay)
    }

    /// The backend says that it has what it cannot have, or has lost something.
    fn mistaken(&mut self, said: &Believed, now: Instant) -> News {
        let end = self.progress.borrow().written;
        let (code, message, mend) = match said {
            Believed::Ahead(number) => (
                "events-head-ahead",
                format!(
                    "the backend says that it has event {number} of this host, which was never sent: the log ends with {end}"
                ),
                "find out who removed events from /var/log/hostward. If this machine was restored from a snapshot or a backup, enroll it anew: put a token into /etc/hostward/enrollment.token",
            ),
            Believed::Differs(number) => (
                "events-diverged",
                format!("the backend has another event {number} than the log of this host"),
                "run `hostward events --verify` and find out who rewrote the log. If this machine was restored from a snapshot or a backup, enroll it anew: put a token into /etc/hostward/enrollment.token",
            ),
            Believed::Behind(head) => {
                let has = head.as_ref().map_or(0, |head| head.sequence);
                if let Some(under_way) = &mut self.under_way {
                    under_way.lanes.rewind(has);
                    under_way.acknowledged = head.clone();
                    under_way.unsaid = true;
                }
                // Nothing that it may not have any more is to be deleted.
                self.say_acknowledged();
                (
                    "events-head-behind",
                    format!("the backend acknowledges events up to {has} only, and had been given more"),
                    "see whether the backend lost events, or was restored from a backup; they are sent again by themselves, as far as this host has them",
                )
            }
            Believed::Head(_) | Believed::Nothing | Believed::Unknown => return News::None,
        };
        if let Some(under_way) = &mut self.under_way {
            under_way.lanes.unite();
        }
        let delay = self.wait_patiently(now);
        let finding = Finding {
            code: code.into(),
            subject: self.subject(),
            message,
            responsible: Responsible::Operator,
            mend: mend.into(),
        };
        News::Failed(finding, delay)
    }

    fn wait_patiently(&mut self, now: Instant) -> Duration {
        let delay = self.patience.next(random::fraction());
        self.not_before = now + delay;
        delay
    }

    fn subject(&self) -> String {
        format!("backend `{}`", self.identity.enrollment.url)
    }
}

/// Waits for the log to grow; for ever where nobody writes it any more.
async fn changed(progress: &mut watch::Receiver<Progress>) {
    if progress.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Whether this is a backend of a version that takes no events.
fn takes_none(fault: &Fault) -> bool {
    fault.code().is_none()
        && fault.refusal().is_some_and(|refusal| {
            matches!(
                refusal.status,
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
            )
        })
}
