//! Remembers which homes could not be settled: packing one may take hours and fill a disk, and is not begun anew with
//! each pass.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::durable::WriteError;
use crate::finding::chain;
use crate::root::{HOME_RETRIES, Root};
use crate::state;

/// How long a failed attempt is not repeated.
const PAUSE: TimeDelta = TimeDelta::days(1);

type Retries = BTreeMap<u32, DateTime<Utc>>;

/// When the home of `uid` is tried again, where that is not now.
pub fn waits_until(root: &Root, uid: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    read(root).remove(&uid).filter(|at| is_ahead(*at, now))
}

/// Notes an attempt that was begun at `now` and failed.
pub fn failed(root: &Root, uid: u32, now: DateTime<Utc>) -> Result<(), WriteError> {
    let mut retries = read(root);
    retries.retain(|_, at| is_ahead(*at, now));
    retries.insert(uid, now + PAUSE);
    write(root, &retries)
}

/// Forgets a home, which is settled.
pub fn settled(root: &Root, uid: u32) -> Result<(), WriteError> {
    let mut retries = read(root);
    if retries.remove(&uid).is_some() { write(root, &retries) } else { Ok(()) }
}

/// A clock that was ahead must not make it wait for years.
fn is_ahead(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at > now && at <= now + PAUSE
}

fn read(root: &Root) -> Retries {
    state::read(&root.path(HOME_RETRIES), HOME_RETRIES)
        .unwrap_or_else(|error| {
            log::warn!("{}; homes are tried again at once", chain(&error));
            None
        })
        .unwrap_or_default()
}

fn write(root: &Root, retries: &Retries) -> Result<(), WriteError> {
    state::write(&root.path(HOME_RETRIES), retries, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_attempt_is_not_repeated_for_a_day() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::below(directory.path());
        std::fs::create_dir_all(root.path("/var/lib/hostward")).expect("state");
        let now: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().expect("a time");
        assert_eq!(waits_until(&root, 7, now), None);
        failed(&root, 7, now).expect("written");
        assert_eq!(waits_until(&root, 7, now + TimeDelta::hours(23)), Some(now + PAUSE));
        assert_eq!(waits_until(&root, 8, now), None, "others go on");
        assert_eq!(waits_until(&root, 7, now + PAUSE), None);
        assert_eq!(waits_until(&root, 7, now - TimeDelta::days(3)), None, "the clock was ahead");
        settled(&root, 7).expect("written");
        assert_eq!(waits_until(&root, 7, now), None);
        std::fs::write(root.path(HOME_RETRIES), "{").expect("damage");
        assert_eq!(waits_until(&root, 7, now), None);
        failed(&root, 7, now).expect("a damaged file is replaced");
        assert_eq!(waits_until(&root, 7, now), Some(now + PAUSE));
    }
}
