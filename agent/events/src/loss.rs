//! Events that the log does not have, counted.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::event::Event;
use crate::input::Source;
use crate::kind::{Kind, Quota};
use crate::ocsf::{Severity, Status};

/// Why events are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Their kind had used up its room.
    Quota,
    /// The log could not be written: a full disk, mostly.
    Disk,
    /// They came faster than the disk took them.
    Queue,
}

impl Cause {
    fn code(self) -> &'static str {
        match self {
            Cause::Quota => "quota-full",
            Cause::Disk => "log-not-writable",
            Cause::Queue => "disk-too-slow",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Cause::Quota => "the room that [events] gives them was used up",
            Cause::Disk => "the log could not be written",
            Cause::Queue => "the disk was too slow",
        }
    }
}

/// Why something that happened did not come to be an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The PAM module could write it nowhere.
    NotWritten,
    /// Lines of its records are damaged: by a crash, mostly.
    Damaged,
    /// journald dropped messages of this unit because it sent too many.
    Suppressed(String),
    /// What was read of the journal last is gone from it, so that what came behind may be as well.
    Gap,
    /// Entries of the journal say that they are sudo's or su's, and nothing confirms it.
    Unsure,
}

impl Missing {
    fn code(&self) -> &'static str {
        match self {
            Missing::NotWritten => "record-not-written",
            Missing::Damaged => "record-damaged",
            Missing::Suppressed(_) => "journal-suppressed",
            Missing::Gap => "journal-gap",
            Missing::Unsure => "journal-unsure",
        }
    }

    fn text(&self) -> String {
        match self {
            Missing::NotWritten => {
                "the PAM module could write them neither to /var/lib/hostward/records nor to /run/hostward/records; is the disk full?".into()
            }
            Missing::Damaged => "lines of the PAM module's records are damaged, as a crash leaves them".into(),
            Missing::Suppressed(unit) => {
                format!("journald dropped messages of `{unit}`, which sent too many: see RateLimitBurst= in journald.conf(5)")
            }
            Missing::Gap => {
                "what was read of the journal last is gone from it: it was emptied or is too small, see SystemMaxUse= in journald.conf(5)".into()
            }
            Missing::Unsure => {
                "entries of the journal say that they are sudo's or su's, and nothing confirms it: somebody forges them, or pam_hostward is not in /etc/pam.d/sudo".into()
            }
        }
    }
}

impl Event {
    /// Something that happened is no event. `count` is how often, where that is known.
    pub fn input_lost(at: DateTime<Utc>, source: Source, count: Option<u64>, cause: &Missing) -> Self {
        let many = count.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        let from = match source {
            Source::Records => "PAM's records",
            Source::Journal => "the journal",
            Source::Grants => "grants",
        };
        let message = format!("{many} events of {from} are missing: {}", cause.text());
        let severity = if *cause == Missing::Unsure { Severity::Medium } else { Severity::High };
        Event::new(Kind::EventsLost, at, severity, from, &message)
            .with("log_type_id", 2)
            .with("log_type", "Application")
            .with("log_name", "hostward")
            .outcome(Status::Failure, Some((cause.code(), &cause.text())))
            .unmapped("lost", json!({ "source": source, "count": count, "cause": cause.code() }))
    }
}

/// How many of one kind were lost for one reason, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub quota: Quota,
    pub cause: Cause,
    pub count: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

/// Losses that no event tells of yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<Loss>);

impl Losses {
    /// Counts one more.
    pub fn count(&mut self, quota: Quota, cause: Cause, at: DateTime<Utc>) {
        self.count_many(quota, cause, at, 1);
    }

    /// Counts several.
    pub fn count_many(&mut self, quota: Quota, cause: Cause, at: DateTime<Utc>, count: u64) {
        if count > 0 {
            self.add(Loss { quota, cause, count, first: at, last: at });
        }
    }

    pub(crate) fn add(&mut self, more: Loss) {
        match self.0.iter_mut().find(|loss| (loss.quota, loss.cause) == (more.quota, more.cause)) {
            Some(loss) => {
                loss.count += more.count;
                loss.first = loss.first.min(more.first);
                loss.last = loss.last.max(more.last);
            }
            None => self.0.push(more),
        }
    }

    /// Adds what others counted.
    pub fn extend(&mut self, more: Losses) {
        more.0.into_iter().for_each(|loss| self.add(loss));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many were lost of a kind of event.
    pub fn of(&self, quota: Quota) -> u64 {
        self.0.iter().filter(|loss| loss.quota == quota).map(|loss| loss.count).sum()
    }

    /// How many were lost.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|loss| loss.count).sum()
    }

    /// Takes those that `told` says may be told now.
    pub(crate) fn take(&mut self, told: impl Fn(&Loss) -> bool) -> Vec<Loss> {
        let (taken, left) = self.0.drain(..).partition(told);
        self.0 = left;
        taken
    }
}

impl Loss {
    /// The event that tells of it.
    pub(crate) fn event(&self, at: DateTime<Utc>) -> Event {
        let Loss { quota, cause, count, first, last } = self;
        let what = if *count == 1 { "event" } else { "events" };
        let message = format!(
            "{count} {what} of the kind `{}` between {} and {} are lost: {}",
            quota.name(),
            first.format("%F %TZ"),
            last.format("%F %TZ"),
            cause.text()
        );
        Event::new(Kind::EventsLost, at, Severity::High, quota.name(), &message)
            .with("log_type_id", 2)
            .with("log_type", "Application")
            .with("log_name", "hostward")
            .outcome(Status::Failure, Some((cause.code(), cause.text())))
            .unmapped("lost", json!({ "quota": quota.name(), "count": count, "cause": cause.code() }))
            .unmapped("first", first.timestamp_millis())
            .unmapped("last", last.timestamp_millis())
    }
}

/// The end of the log was damaged and `cut` bytes were set aside.
pub(crate) fn repaired(at: DateTime<Utc>, file: &str, cut: u64, sha256: &str) -> Event {
    let message = format!(
        "the end of `{file}` was no whole event ({cut} bytes, from a crash or a power cut): it was set aside as `events.torn`"
    );
    Event::new(Kind::EventsRepaired, at, Severity::Medium, file, &message)
        .with("log_type_id", 2)
        .with("log_type", "Application")
        .with("log_name", "hostward")
        .outcome(Status::Success, None)
        .unmapped("cut", json!({ "file": file, "bytes": cut, "sha256": sha256 }))
}
