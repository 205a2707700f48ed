//! Bounded waiting for something to become true.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

/// Between looks: an eighth of what was waited already, within these. A look at a host starts half a dozen processes.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(250);

/// Calls `look` until it has an answer, and returns how long that took together with the answer.
///
/// `look` returns the answer, or what it saw instead: the last of these is in the message of the panic.
///
/// # Panics
/// When there is no answer within `patience`.
#[track_caller]
pub fn wait_for<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> (Duration, T) {
    let start = Instant::now();
    loop {
        let last_look = start.elapsed() >= patience;
        match look() {
            Ok(answer) => return (start.elapsed(), answer),
            Err(seen) if last_look => {
                panic!("waited {patience:?} for {what}, in vain; last seen:\n{seen}")
            }
            Err(_) => thread::sleep((start.elapsed() / 8).clamp(*INTERVAL.start(), *INTERVAL.end())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_the_wait() {
        let mut calls = 0;
        let (_, answer) = wait_for(Duration::from_secs(5), "three calls", || {
            calls += 1;
            if calls == 3 { Ok(calls) } else { Err(String::new()) }
        });
        assert_eq!(answer, 3);
    }

    #[test]
    #[should_panic(expected = "for a miracle, in vain; last seen:\nnothing")]
    fn a_wait_in_vain_says_what_was_seen() {
        let _ = wait_for(Duration::ZERO, "a miracle", || Err::<(), _>("nothing".to_owned()));
    }
}
