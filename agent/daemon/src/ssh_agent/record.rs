//! What is written down of certificates issued and refused, and of signatures refused: in one place.

use std::sync::Mutex;
use std::sync::PoisonError;

use chrono::{DateTime, Utc};
use hostward_protocol::api::CallerHint;
use hostward_protocol::report::Finding;
use hostward_ssh_agent::{Identity, Refusal};

use super::issuer::shown;

/// How many refusals are written down in a minute. Any bound account can cause as many as it likes.
const MOST: u32 = 30;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A certificate was issued.
    Issued {
        /// The service user.
        user: &'a str,
        /// What came of it.
        identity: &'a Identity,
    },
    /// None was.
    NotIssued {
        /// The service user.
        user: &'a str,
        /// Why.
        reason: &'a Finding,
    },
    /// Something was not signed.
    NotSigned(&'a Refusal),
}

/// Writes down what happened to whoever has `uid`.
#[derive(Debug, Default)]
pub struct Record(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    written: u32,
    left_out: u32,
}

impl Record {
    /// Writes it down.
    pub fn record(&self, uid: u32, hint: &CallerHint, event: Event<'_>, now: DateTime<Utc>) {
        let who = who(uid, hint);
        match event {
            Event::Issued { user, identity } => log::info!(
                "issued to {who}: a certificate of `{}`, key id `{}`, serial {}, principals `{}`, for {} s",
                shown(user),
                shown(identity.key_id()),
                identity.serial(),
                shown(&identity.principals().join(",")),
                identity.left(seconds(now)),
            ),
            Event::NotIssued { user, reason } if self.has_room(now) => log::warn!(
                "not issued to {who}: a certificate of `{}`: {}; {}",
                shown(user),
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
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
