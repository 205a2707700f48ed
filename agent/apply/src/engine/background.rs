//! What goes on after a request was answered: a second look for processes of people who left, and homes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use hostward_plan::ledger::Ledger;
use hostward_protocol::report::{Outcome, StepOutcome};

use super::Engine;
use crate::effect::{self, Fate};
use crate::finding::chain;
use crate::observe;
use crate::root::LEDGER;
use crate::{sessions, state};

/// What goes on, and what came of it.
#[derive(Debug, Default)]
pub struct Background {
    state: Mutex<State>,
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
    pub(super) fn look_again_later(self: &Arc<Self>, uids: BTreeSet<u32>) {
        if uids.is_empty() {
            return;
        }
        let task = Task::begin(self);
        std::thread::spawn(move || {
            let engine = &task.0;
            std::thread::sleep(engine.second_look);
            let _working = engine.working();
            // Whoever was let in again meanwhile, or whose uid is a local account's now, is left alone.
            let Some(uids) = observe::unclaimed(&engine.root, &uids) else {
                return;
            };
            sessions::end_again(&engine.root, &uids);
        });
    }

    /// Settles homes, which takes as long as it takes. One that is being settled is left to that.
    pub(super) fn settle_homes(self: &Arc<Self>, fates: Vec<Fate>, parents: &[PathBuf]) {
        for fate in fates {
            if !self.background.with(|state| state.homes.insert(fate.uid)) {
                continue;
            }
            let task = Task::begin(self);
            let parents = parents.to_vec();
            std::thread::spawn(move || {
                let engine = &task.0;
                let result = effect::settle(&engine.root, &parents, &fate);
                let _working = engine.working();
                let outcome = match result {
                    Ok(()) => {
                        engine.note_settled(&fate);
                        Outcome::Done { detail: fate.archive.clone().unwrap_or_default() }
                    }
                    Err(error) => Outcome::Failed(error.finding(&fate)),
                };
                let step = format!("settle `{}`, the home of `{}` (uid {})", fate.home, fate.name, fate.uid);
                engine.background.with(|state| {
                    state.homes.remove(&fate.uid);
                    state.outcomes.push(StepOutcome { step, outcome });
                });
            });
        }
    }

    fn note_settled(&self, fate: &Fate) {
        let path = self.root.path(LEDGER);
        let ledger = state::read::<Ledger>(&path, LEDGER);
        let Ok(Some(mut ledger)) = ledger else {
            return;
        };
        if let Some(person) = ledger.people.get_mut(&fate.uid)
            && person.left.is_some()
        {
            person.home_settled = true;
            if let Err(error) = state::write(&path, &ledger, 0o600) {
                log::warn!("{}", chain(&error));
            }
        }
    }
}
