//! Spaces out requests, so that whoever may ask cannot keep the one who works busy with nothing else.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time from one request to the next.
const INTERVAL: Duration = Duration::from_millis(250);

/// Turns, one after the other.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the next turn is, at the earliest.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// How long a request that came at `now` has to wait for its turn, which is its own.
    pub fn turn(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + INTERVAL);
        turn.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_turn_of_its_own() {
        let pace = Pace::default();
        let now = Instant::now();
        let waits: Vec<_> = (0..4).map(|_| pace.turn(now)).collect();
        assert_eq!(waits, [Duration::ZERO, INTERVAL, INTERVAL * 2, INTERVAL * 3]);
        assert_eq!(pace.turn(now + INTERVAL * 4), Duration::ZERO);
        assert_eq!(pace.turn(now + Duration::from_secs(60)), Duration::ZERO, "turns are not saved up");
        assert_eq!(pace.turn(now + Duration::from_secs(60)), INTERVAL);
    }
}
