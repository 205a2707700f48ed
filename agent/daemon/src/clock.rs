//! What time it is, here and at the backend.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// The host's clock and what is known of the backend's.
#[derive(Debug, Default)]
pub struct Clock {
    correction: AtomicI64,
}

impl Clock {
    /// This host's time: for everything but host credentials.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// The backend's time as far as it is known: for host credentials only.
    pub fn for_credentials(&self) -> DateTime<Utc> {
        self.now() + TimeDelta::seconds(self.correction.load(Ordering::Relaxed))
    }

    /// Learns from the `Date` of an answer that refused a credential. Returns whether that changed anything,
    /// so that a repetition with the same clock is not tried.
    pub fn correct(&self, offset: i64) -> bool {
        let before = self.correction.swap(offset, Ordering::Relaxed);
        before.abs_diff(offset) > 5
    }
}

/// The time in an HTTP `Date` header.
pub fn http_date(value: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(value).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.timestamp(), 784_111_777);
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn a_correction_counts_for_credentials_only_and_once() {
        let clock = Clock::default();
        assert!(clock.correct(-86_400));
        assert!(!clock.correct(-86_398));
        assert!((clock.now() - clock.for_credentials()).num_seconds() > 86_000);
    }
}
