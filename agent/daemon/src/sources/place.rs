//! Where reading goes on: what was kept, and what the log has beyond it.

use std::path::{Path, PathBuf};

use hostward_events::{Reader, Record};
use hostward_records::{LOST, LOST_BYTES};
use hostward_sources::{Position, Told};

use crate::disk::{self, Durability};

/// How much of the log is read at once.
const PORTION: usize = 1 << 20;

/// What was kept, and what the log has that it does not know of.
pub struct Kept {
    /// With the time from which on the journal counts, if anybody knows it.
    pub position: Position,
    pub told: Told,
}

/// Reads both. Without a position the whole log says what was told, and from when on there is something to tell.
pub fn kept(path: &Path, log: &Path) -> Kept {
    let found = disk::read_json::<Position>(path).unwrap_or_else(|error| {
        log::warn!("{error}: the log of events says what was read");
        None
    });
    let is_new = found.is_none();
    let mut position = found.unwrap_or_default();
    let mut told = Told::default();
    let mut reader = Reader::new(log);
    let mut next = position.sequence + 1;
    let mut is_first = is_new;
    // A log that is not there has nothing, and one that cannot be read cannot be written either, which is said there.
    while let Ok(batch) = reader.read_from(next, PORTION) {
        if batch.lines.is_empty() {
            break;
        }
        next = batch.next;
        for record in batch.lines.iter().filter_map(|line| Record::read(line)) {
            if std::mem::take(&mut is_first) {
                told.begins_with(&record);
                position.since = record.time.timestamp();
            }
            told.learn(&record);
            position.sessions.learn(&record);
        }
    }
    Kept { position, told }
}

/// Keeps a position.
pub fn keep(path: &Path, position: &Position) {
    if let Err(error) = disk::replace_json(path, position, Durability::Lazy) {
        log::warn!("{error}");
    }
}

/// How many records the module could write nowhere, as it counts them since the boot.
pub struct Lost {
    path: PathBuf,
    told: u64,
}

impl Lost {
    /// `known` is how many were told, of which boot.
    pub fn new(spill: &Path, boot: &str, known: (String, u64)) -> Self {
        let (known_boot, count) = known;
        Lost { path: spill.join(LOST), told: if known_boot == boot { count } else { 0 } }
    }

    /// How many are told.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// So many are told by now.
    pub fn tell(&mut self, count: u64) {
        self.told = count;
    }

    /// How many there are, if they are more.
    pub fn grown(&self) -> Option<u64> {
        let bytes = std::fs::read(&self.path).ok().filter(|bytes| bytes.len() as u64 == LOST_BYTES)?;
        let count = u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
        (count > self.told).then_some(count)
    }
}
