//! Observes the host: fills the facts that a plan depends on. Reads only, and reads the files themselves, not NSS,
//! because hostward answers there too.

mod host;
mod local;
mod managed;
mod offered;
mod sshd;

pub use host::visudos;
pub use local::{LocalError, agent_uid};
pub use managed::database;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hostward_accounts::{Database, Lookup};
use hostward_plan::facts::Facts;
use hostward_plan::ledger::{Ledger, Person};

use crate::processes::{LocalIds, Processes, Whose};
use crate::root::{DATABASE, Root};
use crate::sessions::{LINGER, LOGIND_USERS};

/// The group that every managed user is in.
const HOSTWARD_USERS: &str = "hostward-users";

/// Everything a plan depends on besides policy, configuration and time.
pub fn facts(root: &Root, ledger: Ledger) -> Result<Facts, LocalError> {
    let local_users = local::users(root)?;
    let local_groups = local::groups(root)?;
    let database = managed::database(root);
    let hostward_users =
        local_groups.iter().find(|group| group.name == HOSTWARD_USERS).map(|group| group.gid);
    let local_uids: BTreeSet<u32> = local_users.iter().map(|user| user.uid).collect();
    let homes = former_homes(root, &ledger);
    let subordinate_ids = local::subordinate_ids(root)?;
    let running = running(root, &ledger, &local_uids, &LocalIds::new(&local_uids, &subordinate_ids));
    let agent = local::agent(&local_users);
    let visudos = host::visudos(root);
    Ok(Facts {
        offered_certificates: offered::certificates(root, agent),
        host_labels: host::labels(root),
        subordinate_ids,
        shells: local::shells(root),
        hostward_users,
        sudo: host::sudo_dialects(&visudos),
        sudo_logs_exit: host::sudo_logs_exit(&visudos),
        sshd: sshd::facts(root),
        files: managed::files(root),
        loose_directories: managed::loose_directories(root),
        unserved_databases: host::unserved_databases(root),
        database,
        running,
        homes,
        ledger,
        local_users,
        local_groups,
    })
}

/// Uids of people in the ledger that run something. An id that somebody local has now is nobody's to end.
fn running(root: &Root, ledger: &Ledger, local_uids: &BTreeSet<u32>, local_ids: &LocalIds) -> BTreeSet<u32> {
    let people = || ledger.people.iter().filter(|(uid, _)| !local_uids.contains(uid));
    let mut whose = Whose::default();
    people().for_each(|(uid, person)| whose.add(*uid, Some(person)));
    whose.spare(local_ids);
    if whose.uids().is_empty() {
        return BTreeSet::new();
    }
    let mut running = Processes::new(root.path("/proc")).running(&whose);
    let sessions = entries(root, LOGIND_USERS);
    let lingering = entries(root, LINGER);
    if !sessions.is_empty() || !lingering.is_empty() {
        let has_session = |uid: u32, person: &Person| {
            sessions.contains(&uid.to_string()) || lingering.contains(&person.name)
        };
        running.extend(people().filter(|(uid, p)| has_session(**uid, p)).map(|(uid, _)| *uid));
    }
    running
}

/// Names in a directory that need not exist.
fn entries(root: &Root, path: &str) -> BTreeSet<String> {
    std::fs::read_dir(root.path(path))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Which of `uids` nobody has now: no local account, and nobody who is served. `None` where that cannot be told.
pub fn unclaimed(root: &Root, uids: &BTreeSet<u32>) -> Option<BTreeSet<u32>> {
    let local: BTreeSet<u32> = local::users(root).ok()?.into_iter().map(|user| user.uid).collect();
    let mut uids: BTreeSet<u32> = uids.difference(&local).copied().collect();
    let file = match std::fs::read(root.path(DATABASE)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(uids),
        Err(_) => return None,
    };
    let database = hostward_accounts::body(&file).and_then(|body| Database::new(body).ok())?;
    uids.retain(|uid| matches!(database.user_by_uid(*uid), Lookup::NotFound));
    Some(uids)
}

/// What of `whose` is nobody else's by now: without uids that somebody has again, and without subordinate ids that somebody
/// local has. `None` where that cannot be told.
pub fn still_theirs(root: &Root, whose: Whose) -> Option<Whose> {
    let uids = unclaimed(root, whose.uids())?;
    let local_uids = local::users(root).ok()?.into_iter().map(|user| user.uid).collect();
    let mut whose = whose.only(uids);
    whose.spare(&LocalIds::new(&local_uids, &local::subordinate_ids(root).ok()?));
    Some(whose)
}

/// Homes of people who left that are still there and still theirs.
fn former_homes(root: &Root, ledger: &Ledger) -> BTreeMap<u32, PathBuf> {
    use std::os::unix::fs::MetadataExt;
    ledger
        .people
        .iter()
        .filter(|(_, person)| person.left.is_some() && !person.home_settled)
        .filter(|(uid, person)| {
            std::fs::symlink_metadata(root.path(&person.home))
                .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == **uid)
        })
        .map(|(uid, person)| (*uid, PathBuf::from(&person.home)))
        .collect()
}
