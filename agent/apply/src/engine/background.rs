//! What goes on after a request was answered: a second look for processes of people who left, and homes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use hostward_plan::ledger::{Ledger, Person};
use hostward_protocol::report::{Outcome, StepOutcome};

use super::Engine;
use crate::effect::{self, Fate, HomeError};
use crate::finding::chain;
use crate::observe;
use crate::processes::Whose;
use crate::root::LEDGER;
use crate::{sessions, state};

/// What goes on, and what came of it.
#[derive(Debug, Default)]
pub struct Background {
    state: Mutex<State>,
    /// Held while a home is settled: several archives at once would each take the room that is free.
    settling: Mutex<()>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    tasks: usize,
    homes: BTreeSet<u32>,
    outcomes: Vec<StepOutcome>,
}

impl Background {
    /// Whether something goes on.
    pub fn is_busy(&self) -> bool {
        self.with(|state| state.tasks > 0)
    }

    /// Waits until nothing goes on.
    pub fn rest(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.tasks > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What has come of homes since it was asked last.
    pub fn outcomes(&self) -> Vec<StepOutcome> {
        self.with(|state| std::mem::take(&mut state.outcomes))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts a task for as long as it lives, also when the task panics.
struct Task(Arc<Engine>);

impl Task {
    fn begin(engine: &Arc<Engine>) -> Task {
        engine.background.with(|state| state.tasks += 1);
        Task(Arc::clone(engine))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.background.with(|state| state.tasks -= 1);
        self.0.background.changed.notify_all();
    }
}

impl Engine {
    /// Looks once more for processes under uids whose sessions ended.
    pub(super) fn look_again_later(self: &Arc<Self>, whose: Whose) {
        if whose.uids().is_empty() {
            return;
        }
        let task = Task::begin(self);
        std::thread::spawn(move || {
            let engine = &task.0;
            std::thread::sleep(engine.second_look);
            let _working = engine.working();
            // Whoever was let in again meanwhile, or whose uid is a local account's now, is left alone.
            if let Some(whose) = observe::still_theirs(&engine.root, whose) {
                sessions::end_again(&engine.root, &whose);
            }
        });
    }

    /// Settles homes, which takes as long as it takes. One that is being settled is left to that.
    pub(super) fn settle_homes(self: &Arc<Self>, fates: Vec<Fate>, parents: &[PathBuf], now: DateTime<Utc>) {
        if self.background.with(|state| state.homes.is_empty()) {
            effect::sweep_archive(&self.root);
        }
        for parent in parents {
            for uid in effect::moved_aside(&self.root, parent) {
                if effect::home_retry::waits_until(&self.root, uid, now).is_some() {
                    continue;
                }
                let step = format!("delete what is left of a home in `{}` (uid {uid})", parent.display());
                let fate = Fate::delete(uid, &uid.to_string(), &parent.to_string_lossy(), now);
                let parent = parent.clone();
                self.settle_one(fate, step, move |engine, fate| {
                    effect::finish_home(&engine.root, &parent, fate.uid)
                });
            }
        }
        for fate in fates {
            let step = format!("settle `{}`, the home of `{}` (uid {})", fate.home, fate.name, fate.uid);
            let parents = parents.to_vec();
            self.settle_one(fate, step, move |engine, fate| {
                let Some(before) = engine.former(fate) else {
                    return Err(HomeError::Claimed(fate.uid));
                };
                effect::settle(&engine.root, &parents, fate, || {
                    let working = engine.working();
                    (engine.former_unlocked(fate)? == before).then_some(working)
                })
            });
        }
    }

    fn settle_one(
        self: &Arc<Self>,
        fate: Fate,
        step: String,
        settle: impl FnOnce(&Engine, &Fate) -> Result<(), HomeError> + Send + 'static,
    ) {
        if !self.background.with(|state| state.homes.insert(fate.uid)) {
            return;
        }
        let task = Task::begin(self);
        std::thread::spawn(move || {
            let engine = &task.0;
            let settling = engine.background.settling.lock().unwrap_or_else(PoisonError::into_inner);
            let result = settle(engine, &fate);
            drop(settling);
            let _working = engine.working();
            let noted = match &result {
                Ok(()) => effect::home_retry::settled(&engine.root, fate.uid),
                Err(error) if error.lasts() => {
                    effect::home_retry::failed(&engine.root, fate.uid, fate.decided)
                }
                Err(_) => Ok(()),
            };
            if let Err(error) = noted {
                log::warn!("{}", chain(&error));
            }
            let outcome = match result {
                Ok(()) => {
                    engine.note_settled(&fate);
                    Outcome::Done { detail: fate.archive.clone().unwrap_or_default() }
                }
                Err(error @ HomeError::Claimed(_)) => Outcome::Skipped { reason: chain(&error) },
                Err(error) => Outcome::Failed(error.finding(&fate)),
            };
            engine.background.with(|state| {
                state.homes.remove(&fate.uid);
                state.outcomes.push(StepOutcome { step, about: fate.about(), outcome });
            });
        });
    }

    /// The former user whose home is to be settled, as the ledger has them; `None` where somebody has the uid again.
    fn former(&self, fate: &Fate) -> Option<Person> {
        let _working = self.working();
        self.former_unlocked(fate)
    }

    /// The same for whoever holds the lock.
    fn former_unlocked(&self, fate: &Fate) -> Option<Person> {
        let unclaimed = observe::unclaimed(&self.root, &[fate.uid].into())?;
        let ledger = state::read::<Ledger>(&self.root.path(LEDGER), LEDGER).ok()??;
        let person = ledger.people.get(&fate.uid)?;
        let is_former = unclaimed.contains(&fate.uid) && person.left.is_some() && person.home == fate.home;
        is_former.then(|| person.clone())
    }

    fn note_settled(&self, fate: &Fate) {
        let path = self.root.path(LEDGER);
        let ledger = state::read::<Ledger>(&path, LEDGER);
        let Ok(Some(mut ledger)) = ledger else {
            return;
        };
        // Whoever was back meanwhile, and left again, may have another home by now.
        if let Some(person) = ledger.people.get_mut(&fate.uid)
            && person.left.is_some()
            && std::fs::symlink_metadata(self.root.path(&person.home)).is_err()
        {
            person.home_settled = true;
            if let Err(error) = state::write(&path, &ledger, 0o600) {
                log::warn!("{}", chain(&error));
            }
        }
    }
}
