//! Kills all that a uid runs at one stroke, so that nothing escapes by forking faster than it can be looked for.
//!
//! `kill(-1)` is atomic with respect to fork: what forks meanwhile is either killed before, or its child is killed too.
//! It is sent by a thread that has become the uid and has no capability to signal anybody else, so that the kernel, not
//! we, sees to it that nobody else's process is ever hit. No process is started, which the uid could kill first.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, Uid, geteuid, getuid, kill_process_group};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities, set_thread_res_uid,
};

/// Real uids for the thread that strikes; any that nothing runs under will do. With one the uid it strikes cannot signal
/// it back. Outside the ranges that systemd or a distribution gives out, the second also where 65536 uids are all.
pub(super) const NOBODYS: [u32; 2] = [4_294_000_000, 65_530];
/// Below this are accounts of the system's.
const FIRST_PERSON: u32 = 1000;

/// Whom to strike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blow {
    /// Whose processes.
    pub uid: u32,
    /// Which of them.
    pub reach: Reach,
}

/// Which processes of a uid are struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All, in pid namespaces below ours too.
    All,
    /// Those in process groups.
    Groups(Vec<i32>),
}

/// Why nothing was struck.
#[derive(Debug, thiserror::Error)]
pub(super) enum StrikeError {
    /// There is no thread to be had.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The thread did not end as threads do.
    #[error("the thread that strikes ended early")]
    Ended,
    /// The thread cannot become another uid.
    #[error("cannot become uid {uid}; `CAP_SETUID` is needed")]
    Become {
        uid: u32,
        #[source]
        cause: Errno,
    },
    /// The kernel says that it became something else: it could hit anybody.
    #[error("did not become uid {0} without privileges")]
    Privileged(u32),
}

/// Kills for each of `blows`. `nobodys` are real uids for it that nothing runs under; the first that there is serves.
pub(super) fn strike(blows: Vec<Blow>, nobodys: Vec<u32>) -> Result<(), StrikeError> {
    if blows.is_empty() {
        return Ok(());
    }
    // To the kernel, unlike to POSIX, uids and capabilities are a thread's own.
    let thread = std::thread::Builder::new().name("strike".into()).spawn(move || {
        keep_only_setuid().map_err(|cause| StrikeError::Become { uid: blows[0].uid, cause })?;
        blows.iter().try_for_each(|blow| deliver(blow, &nobodys))
    });
    thread.map_err(StrikeError::Thread)?.join().unwrap_or(Err(StrikeError::Ended))
}

/// Gives up all capabilities but the one to become others, and that one is kept while uids change.
fn keep_only_setuid() -> Result<(), Errno> {
    set_keep_capabilities(true)?;
    set_capabilities(None, only_setuid())
}

fn only_setuid() -> CapabilitySets {
    let setuid = CapabilitySet::SETUID;
    CapabilitySets { effective: setuid, permitted: setuid, inheritable: CapabilitySet::empty() }
}

fn deliver(blow: &Blow, nobodys: &[u32]) -> Result<(), StrikeError> {
    let uid = blow.uid;
    if uid < FIRST_PERSON || uid == u32::MAX {
        return Err(StrikeError::Privileged(uid));
    }
    let mut real = Err(Errno::INVAL);
    for nobody in nobodys.iter().copied() {
        real = become_uid(uid, nobody).map(|()| nobody);
        if !matches!(real, Err(Errno::INVAL)) {
            break;
        }
    }
    let real = real.map_err(|cause| StrikeError::Become { uid, cause })?;
    let powerless = capabilities(None).is_ok_and(|has| has == only_setuid());
    if getuid().as_raw() != real || geteuid().as_raw() != uid || !powerless {
        return Err(StrikeError::Privileged(uid));
    }
    // That there is nothing to kill, or nothing that may be, is no error: the next look tells.
    match &blow.reach {
        Reach::All => drop(kill_process_group(Pid::INIT, Signal::KILL)),
        Reach::Groups(groups) => {
            for group in groups.iter().filter(|group| **group > 1).filter_map(|group| Pid::from_raw(*group)) {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }
    Ok(())
}

/// The effective uid is whose processes may be signalled; real and saved, by which others may signal this thread, are
/// nobody's.
fn become_uid(uid: u32, nobody: u32) -> Result<(), Errno> {
    let (uid, nobody) = (Uid::from_raw(uid), Uid::from_raw(nobody));
    set_thread_res_uid(nobody, uid, nobody)?;
    // Leaving root behind takes effective capabilities away; kept are the permitted ones.
    set_capabilities(None, only_setuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_the_systems_are_never_struck() {
        for uid in [0, 1, 999, u32::MAX] {
            // In a thread that could do nothing to anybody, should it come to that.
            let refused = std::thread::spawn(move || {
                let _ = set_capabilities(
                    None,
                    CapabilitySets {
                        effective: CapabilitySet::empty(),
                        permitted: CapabilitySet::empty(),
                        inheritable: CapabilitySet::empty(),
                    },
                );
                deliver(&Blow { uid, reach: Reach::Groups(Vec::new()) }, &NOBODYS)
            });
            assert!(matches!(refused.join(), Ok(Err(StrikeError::Privileged(refused))) if refused == uid));
        }
    }
}
