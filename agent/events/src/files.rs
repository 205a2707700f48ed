//! The files of the log: `events.jsonl`, which is written to, and `events-NUMBER.jsonl`, which are full. NUMBER is the
//! sequence of a file's first event.
//!
//! Readers may be root, and the directory belongs to a less privileged process: no link is followed, nothing but a
//! regular file is read, and no line is longer than it may be.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use hostward_protocol::events::Head;
use rustix::fs::{Mode, OFlags};

use crate::line::MAX_LINE;

pub(crate) const CURRENT: &str = "events.jsonl";
pub(crate) const TORN: &str = "events.torn";
pub(crate) const ACKNOWLEDGED: &str = "acknowledged.json";
const MAX_ACKNOWLEDGED: u64 = 4 << 10;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is none.
    #[error("there is no event log in `{dir}`", dir = dir.display())]
    Absent {
        /// Where it should be.
        dir: PathBuf,
    },
    /// A file or the directory cannot be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something is there that is no file of the log.
    #[error("`{path}` is no regular file: find out who put it there, and move it away", path = path.display())]
    Foreign {
        /// What.
        path: PathBuf,
    },
}

impl FilesError {
    /// Whether the caller may not.
    pub fn is_denied(&self) -> bool {
        matches!(self, FilesError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// A file of the log, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub path: PathBuf,
    /// The sequence in its name; `None` for the one that is written to.
    pub first: Option<u64>,
    pub file: File,
}

/// Name of a full file.
pub(crate) fn full_name(first: u64) -> String {
    format!("events-{first:020}.jsonl")
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("events-")?.strip_suffix(".jsonl")?;
    let number = digits.parse().ok()?;
    (full_name(number) == name).then_some(number)
}

/// Opens every file of the log, oldest first. What is rotated or deleted meanwhile is neither missed nor seen twice.
pub(crate) fn open_all(dir: &Path) -> Result<Vec<Opened>, FilesError> {
    // The one that is written to comes first: if it is full before the directory is listed, it is known by its inode.
    let current = open(dir.join(CURRENT), None)?;
    let inode = match &current {
        Some(current) => Some(inode(current)?),
        None => None,
    };
    let mut files = Vec::new();
    for first in full(dir)? {
        if let Some(opened) = open(dir.join(full_name(first)), Some(first))?
            && Some(self::inode(&opened)?) != inode
        {
            files.push(opened);
        }
    }
    files.extend(current);
    if files.is_empty() {
        return Err(FilesError::Absent { dir: dir.into() });
    }
    Ok(files)
}

/// The numbers in the names of full files, ascending.
pub(crate) fn full(dir: &Path) -> Result<Vec<u64>, FilesError> {
    let failed = |source: io::Error| FilesError::Read { path: dir.into(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(FilesError::Absent { dir: dir.into() });
        }
        Err(error) => return Err(failed(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        numbers.extend(entry.file_name().to_str().and_then(first_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn inode(opened: &Opened) -> Result<(u64, u64), FilesError> {
    let failed = |source| FilesError::Read { path: opened.path.clone(), source };
    opened.file.metadata().map(|found| (found.dev(), found.ino())).map_err(failed)
}

fn open(path: PathBuf, first: Option<u64>) -> Result<Option<Opened>, FilesError> {
    Ok(regular(&path)?.map(|file| Opened { path, first, file }))
}

fn regular(path: &Path) -> Result<Option<File>, FilesError> {
    let failed = |source: io::Error| FilesError::Read { path: path.into(), source };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(FilesError::Foreign { path: path.into() }),
        Err(errno) => return Err(failed(errno.into())),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(FilesError::Foreign { path: path.into() });
    }
    Ok(Some(file))
}

/// The last event that the backend has, where it has any. A file that is damaged says nothing.
pub fn acknowledged(dir: &Path) -> Result<Option<Head>, FilesError> {
    let path = dir.join(ACKNOWLEDGED);
    let Some(file) = regular(&path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(MAX_ACKNOWLEDGED)
        .read_to_end(&mut bytes)
        .map_err(|source| FilesError::Read { path: path.clone(), source })?;
    // Number 0 is what is written of a backend that has lost everything.
    Ok(serde_json::from_slice(&bytes).ok().filter(|head: &Head| head.sequence > 0))
}

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    /// Its bytes without the newline; no more than [`MAX_LINE`] of them.
    pub bytes: &'a [u8],
    /// How many bytes of the file it is, its newline included.
    pub length: u64,
    /// Whether it ends in a newline, as all but the last do.
    pub ended: bool,
}

/// Calls `each` with every line, until it answers with `false`.
pub(crate) fn lines(mut file: impl BufRead, mut each: impl FnMut(Raw<'_>) -> bool) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let mut length = (&mut file).take(most).read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            return Ok(());
        }
        let mut ended = line.last() == Some(&b'\n');
        if ended {
            line.pop();
        } else if length == most {
            let (skipped, found) = skip_line(&mut file)?;
            length += skipped;
            ended = found;
        }
        if !each(Raw { bytes: &line, length, ended }) {
            return Ok(());
        }
    }
}

/// Skips to the end of a line that is too long to be one.
fn skip_line(file: &mut impl BufRead) -> io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok((skipped, false));
        }
        let found = buffer.iter().position(|byte| *byte == b'\n');
        let length = found.map_or(buffer.len(), |at| at + 1);
        file.consume(length);
        skipped += length as u64;
        if found.is_some() {
            return Ok((skipped, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(usize, u64, bool)> {
        let mut seen = Vec::new();
        lines(text, |raw| {
            seen.push((raw.bytes.len(), raw.length, raw.ended));
            true
        })
        .unwrap();
        seen
    }

    #[test]
    fn lines_of_any_length() {
        assert_eq!(all(b""), []);
        assert_eq!(all(b"a\n\nbc"), [(1, 2, true), (0, 1, true), (2, 2, false)]);
        let long = [vec![b'x'; 3 * MAX_LINE], b"\ny\n".to_vec()].concat();
        assert_eq!(all(&long), [(MAX_LINE, 3 * MAX_LINE as u64 + 1, true), (1, 2, true)]);
        assert_eq!(all(&vec![b'x'; MAX_LINE]), [(MAX_LINE, MAX_LINE as u64, false)]);
    }

    #[test]
    fn only_names_of_ours_are_files_of_the_log() {
        assert_eq!(first_of(&full_name(7)), Some(7));
        for name in ["events-7.jsonl", "events-.jsonl", "events.jsonl", "events-+0000000000000000007.jsonl"] {
            assert_eq!(first_of(name), None, "{name}");
        }
    }

    #[test]
    fn nothing_but_regular_files_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(open_all(dir.path()), Err(FilesError::Absent { .. })));
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        std::os::unix::fs::symlink(&secret, dir.path().join(CURRENT)).unwrap();
        assert!(matches!(open_all(dir.path()), Err(FilesError::Foreign { .. })));
        std::fs::remove_file(dir.path().join(CURRENT)).unwrap();
        std::fs::create_dir(dir.path().join(CURRENT)).unwrap();
        assert!(matches!(open_all(dir.path()), Err(FilesError::Foreign { .. })));
    }

    #[test]
    fn a_file_that_is_full_by_now_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CURRENT), "x\n").unwrap();
        std::fs::hard_link(dir.path().join(CURRENT), dir.path().join(full_name(1))).unwrap();
        assert_eq!(open_all(dir.path()).unwrap().len(), 1);
    }
}
