//! The file of a host's events: one line for each, as it came. A backend that is killed while it writes has
//! acknowledged nothing of what is torn.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chain::Gap;
use crate::file::FileError;
use crate::registry::RegistryError;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// An event that is kept.
    Event(Box<RawValue>),
    /// One that is not, but counts as had.
    Refused(Box<RawValue>),
    /// Numbers without events.
    Gap(Gap),
}

pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Opens a file, or makes one, and calls `each` with every line that is there.
    pub fn open(path: PathBuf, mut each: impl FnMut(Line)) -> Result<EventFile, RegistryError> {
        let failed = |action| {
            let path = path.clone();
            move |error| FileError::new(action, &path, error)
        };
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(failed("open"))?;
        let bytes = std::fs::read(&path).map_err(failed("read"))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).map_err(failed("cut"))?;
        for line in lines(&bytes[..whole], &path) {
            each(line?);
        }
        Ok(EventFile { path, file })
    }

    /// The events in a file, in order; none where there is no file.
    pub fn read(path: &Path) -> Result<Vec<Box<RawValue>>, RegistryError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FileError::new("read", path, error).into()),
        };
        let mut events = Vec::new();
        for line in lines(&bytes, path) {
            if let Line::Event(raw) = line? {
                events.push(raw);
            }
        }
        Ok(events)
    }

    pub fn append(&mut self, lines: &[Line]) -> Result<(), RegistryError> {
        let mut bytes = Vec::new();
        for line in lines {
            let foreign = |source| RegistryError::Foreign { path: self.path.clone(), source };
            serde_json::to_writer(&mut bytes, line).map_err(foreign)?;
            bytes.push(b'\n');
        }
        self.file.write_all(&bytes).map_err(|error| FileError::new("write", &self.path, error))?;
        Ok(())
    }
}

fn lines<'a>(bytes: &'a [u8], path: &'a Path) -> impl Iterator<Item = Result<Line, RegistryError>> + 'a {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| {
        serde_json::from_slice(line).map_err(|source| RegistryError::Foreign { path: path.into(), source })
    })
}
