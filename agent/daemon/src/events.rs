//! What the agent records of what happens: the one place from which events go into the log.
//!
//! Nothing here waits for a disk, and nothing fails: what cannot be recorded is counted, and the log says so.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use chrono::{TimeDelta, Utc};
use hostward_config::Config;
use hostward_events::{
    Certificate, Event, FilesError, Head, Issued, Known, Limits, Origin, Progress, Recorder,
};
use hostward_protocol::local::AgentReply;
use hostward_protocol::report::{Finding, Report, Responsible};
use tokio::sync::watch;

use crate::disk::{self, Durability};
use crate::host_info;
use crate::identity::{Enrollment, Standing};
use crate::paths::Options;
use crate::{random, sources};

/// How long the end of the agent may wait for the disk.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for every event of this process.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Records what happens.
pub struct Events {
    recorder: Recorder,
    origin: Mutex<Arc<Origin>>,
    known: Mutex<Known>,
    known_path: PathBuf,
    progress: watch::Receiver<Progress>,
    certificates: [AtomicU64; 2],
    sources: Mutex<Option<UnixStream>>,
}

impl Events {
    /// Starts recording. A log that cannot be written is no reason not to run: that is said, and tried again.
    pub fn start(options: &Options, config: &Config) -> anyhow::Result<Self> {
        let origin = Arc::new(Origin {
            hostname: host_info::hostname(),
            host_id: None,
            boot_id: options.boot_id.clone(),
            version: VERSION.into(),
        });
        let recorder =
            Recorder::start(options.events.clone(), limits(&config.events), random::hex_id(), origin.clone())
                .context("cannot start the thread that records events")?;
        let (sender, progress) = watch::channel(Progress::default());
        recorder.on_progress(move |progress| {
            sender.send_replace(progress);
        });
        let known_path = options.known();
        let known = disk::read_json::<Known>(&known_path).unwrap_or_else(|error| {
            // What still is so is said once more, that is all.
            log::warn!("{error}");
            None
        });
        Ok(Events {
            recorder,
            origin: Mutex::new(origin),
            known: Mutex::new(known.unwrap_or_default()),
            known_path,
            progress,
            certificates: [const { AtomicU64::new(0) }; 2],
            sources: Mutex::new(None),
        })
    }

    /// How far the log has come; changes when something was written.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The backend has everything up to `head`. Answers with whether the log will know.
    pub fn acknowledge(&self, head: Head) -> bool {
        self.recorder.acknowledge(head)
    }

    /// Whether a backend takes events. Answers in the same way.
    pub fn set_taken(&self, is_taken: bool) -> bool {
        self.recorder.set_taken(is_taken)
    }

    /// A service account was issued a certificate, or was refused one.
    pub fn certificate(&self, asked: &Certificate, outcome: Result<&Issued, &Finding>) {
        let now = Utc::now();
        self.certificates[usize::from(outcome.is_err())].fetch_add(1, Ordering::Relaxed);
        self.record(match outcome {
            Ok(issued) => Event::certificate_issued(now, asked, issued),
            Err(reason) => Event::certificate_refused(now, asked, reason),
        });
    }

    /// How many certificates service accounts were issued, and were refused.
    pub fn certificates(&self) -> (u64, u64) {
        let [issued, refused] = &self.certificates;
        (issued.load(Ordering::Relaxed), refused.load(Ordering::Relaxed))
    }

    /// The agent runs.
    pub fn started(&self) {
        self.record(Event::agent_started(Utc::now(), VERSION, std::process::id()));
    }

    /// The agent ends. Nothing is recorded after it.
    pub fn stopped(&self) {
        self.record(Event::agent_stopped(Utc::now(), VERSION));
        if !self.recorder.stop(PATIENCE) {
            log::warn!("the disk is too slow: the last events are not recorded");
        }
    }

    /// The host is enrolled from now on.
    pub fn enrolled(&self, enrollment: &Enrollment) {
        self.set_host_id(Some(&enrollment.host_id));
        self.record(Event::enrolled(Utc::now(), &as_recorded(enrollment)));
    }

    /// A token is of no use.
    pub fn enrollment_refused(&self, reason: &Finding) {
        self.record(Event::enrollment_refused(Utc::now(), reason));
    }

    /// The identity is gone; `reply` says whether the backend knows.
    pub fn left(&self, standing: &Standing, reply: &AgentReply) {
        if let Standing::Host(identity) = standing {
            let untold = match reply {
                AgentReply::Unenrolled { told_backend: Ok(()) } => None,
                AgentReply::Unenrolled { told_backend: Err(finding) } => Some(finding.message.as_str()),
                _ => Some("it was not to be told"),
            };
            self.record(Event::unenrolled(Utc::now(), &as_recorded(&identity.enrollment), untold));
        }
        self.set_host_id(None);
        self.set_taken(false);
        self.keep(Known::default());
    }

    /// What the host is from now on. A copy of another host does not speak in its name.
    pub fn stand(&self, standing: &Standing) {
        match standing {
            Standing::Host(identity) => self.set_host_id(Some(&identity.enrollment.host_id)),
            _ => self.set_host_id(None),
        }
    }

    /// Root made a report.
    pub fn reported(&self, report: &Report) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (events, after) = hostward_events::of_report(report, &known);
        events.into_iter().for_each(|event| self.record(event));
        if let Some(waker) = self.sources.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            sources::wake(waker);
        }
        if after != known {
            self.keep(after);
        }
    }

    /// How much is kept from now on.
    pub fn set_limits(&self, config: &hostward_config::Events) {
        self.recorder.set_limits(limits(config));
    }

    /// Whom to wake when root ended sessions.
    pub fn wake_sources_by(&self, waker: UnixStream) {
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// Records what a source says, and waits as long as the disk does not keep up. Whether more can be recorded.
    pub fn record_waiting(&self, event: Event) -> bool {
        let origin = self.origin.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.recorder.record_waiting(&origin, event)
    }

    /// Waits until what was recorded is on the disk; the number of the log's last event, where that is known.
    pub fn flush(&self) -> Option<u64> {
        self.recorder.flush()
    }

    fn keep(&self, known: Known) {
        if let Err(error) = disk::replace_json(&self.known_path, &known, Durability::Lazy) {
            log::warn!("{error}");
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn record(&self, event: Event) {
        let origin = self.origin.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.recorder.record(&origin, event);
    }

    fn set_host_id(&self, host_id: Option<&str>) {
        let mut origin = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        *origin = Arc::new(Origin {
            hostname: host_info::hostname(),
            host_id: host_id.map(str::to_owned),
            ..Origin::clone(&origin)
        });
    }
}

fn as_recorded(enrollment: &Enrollment) -> hostward_events::Enrollment {
    hostward_events::Enrollment {
        url: enrollment.url.clone(),
        project: enrollment.project.clone(),
        host_id: enrollment.host_id.clone(),
    }
}

fn limits(config: &hostward_config::Events) -> Limits {
    let keep = i64::try_from(config.keep.0).ok().and_then(TimeDelta::try_seconds);
    Limits {
        denials: config.denials.0,
        sessions: config.sessions.0,
        own: config.own.0,
        keep: keep.unwrap_or(TimeDelta::days(36_500)),
        ..Limits::default()
    }
}

/// The log of events cannot be read.
pub fn unreadable(error: &FilesError) -> Finding {
    Finding {
        code: "events-unreadable".into(),
        subject: "the log of events".into(),
        message: error.to_string(),
        responsible: Responsible::Operator,
        mend: "see that /var/log/hostward belongs to the user hostward; `systemd-tmpfiles --create hostward.conf` puts that right".into(),
    }
}
