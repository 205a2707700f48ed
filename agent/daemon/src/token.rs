//! What is to be done about the enrollment token, one step at a time. Pure: times are parameters.

use std::time::{Duration, Instant};

use hostward_protocol::local::EnrollmentOutcome;
use zeroize::Zeroizing;

use crate::backoff::Backoff;

/// A token as root handed it over.
#[derive(Clone)]
pub struct Token {
    /// The backend's URL.
    pub url: String,
    /// Project id.
    pub project: String,
    /// The secret.
    pub secret: Zeroizing<String>,
    /// Which `root.json` root wants first.
    pub root_version: Option<u64>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({:?}, {:?})", self.url, self.project)
    }
}

impl Token {
    /// Tells this token from others without telling its secret.
    pub fn digest(&self) -> String {
        let text = Zeroizing::new(format!("{}\n{}\n{}", self.url, self.project, self.secret.as_str()));
        crate::identity::sha256_base64url(text.as_bytes())
    }
}

/// The next step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Ask root whether there is a token.
    Ask,
    /// Enroll with it.
    Enroll(Token),
    /// Tell root how it ended.
    Finish(EnrollmentOutcome),
}

/// The steps to come.
#[derive(Debug)]
pub struct Errand {
    next: Option<(Step, Instant)>,
    /// Something changed during a step: look again after it.
    again: bool,
    backoff: Backoff,
    root_backoff: Backoff,
}

impl Errand {
    /// Starts with a look.
    pub fn new(now: Instant) -> Self {
        Errand { next: Some((Step::Ask, now)), ..Self::idle() }
    }

    /// Nothing to do until the operator acts.
    pub fn idle() -> Self {
        Errand { next: None, again: false, backoff: Backoff::backend(), root_backoff: Backoff::local() }
    }

    /// When the next step is due.
    pub fn due(&self) -> Option<Instant> {
        self.next.as_ref().map(|(_, at)| *at)
    }

    /// Takes the step that is due.
    pub fn take(&mut self, now: Instant) -> Option<Step> {
        match self.next.take() {
            Some((step, at)) if at <= now => Some(step),
            later => {
                self.next = later;
                None
            }
        }
    }

    /// The operator changed something: a token may be there, or another one, or the old one may be usable now.
    pub fn look(&mut self, now: Instant, running: bool) {
        self.backoff.reset();
        self.root_backoff.reset();
        match &mut self.next {
            // Root is told first how the last one ended; then it is asked.
            Some((Step::Finish(_), at)) => {
                *at = now;
                self.again = true;
            }
            _ if running => self.again = true,
            _ => self.next = Some((Step::Ask, now)),
        }
    }

    /// A step led to another one at once.
    pub fn then(&mut self, step: Step, now: Instant) {
        self.root_backoff.reset();
        self.next = Some((step, now));
    }

    /// Nothing is left to do until the operator acts.
    pub fn done(&mut self, now: Instant) {
        self.backoff.reset();
        self.root_backoff.reset();
        self.next = std::mem::take(&mut self.again).then_some((Step::Ask, now));
    }

    /// The backend could not be asked, or not now: the same again later, unless something changed meanwhile.
    pub fn retry(
        &mut self,
        step: Step,
        pace: Pace,
        asked: Option<Duration>,
        now: Instant,
        random: f64,
    ) -> Duration {
        if std::mem::take(&mut self.again) {
            self.next = Some((Step::Ask, now));
            return Duration::ZERO;
        }
        let wait = match pace {
            Pace::Root => self.root_backoff.next(random),
            Pace::Passing => self.backoff.next_or(asked, random),
            Pace::Lasting => {
                // A person has to act: the first attempts are as far apart as later ones.
                let own = self.backoff.next_or(asked, random);
                own.max(Duration::from_secs(30).mul_f64(1.0 + random))
            }
        };
        self.next = Some((step, now + wait));
        wait
    }
}

/// How fast to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The root process.
    Root,
    /// Something that may pass by itself.
    Passing,
    /// Something that a person must mend.
    Lasting,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            url: "https://b.example".into(),
            project: "p".into(),
            secret: Zeroizing::new("s3cret".into()),
            root_version: None,
        }
    }

    #[test]
    fn a_change_during_a_step_is_looked_at_after_it() {
        let now = Instant::now();
        let mut errand = Errand::new(now);
        assert!(matches!(errand.take(now), Some(Step::Ask)));
        assert_eq!(errand.due(), None);
        errand.look(now, true);
        errand.done(now);
        assert!(matches!(errand.take(now), Some(Step::Ask)));
        errand.done(now);
        assert_eq!(errand.due(), None);
        errand.look(now, false);
        assert_eq!(errand.due(), Some(now));
    }

    #[test]
    fn a_retry_waits_and_a_new_token_ends_the_wait() {
        let now = Instant::now();
        let mut errand = Errand::new(now);
        errand.take(now);
        let step = Step::Enroll(token());
        let wait = errand.retry(step, Pace::Passing, None, now, 0.5);
        assert_eq!(wait, Duration::from_millis(1500));
        assert!(errand.take(now).is_none());
        assert!(matches!(errand.take(now + wait), Some(Step::Enroll(_))));
        let asked = Some(Duration::from_secs(77));
        let step = Step::Enroll(token());
        assert_eq!(errand.retry(step, Pace::Passing, asked, now, 0.0).as_secs(), 77);
        errand.look(now, false);
        assert!(matches!(errand.take(now), Some(Step::Ask)));
        let step = Step::Enroll(token());
        assert_eq!(errand.retry(step, Pace::Lasting, None, now, 0.0).as_secs(), 30);
    }

    #[test]
    fn root_hears_of_the_end_before_it_is_asked_again() {
        let now = Instant::now();
        let mut errand = Errand::new(now);
        errand.take(now);
        let finish = Step::Finish(EnrollmentOutcome::Enrolled { host_id: "h".into() });
        errand.retry(finish, Pace::Root, None, now, 0.5);
        errand.look(now, false);
        assert!(matches!(errand.take(now), Some(Step::Finish(_))));
        errand.done(now);
        assert!(matches!(errand.take(now), Some(Step::Ask)));
    }

    #[test]
    fn the_secret_is_neither_shown_nor_digested_alone() {
        assert!(!format!("{:?}", Step::Enroll(token())).contains("s3cret"));
        let mut other = token();
        other.project = "q".into();
        assert_ne!(token().digest(), other.digest());
        assert_eq!(token().digest(), token().digest());
    }
}
