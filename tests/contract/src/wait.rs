//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not within [`PATIENCE`]; `what` says what was waited for.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// [`until`] with another deadline.
///
/// # Panics
/// When the deadline passes.
pub fn within<T>(patience: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    explained(patience, || what.to_owned(), look)
}

/// [`within`], with an explanation that is made when it is needed.
///
/// # Panics
/// When the deadline passes.
pub fn explained<T>(
    patience: Duration,
    explain: impl Fn() -> String,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {}", explain());
        std::thread::sleep(Duration::from_millis(5));
    }
}
