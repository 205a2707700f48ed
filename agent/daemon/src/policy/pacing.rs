//! When to poll next, and how long to ask the server to hold the poll. Pure: times and chance are parameters.

use std::time::{Duration, Instant};

use hostward_config::Tuf;

use crate::backoff::{Backoff, jittered};

/// How long a server is asked to hold a poll after something on the way cut a longer one.
const CAREFUL_WAIT: u64 = 50;
/// How long that care lasts.
const CARE: Duration = Duration::from_secs(3600);
/// A poll that lasted this long and was cut was cut for its length.
const CUT: Duration = Duration::from_secs(20);
/// A poll that lasted this long was held, whatever the answer's headers say.
const HELD: Duration = Duration::from_secs(2);
/// How often a repository is polled whose backend does not know the host any more.
const ESTRANGED: Duration = Duration::from_secs(300);

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Unknown,
    /// It holds polls.
    Holds,
    /// It answers at once.
    AtOnce,
}

/// What is known of the server.
#[derive(Debug)]
pub struct Pacing {
    wait: u64,
    interval: Duration,
    manner: Manner,
    /// How long it may be asked to hold, while something on the way cuts longer polls.
    careful: Option<(u64, Instant)>,
    failures: Backoff,
    early: Backoff,
    estranged: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// How long it took.
    pub held: Duration,
    /// Whether `Preference-Applied` says that the server held it.
    pub applied: bool,
    /// Whether it brought something new.
    pub news: bool,
}

impl Pacing {
    /// As the operator set it.
    pub fn new(settings: &Tuf) -> Self {
        Pacing {
            wait: settings.wait.0,
            interval: Duration::from_secs(settings.interval.0.max(1)),
            manner: Manner::Unknown,
            careful: None,
            failures: Backoff::backend(),
            early: Backoff::backend(),
            estranged: false,
        }
    }

    /// How long to ask the server to hold the next poll, in seconds; `None`: not at all.
    pub fn wait(&self, now: Instant) -> Option<u64> {
        let wait = match self.careful {
            Some((wait, until)) if now < until => wait,
            _ => self.wait,
        };
        (wait > 0 && !self.estranged).then_some(wait)
    }

    /// After an answer: how long until the next poll.
    pub fn answered(&mut self, answer: Answered, now: Instant, random: f64) -> Duration {
        self.failures.reset();
        if self.estranged {
            return jittered(ESTRANGED, random);
        }
        let asked = self.wait(now);
        let held = asked.is_some() && (answer.applied || answer.held >= HELD);
        let before = self.manner;
        self.manner = if held { Manner::Holds } else { Manner::AtOnce };
        if answer.news {
            self.early.reset();
            // A server that holds polls need not say so of one that it answers at once.
            return if before == Manner::AtOnce && !held {
                jittered(self.interval, random)
            } else {
                Duration::ZERO
            };
        }
        if !held {
            return jittered(self.interval, random);
        }
        if answer.held < HELD {
            // It says that it holds polls, and does not: it is restarting, or it is wrong.
            return self.early.next(random).min(self.interval);
        }
        self.early.reset();
        Duration::ZERO
    }

    /// After an answer that nobody was asked to hold, because somebody wanted it at once: it says nothing of how the
    /// server answers others.
    pub fn answered_at_once(&mut self, random: f64) -> Duration {
        self.failures.reset();
        match self.manner {
            _ if self.estranged => jittered(ESTRANGED, random),
            Manner::AtOnce => jittered(self.interval, random),
            Manner::Unknown | Manner::Holds => Duration::ZERO,
        }
    }

    /// After a failure: how long until the next poll. `cut`: the connection ended, or something gave up waiting.
    pub fn failed(
        &mut self,
        held: Duration,
        cut: bool,
        asked: Option<Duration>,
        now: Instant,
        random: f64,
    ) -> Duration {
        if let Some(wait) = self.wait(now).filter(|_| cut && held >= CUT) {
            let next = if wait > CAREFUL_WAIT { CAREFUL_WAIT } else { 0 };
            self.careful = Some((next, now + CARE));
            log::info!(
                "something between here and the repository ends a poll after {} s: asking for {next} s for an hour",
                held.as_secs()
            );
            return Duration::from_secs(1).mul_f64(random);
        }
        self.failures.next_or(asked, random)
    }

    /// Whether the backend knows the host.
    pub fn set_estranged(&mut self, estranged: bool) {
        self.estranged = estranged;
    }

    /// The operator asked: what was learnt of failures is forgotten.
    pub fn reset(&mut self) {
        self.failures.reset();
        self.early.reset();
    }

    /// For people: how it polls and the seconds between polls.
    pub fn describe(&self, now: Instant) -> (String, u64) {
        if self.estranged {
            return ("interval".into(), ESTRANGED.as_secs());
        }
        match (self.manner, self.wait(now)) {
            (Manner::Unknown | Manner::Holds, Some(wait)) => ("long-poll".into(), wait),
            _ => ("interval".into(), self.interval.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn pacing() -> Pacing {
        Pacing::new(&Tuf::default())
    }

    fn answered(held: u64, applied: bool, news: bool) -> Answered {
        Answered { held: Duration::from_secs(held), applied, news }
    }

    #[test]
    fn a_server_that_holds_is_asked_again_at_once() {
        let now = Instant::now();
        let mut p = pacing();
        assert_eq!(p.wait(now), Some(240));
        assert_eq!(p.answered(answered(0, false, true), now, 0.5), ZERO);
        assert_eq!(p.answered(answered(240, true, false), now, 0.5), ZERO);
        assert_eq!(p.describe(now), ("long-poll".into(), 240));
        assert_eq!(p.answered(answered(240, false, false), now, 0.5), ZERO);
        assert_eq!(p.answered(answered(0, false, true), now, 0.5), ZERO);
        assert_eq!(p.answered(answered(3, true, true), now, 0.5), ZERO);
    }

    #[test]
    fn a_server_that_answers_at_once_is_asked_at_the_interval() {
        let now = Instant::now();
        let mut p = pacing();
        let first = p.answered(answered(0, false, true), now, 0.5);
        assert_eq!(first, ZERO, "it may still turn out to hold");
        for (random, seconds) in [(0.0, 45), (0.5, 60), (1.0, 75)] {
            let wait = p.answered(answered(0, false, false), now, random);
            assert_eq!(wait.as_secs(), seconds);
        }
        let news = p.answered(answered(0, false, true), now, 0.5);
        assert_eq!(news.as_secs(), 60, "two mirrors out of step are no reason to hurry");
        assert_eq!(p.describe(now), ("interval".into(), 60));
    }

    #[test]
    fn a_server_that_only_says_that_it_holds_does_not_make_a_busy_loop() {
        let now = Instant::now();
        let mut p = pacing();
        let waits: Vec<u64> =
            (0..8).map(|_| p.answered(answered(0, true, false), now, 1.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_poll_that_was_not_to_be_held_teaches_nothing() {
        let now = Instant::now();
        let mut p = pacing();
        assert_eq!(p.answered_at_once(0.5), ZERO);
        assert_eq!(p.describe(now), ("long-poll".into(), 240));
        p.answered(answered(0, false, false), now, 0.5);
        assert_eq!(p.answered_at_once(0.5).as_secs(), 60);
    }

    #[test]
    fn a_gateway_that_cuts_polls_makes_them_shorter_for_an_hour() {
        let now = Instant::now();
        let mut p = pacing();
        let minute = Duration::from_secs(60);
        assert!(p.failed(minute, true, None, now, 0.9) < Duration::from_secs(1));
        assert_eq!(p.wait(now), Some(50));
        assert!(p.failed(minute / 2, true, None, now, 0.9) < Duration::from_secs(1));
        assert_eq!(p.wait(now), None);
        assert_eq!(p.wait(now + CARE), Some(240));
    }

    #[test]
    fn other_failures_back_off() {
        let now = Instant::now();
        let mut p = pacing();
        assert_eq!(p.failed(ZERO, true, None, now, 1.0).as_secs(), 2);
        assert_eq!(p.failed(ZERO, false, None, now, 1.0).as_secs(), 4);
        assert_eq!(p.wait(now), Some(240));
        let asked = Some(Duration::from_secs(90));
        assert_eq!(p.failed(ZERO, false, asked, now, 0.0).as_secs(), 90);
        p.answered(answered(240, true, false), now, 0.0);
        assert_eq!(p.failed(ZERO, false, None, now, 1.0).as_secs(), 2);
    }

    #[test]
    fn a_host_that_the_backend_forgot_polls_rarely() {
        let now = Instant::now();
        let mut p = pacing();
        p.set_estranged(true);
        assert_eq!(p.wait(now), None);
        assert_eq!(p.answered(answered(0, false, true), now, 0.5).as_secs(), 300);
    }
}
