//! A second of rest between admissions, however long they take: the first goes at once, those that come while it runs
//! or before the second is over share the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hostward_protocol::local::ApplyReply;
use hostward_protocol::report::Responsible;

use crate::finding::finding;

/// The least time from the end of one admission to the beginning of the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// Admissions asked for.
#[derive(Debug, Default)]
pub struct Admissions {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The admission that requests join now.
    open: u64,
    /// How many have joined it.
    joined: usize,
    /// One runs.
    runs: bool,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Results that some still wait for, and how many.
    results: BTreeMap<u64, (Arc<ApplyReply>, usize)>,
}

impl State {
    /// How long the open admission has to wait.
    fn wait(&self, now: Instant) -> Option<Duration> {
        if self.runs {
            return None;
        }
        let earliest = self.ended.map_or(now, |ended| ended + INTERVAL);
        Some(earliest.saturating_duration_since(now))
    }
}

impl Admissions {
    /// Takes part in the next admission. The first to join it runs it with `admit`; all get its result.
    pub fn take_part(&self, admit: impl FnOnce() -> ApplyReply) -> Arc<ApplyReply> {
        let mut state = self.lock();
        let own = state.open;
        state.joined += 1;
        if state.joined == 1 { self.lead(state, own, admit) } else { self.follow(state, own) }
    }

    fn lead(
        &self,
        mut state: MutexGuard<'_, State>,
        own: u64,
        admit: impl FnOnce() -> ApplyReply,
    ) -> Arc<ApplyReply> {
        loop {
            state = match state.wait(Instant::now()) {
                Some(Duration::ZERO) => break,
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let followers = state.joined - 1;
        state.open += 1;
        state.joined = 0;
        state.runs = true;
        drop(state);
        // Whatever happens in there, those who wait get an answer.
        let mut publish = Publish { admissions: self, own, followers, reply: None };
        let reply = Arc::new(admit());
        publish.reply = Some(Arc::clone(&reply));
        reply
    }

    fn follow(&self, mut state: MutexGuard<'_, State>, own: u64) -> Arc<ApplyReply> {
        loop {
            if let Some((reply, waiting)) = state.results.get_mut(&own) {
                let reply = Arc::clone(reply);
                *waiting -= 1;
                if *waiting == 0 {
                    state.results.remove(&own);
                }
                return reply;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Publish<'a> {
    admissions: &'a Admissions,
    own: u64,
    followers: usize,
    reply: Option<Arc<ApplyReply>>,
}

impl Drop for Publish<'_> {
    fn drop(&mut self) {
        let reply = self.reply.take().unwrap_or_else(|| {
            Arc::new(ApplyReply::Failed(finding(
                Responsible::Host,
                "admission-failed",
                "policy",
                "the admission ended unexpectedly",
                "look at the journal of hostward-apply, and report what it says as a defect of hostward",
            )))
        });
        let mut state = self.admissions.lock();
        state.runs = false;
        state.ended = Some(Instant::now());
        if self.followers > 0 {
            state.results.insert(self.own, (reply, self.followers));
        }
        drop(state);
        self.admissions.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_first_goes_at_once_and_the_next_a_second_after_it_ended() {
        let now = Instant::now();
        let mut state = State::default();
        assert_eq!(state.wait(now), Some(Duration::ZERO));
        state.runs = true;
        assert_eq!(state.wait(now + Duration::from_secs(5)), None);
        state.runs = false;
        state.ended = Some(now);
        assert_eq!(state.wait(now + Duration::from_millis(400)), Some(Duration::from_millis(600)));
        assert_eq!(state.wait(now + Duration::from_secs(1)), Some(Duration::ZERO));
    }

    #[test]
    fn those_who_come_while_one_runs_share_the_next() {
        let admissions = Admissions::default();
        let (started, running) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let runs = Mutex::new(0);
        let admit = || {
            *runs.lock().expect("no panic") += 1;
            ApplyReply::Ok
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                admissions.take_part(|| {
                    started.send(()).expect("the test waits");
                    gate.lock().expect("no panic").recv().expect("the test lets go");
                    admit()
                })
            });
            running.recv().expect("it started");
            let others: Vec<_> = (0..5).map(|_| scope.spawn(|| admissions.take_part(admit))).collect();
            while admissions.lock().joined < 5 {
                std::thread::yield_now();
            }
            go.send(()).expect("the first waits");
            assert_eq!(*first.join().expect("no panic"), ApplyReply::Ok);
            for other in others {
                assert_eq!(*other.join().expect("no panic"), ApplyReply::Ok);
            }
        });
        assert_eq!(*runs.lock().expect("no panic"), 2);
        assert!(admissions.lock().results.is_empty());
    }

    #[test]
    fn a_panic_in_one_admission_does_not_stop_the_next() {
        let admissions = Admissions::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            admissions.take_part(|| panic!("on purpose"))
        }));
        assert!(panicked.is_err());
        admissions.lock().ended = None;
        assert_eq!(*admissions.take_part(|| ApplyReply::Ok), ApplyReply::Ok);
    }
}
