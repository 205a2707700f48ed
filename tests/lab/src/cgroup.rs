//! Control groups: every process of a lab is in one below `hostward-lab/`, so that none can be left behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The directory of this machine's cgroup2 hierarchy.
///
/// # Errors
/// When there is none, or the kernel cannot kill a whole group (Linux before 5.14).
pub fn hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read `/proc/self/mounts`")?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let place = fields.next()?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(place))
        })
        .next()
        .context("no cgroup2 hierarchy is mounted: the lab needs one")
}

/// Makes the group at `path` and those above it.
///
/// # Errors
/// When the directory cannot be made.
pub fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the cgroup `{}`", path.display()))
}

/// Removes the group at `path` and those below it, as far as nothing is in them.
///
/// A group that was killed must not be used again: Linux kills what is cloned into it from a group that was not.
pub fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _still_in_use = fs::remove_dir(path);
}

/// Kills every process in the group and below it.
pub fn kill(path: &Path) {
    let _already_gone = fs::write(path.join("cgroup.kill"), "1");
}

/// Whether a process is in the group or below it.
#[must_use]
pub fn is_populated(path: &Path) -> bool {
    fs::read_to_string(path.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}
