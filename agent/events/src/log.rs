//! The log, as its one writer has it.
//!
//! A batch of events is one `write(2)` to the end of the file and one `fdatasync(2)`. A write that the disk has no room
//! for is taken back and the events in it are counted. Whatever is not written is counted, and an event says so.

mod limits;
mod room;
mod scan;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};

use crate::event::Event;
use crate::files::{self, ACKNOWLEDGED, CURRENT, FilesError, Head, TORN};
use crate::kind::Quota;
use crate::line::{self, MAX_LINE, Place, digest};
use crate::loss::{self, Cause, Loss, Losses};
use crate::origin::Origin;
pub use limits::Limits;
use room::Room;
use scan::{Cut, Scanned};

/// Owner and group `adm` read it, and nobody else.
const MODE: u32 = 0o640;
/// How often losses are told while there is no room for what is being lost.
const TELL_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// Why the log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its directory is not there, or cannot be used.
    #[error("cannot use `{dir}`; `systemd-tmpfiles --create hostward.conf` makes it, then `systemctl restart hostward`", dir = dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else writes it.
    #[error("another process writes the event log in `{dir}`", dir = dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// What is there cannot be read.
    #[error("cannot go on from the events that are there")]
    Files(#[from] FilesError),
    /// A file cannot be written, renamed or cut.
    #[error("cannot write `{path}`", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// An opened log.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Log,
    /// What is to be appended first: that the end of the log had been damaged, and was cut.
    pub repaired: Option<Event>,
}

/// The log, as its one writer has it.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    run: String,
    origin: Arc<Origin>,
    file: Option<File>,
    place: Place,
    room: Room,
    losses: Losses,
    told_at: Option<DateTime<Utc>>,
    /// How many losses events tell of.
    told: u64,
    /// What a failed write left cannot be taken back: the log is to be opened anew.
    is_broken: bool,
    _lock: OwnedFd,
}

/// Lines on their way.
struct Batch {
    bytes: Vec<u8>,
    place: Place,
    used: [u64; 3],
    first: u64,
    events: Vec<(Quota, DateTime<Utc>)>,
    told: Vec<Loss>,
}

impl Log {
    /// Opens the log in `dir`, or begins one there. `run` is unique to this start; `origin` is said of events that the
    /// log makes itself. What a crash left of an event at the end is set aside in `events.torn`.
    pub fn open(
        dir: &Path,
        limits: Limits,
        run: &str,
        origin: Arc<Origin>,
        now: DateTime<Utc>,
    ) -> Result<Opened, LogError> {
        let unusable =
            |errno: rustix::io::Errno| LogError::Directory { dir: dir.into(), source: errno.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(dir, flags, Mode::empty()).map_err(unusable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LogError::Locked { dir: dir.into() }),
            locked => locked.map_err(unusable)?,
        }
        let Scanned { place, full, current, cut } = scan::scan(dir)?;
        let acknowledged = files::acknowledged(dir)?;
        let beyond = acknowledged.as_ref().map_or(0, |head| head.sequence);
        let place = match &acknowledged {
            // The files are gone, and somebody has events with these numbers.
            Some(head) if place.sequence <= beyond => {
                Place { sequence: beyond + 1, previous: head.hash.clone() }
            }
            _ => place,
        };
        let log = Log {
            dir: dir.into(),
            run: run.into(),
            origin,
            file: None,
            place,
            room: Room::new(limits, full, current, acknowledged),
            losses: Losses::default(),
            told_at: None,
            told: 0,
            is_broken: false,
            _lock: lock,
        };
        let repaired = cut.map(|cut| log.repair(&cut, now)).transpose()?;
        Ok(Opened { log, repaired })
    }

    /// Appends events, oldest first, each with where it comes from. Those that are not written are counted.
    pub fn append(&mut self, events: &[(Arc<Origin>, Event)], now: DateTime<Utc>) -> Result<(), LogError> {
        if let Some((origin, _)) = events.last() {
            self.origin = origin.clone();
        }
        let due = self.told_at.is_none_or(|at| (now - at).abs() >= TELL_INTERVAL);
        let room = self.room.clone();
        let told =
            self.losses.take(|loss| due || loss.cause != Cause::Quota || room.has_some(loss.quota, now));
        self.write(told, events, now)
    }

    /// Says what is lost and was not told. The log may be dropped afterwards.
    pub fn finish(&mut self, now: DateTime<Utc>) -> Result<(), LogError> {
        let told = self.losses.take(|_| true);
        self.write(told, &[], now)
    }

    /// Counts events that never came here.
    pub fn lose(&mut self, losses: Losses) {
        self.losses.extend(losses);
    }

    /// What is lost and not told yet.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// How many events were lost since it was opened, told or not.
    pub fn lost(&self) -> u64 {
        self.told + self.losses.total()
    }

    /// What is lost and not told yet, for whoever opens it anew.
    pub fn into_losses(self) -> Losses {
        self.losses
    }

    /// Whether it has to be opened anew.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// The limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.room.limits = limits;
    }

    /// The last event; `None` before the first.
    pub fn head(&self) -> Option<Head> {
        let sequence = self.place.sequence - 1;
        (sequence > 0).then(|| Head { sequence, hash: self.place.previous.clone() })
    }

    /// Somebody has everything up to `head`: files with nothing newer may go when room is needed.
    pub fn acknowledge(&mut self, head: Head) -> Result<(), LogError> {
        let path = self.dir.join(ACKNOWLEDGED);
        let new = self.dir.join(".acknowledged.json.new");
        let text = serde_json::to_vec(&head).unwrap_or_default();
        let write = || -> io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::open(&new, flags, Mode::from_raw_mode(MODE))?);
            rustix::fs::fchmod(&file, Mode::from_raw_mode(MODE))?;
            io::Write::write_all(&mut &file, &text)?;
            file.sync_data()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|source| LogError::Write { path: path.clone(), source })?;
        self.room.acknowledged = Some(head);
        self.room.is_taken = true;
        Ok(())
    }

    /// Whether somebody takes events: what they do not have is kept for them then, however old it is.
    pub fn set_taken(&mut self, is_taken: bool) {
        self.room.is_taken = is_taken;
    }

    fn write(
        &mut self,
        told: Vec<Loss>,
        events: &[(Arc<Origin>, Event)],
        now: DateTime<Utc>,
    ) -> Result<(), LogError> {
        let mut batch = self.batch();
        let mut result = Ok(());
        for loss in told {
            let event = loss.event(now);
            let bytes = self.line(&event, &self.origin, &batch);
            if result.is_ok() && self.room.take_for_loss(&self.dir, bytes.len() as u64, batch.used, now) {
                result = self.push(&mut batch, &event, bytes, now);
                if result.is_ok() {
                    batch.told.push(loss);
                    continue;
                }
            }
            self.losses.add(loss);
        }
        for (origin, event) in events {
            if result.is_err() {
                self.losses.count(event.quota(), Cause::Disk, event.time());
                continue;
            }
            let bytes = self.line(event, origin, &batch);
            let length = bytes.len() as u64;
            if bytes.len() <= MAX_LINE && self.room.take(&self.dir, event.quota(), length, batch.used, now) {
                result = self.push(&mut batch, event, bytes, now);
                if result.is_err() {
                    self.losses.count(event.quota(), Cause::Disk, event.time());
                }
            } else {
                self.losses.count(event.quota(), Cause::Quota, event.time());
            }
        }
        result.and(self.flush(batch, now))
    }

    /// An empty batch that goes behind what is written.
    fn batch(&self) -> Batch {
        Batch {
            bytes: Vec::new(),
            place: self.place.clone(),
            used: [0; 3],
            first: self.place.sequence,
            events: Vec::new(),
            told: Vec::new(),
        }
    }

    fn line(&self, event: &Event, origin: &Origin, batch: &Batch) -> Vec<u8> {
        let mut bytes = line::line(event, origin, &batch.place, &self.run);
        bytes.push(b'\n');
        bytes
    }

    /// Puts a line into the batch. Where the file is full, what is in the batch is written first and a new file begun;
    /// the line is the same in the new one.
    fn push(
        &mut self,
        batch: &mut Batch,
        event: &Event,
        bytes: Vec<u8>,
        now: DateTime<Utc>,
    ) -> Result<(), LogError> {
        let before = self.room.current.length + batch.bytes.len() as u64;
        if before > 0 && before + bytes.len() as u64 > self.room.limits.segment {
            let full = std::mem::replace(batch, self.batch());
            let written = self.flush(full, now).and_then(|()| self.rotate());
            *batch = self.batch();
            written?;
        }
        batch.place = Place::after(batch.place.sequence, bytes.strip_suffix(b"\n").unwrap_or(&bytes));
        batch.used[event.quota().index()] += bytes.len() as u64;
        batch.events.push((event.quota(), event.time()));
        batch.bytes.extend(bytes);
        Ok(())
    }

    fn flush(&mut self, batch: Batch, now: DateTime<Utc>) -> Result<(), LogError> {
        if batch.bytes.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.put(&batch.bytes) {
            // The first of them tell of losses, which are told another time.
            for (quota, at) in batch.events.into_iter().skip(batch.told.len()) {
                self.losses.count(quota, Cause::Disk, at);
            }
            batch.told.into_iter().for_each(|loss| self.losses.add(loss));
            return Err(LogError::Write { path: self.dir.join(CURRENT), source });
        }
        if !batch.told.is_empty() {
            self.told_at = Some(now);
            self.told += batch.told.iter().map(|loss| loss.count).sum::<u64>();
        }
        self.room.wrote(batch.first, batch.place.sequence - 1, batch.used, now);
        self.place = batch.place;
        Ok(())
    }

    /// One write, all or nothing.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) if is_at(&file, &self.dir.join(CURRENT)) => file,
            _ => create(&self.dir)?,
        };
        let before = file.metadata()?.len();
        let written = loop {
            match rustix::io::write(&file, bytes) {
                Err(rustix::io::Errno::INTR) => {}
                written => break written,
            }
        };
        let result = match written {
            Ok(length) if length == bytes.len() => file.sync_data(),
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(errno) => Err(errno.into()),
        };
        if result.is_err() && file.set_len(before).is_err() {
            self.is_broken = true;
        }
        self.file = Some(file);
        result
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        let Some(first) = self.room.current.first else {
            return Ok(());
        };
        let (from, to) = (self.dir.join(CURRENT), self.dir.join(files::full_name(first)));
        match rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            // Somebody put a copy there: this file grows, within what its events may take.
            Err(rustix::io::Errno::EXIST) => return Ok(()),
            renamed => {
                renamed.map_err(|errno| LogError::Write { path: to, source: errno.into() })?;
            }
        }
        self.file = None;
        self.room.rotated();
        Ok(())
    }

    fn repair(&self, cut: &Cut, now: DateTime<Utc>) -> Result<Event, LogError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LogError::Write { path, source }
        };
        let torn = self.dir.join(TORN);
        let aside = || -> io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::open(&torn, flags, Mode::from_raw_mode(MODE))?);
            rustix::fs::fchmod(&file, Mode::from_raw_mode(MODE))?;
            io::Write::write_all(&mut &file, &cut.bytes)?;
            file.sync_data()
        };
        // A disk that is full has no room for it; the log goes on all the same.
        if let Err(error) = aside().map_err(failed(&torn)) {
            ::log::warn!("{error}");
        }
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let shorten = || -> io::Result<()> {
            let file = File::from(rustix::fs::open(&cut.path, flags, Mode::empty())?);
            file.set_len(cut.at)?;
            file.sync_data()
        };
        shorten().map_err(failed(&cut.path))?;
        let name = cut.path.file_name().unwrap_or_default().to_string_lossy();
        Ok(loss::repaired(now, &name, cut.length, &digest(&cut.bytes)))
    }
}

/// Opens the file that is written to, or makes it.
fn create(dir: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(dir.join(CURRENT), flags, Mode::from_raw_mode(MODE))?);
    // Whatever the umask is.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(MODE))?;
    if file.metadata()?.len() == 0 {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

/// Whether a file is still the one at `path`, and not renamed or removed by somebody.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
