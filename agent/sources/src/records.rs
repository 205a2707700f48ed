//! The files of the PAM module's records: the one that is written to, those that are full, and the spill file.
//!
//! A file is known by its first record, which has a random id: numbers of devices and inodes may be another's after a boot.
//! Nothing but a regular file of root's with one link is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hostward_events::digest;
use hostward_records::{CURRENT, MAX_LINE, Record, SPILL};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

/// How many records are read at once.
const PORTION: usize = 256;

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A file or directory cannot be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something is there that the module did not make.
    #[error("`{path}` is no regular file of root's with one link: find out who put it there, and remove it", path = path.display())]
    Foreign {
        /// What.
        path: PathBuf,
    },
}

/// A file, whatever its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Id {
    /// Hash of its first line.
    first: String,
    /// Of a file whose first line is no record, so that it may be as another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
}

/// How far a file was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    #[serde(flatten)]
    id: Id,
    offset: u64,
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    file: Id,
    offset: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// In order within each file.
    pub records: Vec<(Record, Place)>,
    /// Lines that are no records.
    pub damaged: u64,
}

/// The files, as far as they were read.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    spill: PathBuf,
    owner: u32,
    read: BTreeMap<Id, u64>,
}

impl Records {
    /// The records in `dir`, and the spill file in the directory `spill`, read as far as `positions` say. `owner` is whose
    /// they must be: 0, but in a test.
    pub fn new(dir: &Path, spill: &Path, owner: u32, positions: &[FilePosition]) -> Self {
        let read = positions.iter().map(|position| (position.id.clone(), position.offset)).collect();
        Records { dir: dir.into(), spill: spill.into(), owner, read }
    }

    /// What was not read yet, a portion of it; nothing where there is nothing more at the moment. A line that is not whole
    /// yet is left for another time.
    pub fn read(&mut self) -> Result<Read, RecordsError> {
        let mut read = Read::default();
        let mut seen = Vec::new();
        for path in self.files()? {
            let Some(file) = self.open(&path)? else { continue };
            let failed = |source| RecordsError::Read { path: path.clone(), source };
            let Some(id) = identify(&file).map_err(failed)? else { continue };
            if read.records.len() < PORTION {
                let offset = self.read.get(&id).copied().unwrap_or_default();
                let offset = portion(&file, &id, offset, &mut read).map_err(failed)?;
                self.read.insert(id.clone(), offset);
            }
            seen.push(id);
        }
        if read.records.is_empty() {
            self.read.retain(|id, _| seen.contains(id));
        }
        Ok(read)
    }

    /// How far each file was read.
    pub(crate) fn positions(&self) -> Vec<FilePosition> {
        self.read.iter().map(|(id, offset)| FilePosition { id: id.clone(), offset: *offset }).collect()
    }

    /// The files in the order in which they were written: those that are full, the one that is not, what did not fit.
    fn files(&self) -> Result<Vec<PathBuf>, RecordsError> {
        let failed = |source| RecordsError::Read { path: self.dir.clone(), source };
        let mut full = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse::<u64>().ok());
            full.extend(number.map(|number| (number, self.dir.join(&name))));
        }
        full.sort();
        let written = [self.dir.join(CURRENT), self.spill.join(SPILL)];
        Ok(full.into_iter().map(|(_, path)| path).chain(written).collect())
    }

    fn open(&self, path: &Path) -> Result<Option<File>, RecordsError> {
        let failed = |source| RecordsError::Read { path: path.into(), source };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(RecordsError::Foreign { path: path.into() }),
            Err(errno) => return Err(failed(errno.into())),
        };
        let found = file.metadata().map_err(failed)?;
        // One that was renamed or removed meanwhile is none of this name's any more.
        if !found.is_file() || found.uid() != self.owner || found.nlink() > 1 {
            return Err(RecordsError::Foreign { path: path.into() });
        }
        Ok(Some(file))
    }
}

/// Which file it is; `None` while it has no whole line.
fn identify(file: &File) -> io::Result<Option<Id>> {
    let mut line = Vec::new();
    let mut from = file;
    from.seek(SeekFrom::Start(0))?;
    BufReader::new(from.take(MAX_LINE as u64)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') && line.len() < MAX_LINE {
        return Ok(None);
    }
    let is_record = line.strip_suffix(b"\n").is_some_and(|line| Record::parse(line).is_ok());
    let inode = if is_record { None } else { Some(file.metadata()?.ino()) };
    Ok(Some(Id { first: digest(&line)[..32].to_owned(), inode }))
}

/// Reads on from `offset`; where to read on after that.
fn portion(mut file: &File, id: &Id, mut offset: u64, read: &mut Read) -> io::Result<u64> {
    file.seek(SeekFrom::Start(offset))?;
    let mut from = BufReader::new(file);
    let mut line = Vec::new();
    let mut is_within = false;
    while read.records.len() < PORTION {
        line.clear();
        let length = (&mut from).take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        let is_whole = line.last() == Some(&b'\n');
        if !is_whole && length < MAX_LINE {
            break;
        }
        if is_whole && !is_within {
            let place = Place { file: id.clone(), offset };
            match Record::parse(&line[..length - 1]) {
                Ok(record) => read.records.push((record, place)),
                Err(_) => read.damaged += 1,
            }
        } else if is_whole {
            // The end of a line that is too long to be one.
            read.damaged += 1;
        }
        is_within = !is_whole;
        offset += length as u64;
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use hostward_records::{Id as RecordId, Process, What};

    use super::*;

    struct Dirs(tempfile::TempDir);

    impl Dirs {
        fn new() -> Self {
            let dirs = Dirs(tempfile::tempdir().unwrap());
            fs::create_dir(dirs.dir()).unwrap();
            fs::create_dir(dirs.spill()).unwrap();
            dirs
        }

        fn dir(&self) -> PathBuf {
            self.0.path().join("records")
        }

        fn spill(&self) -> PathBuf {
            self.0.path().join("spill")
        }

        fn open(&self, positions: &[FilePosition]) -> Records {
            let owner = fs::metadata(self.0.path()).unwrap().uid();
            Records::new(&self.dir(), &self.spill(), owner, positions)
        }
    }

    fn line(number: u64) -> Vec<u8> {
        Record {
            id: RecordId::of(u128::from(number).to_be_bytes()),
            what: What::Closed(None),
            time: number,
            boot: String::new(),
            service: "sshd".into(),
            user: "alice".into(),
            uid: None,
            managed: true,
            tty: None,
            rhost: None,
            ruser: None,
            auth: None,
            process: Process { pid: 1, start: 1 },
            parent: 1,
            audit_session: None,
            loginuid: None,
            cgroup: None,
            xdg_session: None,
            ancestors: vec![],
            directory: None,
            command_line: None,
        }
        .line()
    }

    fn append(path: &Path, bytes: &[u8]) {
        fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    fn numbers(records: &mut Records) -> (Vec<u64>, u64) {
        let (mut numbers, mut damaged) = (Vec::new(), 0);
        loop {
            let read = records.read().unwrap();
            damaged += read.damaged;
            if read.records.is_empty() {
                return (numbers, damaged);
            }
            numbers.extend(read.records.iter().map(|(record, _)| record.time));
        }
    }

    #[test]
    fn each_is_read_once_over_renames_and_restarts() {
        let dirs = Dirs::new();
        let current = dirs.dir().join(CURRENT);
        let mut records = dirs.open(&[]);
        assert_eq!(numbers(&mut records), (vec![], 0));
        (0..600).for_each(|n| append(&current, &line(n)));
        assert_eq!(numbers(&mut records).0, (0..600).collect::<Vec<_>>());
        // Put aside, while a process that had it open still appends.
        let full = dirs.dir().join("1800000000000.jsonl");
        fs::rename(&current, &full).unwrap();
        append(&current, &line(601));
        append(&full, &line(600));
        append(&dirs.spill().join(SPILL), &line(602));
        assert_eq!(numbers(&mut records).0, [600, 601, 602]);
        let positions: Vec<FilePosition> =
            serde_json::from_str(&serde_json::to_string(&records.positions()).unwrap()).unwrap();
        append(&current, &line(603));
        append(&full, &line(604));
        assert_eq!(numbers(&mut dirs.open(&positions)).0, [604, 603]);
        assert_eq!(numbers(&mut dirs.open(&[])).0.len(), 605);
        // On another file system, as after a boot for all that the numbers of inodes say.
        let moved = Dirs::new();
        for name in [CURRENT, "1800000000000.jsonl"] {
            fs::copy(dirs.dir().join(name), moved.dir().join(name)).unwrap();
        }
        assert_eq!(numbers(&mut moved.open(&positions)).0, [604, 603]);
        // A file with the number of one that is gone is another.
        fs::remove_file(&full).unwrap();
        fs::remove_file(&current).unwrap();
        append(&current, &line(700));
        assert_eq!(numbers(&mut records).0, [700]);
    }

    #[test]
    fn a_torn_line_costs_no_more_than_what_it_runs_into() {
        let dirs = Dirs::new();
        let current = dirs.dir().join(CURRENT);
        let mut records = dirs.open(&[]);
        append(&current, &line(1));
        append(&current, &line(2)[..100]);
        assert_eq!(numbers(&mut records), (vec![1], 0));
        append(&current, b"\n");
        append(&current, &line(3));
        append(&current, &vec![b'x'; 3 * MAX_LINE]);
        append(&current, b"\n\n");
        append(&current, &line(4));
        let (read, damaged) = numbers(&mut records);
        assert_eq!(read, [3, 4]);
        assert!((2..=4).contains(&damaged), "{damaged}");
        // Nothing but the start of a line: the file is nobody's yet.
        let fresh = Dirs::new();
        append(&fresh.dir().join(CURRENT), &line(1)[..10]);
        let mut records = fresh.open(&[]);
        assert_eq!(numbers(&mut records), (vec![], 0));
        append(&fresh.dir().join(CURRENT), &line(1)[10..]);
        assert_eq!(numbers(&mut records), (vec![1], 0));
    }

    #[test]
    fn nothing_but_the_modules_files_is_read() {
        let dirs = Dirs::new();
        let elsewhere = dirs.0.path().join("elsewhere");
        append(&elsewhere, &line(1));
        let current = dirs.dir().join(CURRENT);
        let is_foreign = |dirs: &Dirs| matches!(dirs.open(&[]).read(), Err(RecordsError::Foreign { .. }));
        std::os::unix::fs::symlink(&elsewhere, &current).unwrap();
        assert!(is_foreign(&dirs));
        fs::remove_file(&current).unwrap();
        fs::hard_link(&elsewhere, &current).unwrap();
        assert!(is_foreign(&dirs));
        fs::remove_file(&current).unwrap();
        fs::create_dir(&current).unwrap();
        assert!(is_foreign(&dirs));
        fs::remove_dir(&current).unwrap();
        append(&current, &line(2));
        let mut others = Records::new(&dirs.dir(), &dirs.spill(), 4711, &[]);
        assert!(matches!(others.read(), Err(RecordsError::Foreign { .. })));
        append(&dirs.dir().join("notes.jsonl"), &line(3));
        assert_eq!(numbers(&mut dirs.open(&[])).0, [2]);
    }
}
