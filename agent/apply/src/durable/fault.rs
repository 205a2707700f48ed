//! Lets a test stop or fail the n-th durable operation. Without the feature `fault` nothing is here.

use std::io;

/// Passes a durable operation, or fails it where a test said so.
#[cfg(not(feature = "fault"))]
#[inline]
pub fn point(_operation: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault")]
pub use armed::{Fault, Kind, arm, disarm, point};

#[cfg(feature = "fault")]
mod armed {
    use super::io;
    use std::sync::Mutex;

    /// What happens at which operation.
    #[derive(Clone, Copy, Debug)]
    pub struct Fault {
        /// The operation, counted from 0.
        pub at: usize,
        /// What happens there.
        pub kind: Kind,
    }

    /// What happens.
    #[derive(Clone, Copy, Debug)]
    pub enum Kind {
        /// The process is killed before the operation.
        Kill,
        /// This operation and all later ones fail with this errno.
        Fail(i32),
        /// This operation alone fails with this errno.
        FailOnce(i32),
    }

    static STATE: Mutex<(Option<Fault>, usize)> = Mutex::new((None, 0));

    /// Arms a fault; operations are counted from here.
    pub fn arm(fault: Option<Fault>) {
        if let Ok(mut state) = STATE.lock() {
            *state = (fault, 0);
        }
    }

    /// Disarms it, and says how many operations there were.
    pub fn disarm() -> usize {
        STATE.lock().map_or(0, |mut state| {
            state.0 = None;
            std::mem::take(&mut state.1)
        })
    }

    /// Passes a durable operation, or fails it where a test said so.
    pub fn point(_operation: &'static str) -> io::Result<()> {
        let Ok(mut state) = STATE.lock() else {
            return Ok(());
        };
        let number = state.1;
        state.1 += 1;
        match state.0 {
            Some(Fault { at, kind: Kind::Kill }) if number == at => {
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                Ok(())
            }
            Some(Fault { at, kind: Kind::Fail(errno) }) if number >= at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Some(Fault { at, kind: Kind::FailOnce(errno) }) if number == at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }
}
