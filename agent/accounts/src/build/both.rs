//! Two things at a time, where there is enough to do and a second processor may be had.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// Fewer memberships and users than this are not worth a thread.
const WORTH_IT: usize = 1 << 15;

/// Does both, `one` in a thread of its own if there is `much` to do. What comes out is the same.
pub(super) fn both<A: Send, B>(
    much: usize,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    if much < WORTH_IT {
        return (one(), other());
    }
    let one = Mutex::new(Some(one));
    let take = || one.lock().unwrap_or_else(PoisonError::into_inner).take();
    scope(|scope| {
        // Where no thread may be had, it is done here.
        let thread = Builder::new().spawn_scoped(scope, || take().map(|one| one()));
        let other = other();
        let done = match thread.map(|thread| thread.join()) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => None,
        };
        match done.or_else(|| take().map(|one| one())) {
            Some(done) => (done, other),
            None => unreachable!("it is taken once"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done() {
        for much in [0, WORTH_IT] {
            assert_eq!(both(much, || 1, || 2), (1, 2));
        }
    }
}
