//! How many connections there may be: whoever opens all that they can takes them from nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For one bound account. A build of a thousand jobs is one account.
const BOUND_EACH: usize = 1536;
/// For all bound accounts. LimitNOFILE= of the unit is above this and the next but one together.
const BOUND_ALL: usize = 12_288;
/// For anybody else, who has nothing to ask here.
const OTHER_EACH: usize = 64;
/// For all of those.
const OTHER_ALL: usize = 1024;

/// Whether somebody has business here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The account stands for a service user.
    Bound,
    /// It does not.
    Other,
}

/// Counts connections.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    each: HashMap<u32, usize>,
    bound: usize,
    other: usize,
}

/// One connection; it is counted until this is dropped.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    uid: u32,
    standing: Standing,
}

impl Gate {
    /// Counts one more, where there may be one.
    pub fn enter(self: &Arc<Self>, uid: u32, standing: Standing) -> Option<Pass> {
        let mut counts = self.counts();
        let (most, all, most_of_all) = match standing {
            Standing::Bound => (BOUND_EACH, counts.bound, BOUND_ALL),
            Standing::Other => (OTHER_EACH, counts.other, OTHER_ALL),
        };
        let own = counts.each.get(&uid).copied().unwrap_or(0);
        if own >= most || all >= most_of_all {
            return None;
        }
        counts.each.insert(uid, own + 1);
        *counts.all(standing) += 1;
        Some(Pass { gate: self.clone(), uid, standing })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn all(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Bound => &mut self.bound,
            Standing::Other => &mut self.other,
        }
    }
}

impl Pass {
    /// As whose it is counted.
    pub fn standing(&self) -> Standing {
        self.standing
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.gate.counts();
        *counts.all(self.standing) -= 1;
        match counts.each.get_mut(&self.uid) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(counts.each.remove(&self.uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cannot_take_what_is_for_others() {
        let gate = Arc::new(Gate::default());
        let mut passes: Vec<_> =
            std::iter::from_fn(|| gate.enter(112, Standing::Bound)).take(100_000).collect();
        assert_eq!(passes.len(), BOUND_EACH);
        assert!(gate.enter(113, Standing::Bound).is_some());
        passes.pop();
        assert!(gate.enter(112, Standing::Bound).is_some());
        // As many strangers as a host can have leave room for whoever is bound.
        let strangers: Vec<_> = (1000..2000)
            .flat_map(|uid| (0..100).filter_map(|_| gate.enter(uid, Standing::Other)).collect::<Vec<_>>())
            .collect();
        assert_eq!(strangers.len(), OTHER_ALL);
        assert!(gate.enter(3000, Standing::Other).is_none());
        assert!(gate.enter(113, Standing::Bound).is_some());
        drop((passes, strangers));
        let counts = gate.counts();
        assert!(counts.each.is_empty() && counts.bound == 0 && counts.other == 0, "{counts:?}");
    }
}
