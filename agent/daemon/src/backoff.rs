//! How long to wait after failures: exponential, with full jitter, so that a fleet does not come back all at once.

use std::time::Duration;

/// The longest `Retry-After` that is honoured; a longer one is taken for this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Waiting times of one kind of attempt.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Between `min` and `max`.
    pub const fn between(min: Duration, max: Duration) -> Self {
        Backoff { min, max, failures: 0 }
    }

    /// For exchanges with the backend: 1 s to 5 min.
    pub const fn backend() -> Self {
        Self::between(Duration::from_secs(1), Duration::from_secs(300))
    }

    /// For the root process on this host: 0.2 s to 1 min.
    pub const fn local() -> Self {
        Self::between(Duration::from_millis(200), Duration::from_secs(60))
    }

    /// For what only a person's act or a long time mends: 1 min to 1 h.
    pub const fn patient() -> Self {
        Self::between(Duration::from_secs(60), Duration::from_secs(3600))
    }

    /// The wait after one more failure: anything from the minimum to a bound that doubles.
    pub fn next(&mut self, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let bound = self.min.saturating_mul(2_u32.saturating_pow(self.failures.min(31))).min(self.max);
        self.min + (bound.saturating_sub(self.min)).mul_f64(random)
    }

    /// The wait that the other side asked for where it did, spread a little, else [`Self::next`].
    pub fn next_or(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        let own = self.next(random);
        match asked {
            Some(asked) => asked.min(MAX_RETRY_AFTER) + self.min.mul_f64(random),
            None => own,
        }
    }

    /// Whether nothing failed since the last success.
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `period`, a quarter more or less.
pub fn jittered(period: Duration, random: f64) -> Duration {
    period.mul_f64(0.75 + random * 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_in_bounds() {
        let mut backoff = Backoff::backend();
        let longest: Vec<u64> = (0..10).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(longest, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.next(0.0), Duration::from_secs(1));
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_secs(2));
        let mut many = Backoff::backend();
        many.failures = u32::MAX;
        assert_eq!(many.next(1.0), Duration::from_secs(300));
    }

    #[test]
    fn the_other_side_decides_within_reason() {
        let mut backoff = Backoff::backend();
        let asked = |n| Some(Duration::from_secs(n));
        assert_eq!(backoff.next_or(asked(40), 0.0), Duration::from_secs(40));
        assert_eq!(backoff.next_or(asked(40), 1.0), Duration::from_secs(41));
        assert_eq!(backoff.next_or(asked(10_000_000), 0.0), MAX_RETRY_AFTER);
        assert_eq!(backoff.next_or(None, 0.0), Duration::from_secs(1));
    }

    #[test]
    fn jitter_is_a_quarter() {
        let minute = Duration::from_secs(60);
        assert_eq!(jittered(minute, 0.0), Duration::from_secs(45));
        assert_eq!(jittered(minute, 1.0), Duration::from_secs(75));
    }
}
