//! Now, and the next moment at which the same policy means something else.

use chrono::{DateTime, TimeDelta, Utc};
use hostward_config::{OnStale, Seconds};
use hostward_protocol::report::Staleness;

/// Collects moments while entries are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Horizon {
    now: DateTime<Utc>,
    next: Option<DateTime<Utc>>,
}

impl Horizon {
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Horizon { now, next: None }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Something changes at this moment.
    pub(crate) fn note(&mut self, moment: Option<DateTime<Utc>>) {
        if let Some(moment) = moment.filter(|moment| *moment > self.now) {
            self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
        }
    }

    pub(crate) fn next(&self) -> Option<DateTime<Utc>> {
        self.next
    }

    /// How old a policy is whose timestamp expires then.
    pub(crate) fn staleness(
        &mut self,
        expires: DateTime<Utc>,
        max_offline: Seconds,
        on_stale: OnStale,
    ) -> Staleness {
        let limit = i64::try_from(max_offline.0)
            .ok()
            .and_then(TimeDelta::try_seconds)
            .and_then(|offline| expires.checked_add_signed(offline));
        self.note(Some(expires));
        self.note(limit);
        if self.now < expires {
            Staleness::Fresh
        } else if limit.is_none_or(|limit| self.now < limit) {
            Staleness::Stale
        } else {
            match on_stale {
                OnStale::Keep => Staleness::OfflineKept,
                OnStale::Lock => Staleness::OfflineLocked,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staleness_and_what_comes_next() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut table = Vec::new();
        for now in [0, 99, 100, 199, 200] {
            let mut horizon = Horizon::new(at(now));
            let staleness = horizon.staleness(at(100), Seconds(100), OnStale::Lock);
            table.push((now, staleness, horizon.next().map(|next| next.timestamp())));
        }
        assert_eq!(
            table,
            [
                (0, Staleness::Fresh, Some(100)),
                (99, Staleness::Fresh, Some(100)),
                (100, Staleness::Stale, Some(200)),
                (199, Staleness::Stale, Some(200)),
                (200, Staleness::OfflineLocked, None),
            ]
        );
        let mut horizon = Horizon::new(at(1_000_000));
        assert_eq!(horizon.staleness(at(100), Seconds(u64::MAX), OnStale::Lock), Staleness::Stale);
        assert_eq!(horizon.staleness(at(100), Seconds(1), OnStale::Keep), Staleness::OfflineKept);
    }
}
