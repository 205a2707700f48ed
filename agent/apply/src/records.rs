//! The PAM module's records: full files are put aside, old ones go.
//!
//! By size and age alone. What the agent says of how far it has read is not asked: whoever captured it would have records
//! go that nobody has read.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use hostward_protocol::report::{Finding, Responsible};
use hostward_records::{CURRENT, DIRECTORY, ROTATE_AT, TOTAL_BOUND};
use rustix::fs::{CWD, Gid, Mode, OFlags, RenameFlags, Uid};

use crate::finding::finding;
use crate::root::Root;

/// A file is put aside after so long, however small it is.
const DAILY: TimeDelta = TimeDelta::days(1);
/// And goes after so long: an agent that was not running for this long has lost them.
const KEEP: TimeDelta = TimeDelta::days(30);

/// Why records could not be put aside.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} `{path}`", path = path.display())]
struct RecordsError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Puts aside what is full, and removes what is too old or too much. What is to be said of it.
pub fn rotate(root: &Root, now: DateTime<Utc>) -> Option<Finding> {
    match rotate_in(&root.path(DIRECTORY), now) {
        Ok(0) => None,
        Ok(bytes) => {
            let text = format!(
                "{bytes} bytes of records of sessions went because there were too many: the agent did not read them"
            );
            Some(finding(
                Responsible::Operator,
                "records-dropped",
                "`/var/lib/hostward/records`",
                text,
                "see `systemctl status hostward.service`",
            ))
        }
        Err(error) => {
            Some(crate::finding::host("records-not-rotated", "`/var/lib/hostward/records`", &error))
        }
    }
}

/// How many bytes went that may not have been read.
fn rotate_in(dir: &Path, now: DateTime<Utc>) -> Result<u64, RecordsError> {
    let failed = |step, path: &Path| {
        let path = path.to_owned();
        move |source| RecordsError { step, path, source }
    };
    let opened = match rustix::fs::open(
        dir,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        // Of a package that is being removed.
        Err(rustix::io::Errno::NOENT) => return Ok(0),
        opened => opened.map_err(|errno| failed("open", dir)(errno.into()))?,
    };
    let current = dir.join(CURRENT);
    if let Some(found) = regular(&current).map_err(failed("look at", &current))?
        && (found.size() >= ROTATE_AT || (found.size() > 0 && is_old(&found, now, DAILY)))
    {
        put_aside(&opened, dir, now).map_err(failed("rename", &current))?;
    }
    let mut full = full(dir).map_err(failed("list", dir))?;
    full.sort_by_key(|(number, ..)| *number);
    let mut total: u64 = full.iter().map(|(_, _, size)| size).sum();
    let mut dropped = 0;
    for (number, path, size) in full {
        let at = i64::try_from(number).ok().and_then(DateTime::from_timestamp_millis);
        let is_too_old = at.is_some_and(|at| now - at >= KEEP);
        if !is_too_old && total <= TOTAL_BOUND {
            break;
        }
        std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        total -= size;
        dropped += if is_too_old { 0 } else { size };
    }
    Ok(dropped)
}

/// Renames the file that is written to, and makes the next one. A process of the module's that has it open still appends
/// to it, which whoever reads expects.
fn put_aside(dir: impl AsFd, path: &Path, now: DateTime<Utc>) -> io::Result<()> {
    let mut number = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    let from = path.join(CURRENT);
    loop {
        let to = path.join(format!("{number}.jsonl"));
        match rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::EXIST) => number += 1,
            renamed => break renamed?,
        }
    }
    let group = rustix::fs::fstat(&dir)?.st_gid;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&dir, CURRENT, flags, Mode::RUSR | Mode::WUSR) {
        // The module was first.
        Err(rustix::io::Errno::EXIST) => Ok(()),
        made => {
            let made = made?;
            rustix::fs::fchown(&made, None::<Uid>, Some(Gid::from_raw(group)))?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(0o640))?;
            Ok(())
        }
    }
}

/// The files that were put aside: when (milliseconds since 1970), where, how large.
fn full(dir: &Path) -> io::Result<Vec<(u64, PathBuf, u64)>> {
    let mut full = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry: DirEntry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
        if let (Some(number), Some(found)) = (number, regular(&entry.path())?) {
            full.push((number, entry.path(), found.size()));
        }
    }
    Ok(full)
}

fn regular(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file().then_some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file was made so long ago. Where the file system does not say, it grows until it is full.
fn is_old(found: &Metadata, now: DateTime<Utc>, age: TimeDelta) -> bool {
    found.created().is_ok_and(|made| now - DateTime::<Utc>::from(made) >= age)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_full_or_a_day_old_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let now = Utc::now();
        assert_eq!(rotate_in(dir.path(), now).unwrap(), 0);
        assert_eq!(names(dir.path()), [""; 0]);
        std::fs::write(dir.path().join(CURRENT), "{}\n").unwrap();
        assert_eq!(rotate_in(dir.path(), now).unwrap(), 0);
        assert_eq!(names(dir.path()), [CURRENT]);
        let later = now + DAILY + TimeDelta::seconds(1);
        rotate_in(dir.path(), later).unwrap();
        let first = format!("{}.jsonl", later.timestamp_millis());
        assert_eq!(names(dir.path()), [first.as_str(), CURRENT]);
        assert_eq!(std::fs::metadata(dir.path().join(CURRENT)).unwrap().mode() & 0o777, 0o640);
        // An empty file stays, a large one goes at once, and no name is taken twice.
        rotate_in(dir.path(), later).unwrap();
        assert_eq!(names(dir.path()), [first.as_str(), CURRENT]);
        std::fs::File::options()
            .write(true)
            .open(dir.path().join(CURRENT))
            .unwrap()
            .set_len(ROTATE_AT)
            .unwrap();
        rotate_in(dir.path(), later).unwrap();
        assert_eq!(
            names(dir.path()),
            [first, format!("{}.jsonl", later.timestamp_millis() + 1), CURRENT.into()]
        );
    }

    #[test]
    fn what_is_old_or_too_much_goes_and_the_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let now = Utc::now();
        let make = |age: TimeDelta, size| {
            let name = format!("{}.jsonl", (now - age).timestamp_millis());
            let path = dir.path().join(&name);
            std::fs::File::create(&path).unwrap().set_len(size).unwrap();
            name
        };
        make(KEEP, 7);
        make(TimeDelta::days(3), 1 << 20);
        let (second, third) = (make(TimeDelta::days(2), TOTAL_BOUND - 5), make(TimeDelta::days(1), 5));
        std::fs::write(dir.path().join("notes"), "x").unwrap();
        assert_eq!(rotate_in(dir.path(), now).unwrap(), 1 << 20);
        assert_eq!(names(dir.path()), [second, third, "notes".into()]);
    }
}
