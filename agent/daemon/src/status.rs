//! What the agent knows, in a file for root and in a line for the service manager. Written when it changes.

use std::path::PathBuf;
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_protocol::local::{AgentStatus, EnrollmentState, EventsStatus, OutputStatus};

use crate::disk::{self, Durability};

/// How old the time of the last contact may be in the file: a burst of exchanges is written once.
const CONTACT_AGE: TimeDelta = TimeDelta::seconds(2);
/// How old the numbers of events may be in the file while they change.
const COUNTS_AGE: TimeDelta = TimeDelta::seconds(10);

/// The status, kept in its file.
#[derive(Debug)]
pub struct Board {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: AgentStatus,
    written: Option<AgentStatus>,
    line: String,
}

impl Board {
    /// A board in `path`, and what an earlier run of the agent had left there.
    pub fn open(path: PathBuf, now: DateTime<Utc>) -> (Self, Option<AgentStatus>) {
        let earlier = disk::read_json::<AgentStatus>(&path).ok().flatten();
        let current = AgentStatus {
            at: now,
            agent_version: env!("CARGO_PKG_VERSION").into(),
            enrollment: EnrollmentState::AwaitingToken,
            last_contact: earlier.as_ref().and_then(|s| s.last_contact),
            problem: None,
            next_attempt: None,
            clock_offset: None,
            polling: None,
            token: None,
            step_ca: None,
            events: EventsStatus::default(),
        };
        let state = State { current, written: None, line: String::new() };
        let board = Board { path, state: Mutex::new(state) };
        (board, earlier)
    }

    /// Changes the status; it is written where that made a difference.
    pub fn update(&self, now: DateTime<Utc>, change: impl FnOnce(&mut AgentStatus)) {
        let mut state = self.lock();
        change(&mut state.current);
        if !state.is_news() {
            return;
        }
        state.current.at = now;
        if let Err(error) = disk::replace_json(&self.path, &state.current, Durability::Lazy) {
            log::error!("{error}");
        }
        state.written = Some(state.current.clone());
        let line = line(&state.current);
        if line != state.line {
            // Without a service manager there is nobody to tell.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&line)]);
            state.line = line;
        }
    }

    /// A complete exchange with the backend.
    pub fn contact(&self, now: DateTime<Utc>, offset: Option<i64>) {
        self.update(now, |status| {
            status.last_contact = Some(now);
            // A second of delay is no news.
            let before = status.clock_offset.unwrap_or(i64::MAX);
            if let Some(offset) = offset.filter(|o| o.abs_diff(before) > 2) {
                status.clock_offset = Some(offset);
            }
        });
    }

    /// What is known now.
    pub fn current(&self) -> AgentStatus {
        self.lock().current.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl State {
    fn is_news(&self) -> bool {
        let Some(written) = &self.written else {
            return true;
        };
        let contact_is_old = match (written.last_contact, self.current.last_contact) {
            (Some(before), Some(now)) => now - before >= CONTACT_AGE,
            (before, now) => before != now,
        };
        let same = AgentStatus {
            at: written.at,
            last_contact: written.last_contact,
            events: if self.counts_are_news(written) {
                self.current.events.clone()
            } else {
                written.events.clone()
            },
            ..self.current.clone()
        };
        contact_is_old || same != *written
    }

    /// Events are counted for people: what counts is whether some wait, whether anything is wrong, and now and then how many.
    fn counts_are_news(&self, written: &AgentStatus) -> bool {
        let (now, before) = (&self.current.events, &written.events);
        let plain = |events: &EventsStatus| EventsStatus {
            waiting: events.waiting.min(1),
            acknowledged: None,
            outputs: events.outputs.iter().map(|output| OutputStatus { sent: 0, ..output.clone() }).collect(),
            ..events.clone()
        };
        let is_old = Utc::now() - written.at >= COUNTS_AGE;
        plain(now) != plain(before) || (is_old && now != before)
    }
}

fn line(status: &AgentStatus) -> String {
    let state = match &status.enrollment {
        EnrollmentState::AwaitingToken => "waiting for an enrollment token".into(),
        EnrollmentState::Enrolling { url } => format!("enrolling at {url}"),
        EnrollmentState::Refused { reason } => format!("enrollment refused: {}", reason.message),
        EnrollmentState::Enrolled { host_id, .. } => format!("enrolled as {host_id}"),
        EnrollmentState::Damaged { reason } => format!("not enrolled any more: {}", reason.message),
        EnrollmentState::Clone { host_id } => {
            format!("a copy of host {host_id}: waiting for an enrollment token")
        }
    };
    let state = match &status.step_ca {
        Some(step_ca) => format!("{state}; certificates from the step-ca at {}", step_ca.url),
        None => state,
    };
    let of_step_ca = status.step_ca.as_ref().and_then(|step_ca| step_ca.problem.as_ref());
    let line = match status.problem.as_ref().or(of_step_ca) {
        Some(problem) => format!("{state}; {}", problem.message),
        None => state,
    };
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    #[test]
    fn only_news_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        let (board, earlier) = Board::open(path.clone(), at(0));
        assert_eq!(earlier, None);
        let read = || disk::read_json::<AgentStatus>(&path).unwrap().unwrap();

        board.contact(at(1), Some(0));
        assert_eq!(read().at, at(1));
        board.contact(at(2), Some(1));
        assert_eq!(read().at, at(1));
        board.contact(at(3), Some(-100));
        assert_eq!((read().at, read().clock_offset), (at(3), Some(-100)));
        // Nobody is to read that the last contact was a minute ago when a policy just came.
        board.contact(at(5), None);
        assert_eq!(read().last_contact, Some(at(5)));
        board.contact(at(63), None);
        assert_eq!(read().last_contact, Some(at(63)));
        board.update(at(64), |_| {});
        assert_eq!(read().at, at(63));

        let (_, earlier) = Board::open(path.clone(), at(100));
        assert_eq!(earlier.unwrap().last_contact, Some(at(63)));
    }
}
