//! What is written down of certificates issued and refused, and of signatures refused: in one place.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use hostward_events::{Caller, Certificate, Issued};
use hostward_protocol::api::CallerHint;
use hostward_protocol::report::Finding;
use hostward_protocol::service::BoundService;
use hostward_ssh_agent::{Identity, Refusal};

use super::issuer::shown;
use crate::events::Events;

/// How many refusals are written down in a minute. Any bound account can cause as many as it likes.
const MOST: u32 = 30;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A certificate was issued.
    Issued {
        /// The account's binding.
        service: &'a BoundService,
        /// What came of it.
        identity: &'a Identity,
    },
    /// None was.
    NotIssued {
        /// The account's binding.
        service: &'a BoundService,
        /// Why.
        reason: &'a Finding,
    },
    /// Something was not signed.
    NotSigned(&'a Refusal),
}

/// Writes down what happened to whoever has `uid`: certificates in the log of events, all of it in the journal.
#[derive(Default)]
pub struct Record {
    minute: Mutex<Minute>,
    /// None in tests.
    events: Option<Arc<Events>>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    written: u32,
    left_out: u32,
}

impl Record {
    /// Writes into this log of events.
    pub fn new(events: Option<Arc<Events>>) -> Self {
        Record { events, ..Record::default() }
    }

    /// Writes it down.
    pub fn record(&self, uid: u32, hint: &CallerHint, event: Event<'_>, now: DateTime<Utc>) {
        if let Some(events) = &self.events {
            keep(events, uid, hint, event);
        }
        let who = who(uid, hint);
        match event {
            Event::Issued { service, identity } => log::info!(
                "issued to {who}: a certificate of `{}`, key id `{}`, serial {}, principals `{}`, for {} s",
                shown(&service.user),
                shown(identity.key_id()),
                identity.serial(),
                shown(&identity.principals().join(",")),
                identity.left(seconds(now)),
            ),
            Event::NotIssued { service, reason } if self.has_room(now) => log::warn!(
                "not issued to {who}: a certificate of `{}`: {}; {}",
                shown(&service.user),
                shown(&reason.message),
                shown(&reason.mend)
            ),
            Event::NotSigned(refusal) if self.has_room(now) => {
                log::warn!("not signed for {who}: {refusal}");
            }
            Event::NotIssued { .. } | Event::NotSigned(_) => {}
        }
    }

    fn has_room(&self, now: DateTime<Utc>) -> bool {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.timestamp().div_euclid(60);
        if minute.number != number {
            if minute.left_out > 0 {
                log::warn!("{} more refusals were not written down", minute.left_out);
            }
            *minute = Minute { number, written: 0, left_out: 0 };
        }
        let has_room = minute.written < MOST;
        if has_room {
            minute.written += 1;
        } else {
            minute.left_out += 1;
        }
        has_room
    }
}

/// In the log of events. A signature that is refused is a client's mistake, and any account can make as many as it likes.
fn keep(events: &Events, uid: u32, hint: &CallerHint, event: Event<'_>) {
    let asked = |service: &BoundService, key| Certificate {
        caller: Caller { uid, pid: hint.pid, unit: hint.unit.clone(), account: account(uid) },
        user: Some(service.user.clone()),
        issuer: service.issuer.word().into(),
        key,
    };
    match event {
        Event::Issued { service, identity } => {
            let issued = Issued {
                key_id: identity.key_id().to_owned(),
                serial: identity.serial(),
                principals: identity.principals().to_vec(),
                valid_after: moment(identity.valid_after()),
                valid_before: moment(identity.valid_before()),
                ca: identity.authority_fingerprint(),
            };
            events.certificate(&asked(service, Some(identity.key_fingerprint())), Ok(&issued));
        }
        Event::NotIssued { service, reason } => events.certificate(&asked(service, None), Err(reason)),
        Event::NotSigned(_) => {}
    }
}

/// The local account of a uid: of the file alone, since nothing else must be waited for.
fn account(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut accounts = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, own) = (fields.next()?, fields.next()?, fields.next()?);
        (own.parse() == Ok(uid)).then(|| name.to_owned())
    });
    accounts.next()
}

/// What certificates count by as a moment; the last one there is for what never comes.
fn moment(seconds: u64) -> DateTime<Utc> {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    moment.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn who(uid: u32, hint: &CallerHint) -> String {
    let mut hints = Vec::new();
    hints.extend(hint.pid.map(|pid| format!("pid {pid}")));
    hints.extend(hint.unit.as_deref().map(|unit| format!("unit {}", shown(unit))));
    if hints.is_empty() { format!("uid {uid}") } else { format!("uid {uid} (hints: {})", hints.join(", ")) }
}

/// As certificates count.
pub fn seconds(now: DateTime<Utc>) -> u64 {
    u64::try_from(now.timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_do_not_fill_the_journal() {
        let record = Record::default();
        let at = |second: i64| DateTime::from_timestamp(1_700_000_040 + second, 0).unwrap();
        let written = (0..1000).filter(|_| record.has_room(at(1))).count();
        assert_eq!(written, MOST as usize);
        assert!(record.has_room(at(61)));
    }

    #[test]
    fn hints_are_marked_as_such() {
        let hint = CallerHint { pid: Some(7), unit: Some("a.service\n".into()) };
        assert_eq!(who(112, &hint), "uid 112 (hints: pid 7, unit a.service )");
        assert_eq!(who(112, &CallerHint::default()), "uid 112");
    }
}
