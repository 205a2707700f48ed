//! Tells when a file was changed, in place or by a rename onto it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};

/// Why a file cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch `{}`", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: std::io::Error,
}

/// Watches one file through its directory, so that editors which replace it are noticed too.
pub struct FileWatch {
    events: EventStream<[u8; 4096]>,
    name: OsString,
}

impl FileWatch {
    /// Begins to watch. Needs a tokio runtime.
    pub fn new(path: &Path) -> Result<FileWatch, WatchError> {
        let wrap = |source: std::io::Error| WatchError { path: path.to_owned(), source };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let inotify = Inotify::init().map_err(wrap)?;
        // A file that is being written is read when it is closed.
        let mask = WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO;
        inotify.watches().add(directory, mask).map_err(wrap)?;
        Ok(FileWatch {
            events: inotify.into_event_stream([0; 4096]).map_err(wrap)?,
            name: path.file_name().unwrap_or_default().to_owned(),
        })
    }

    /// Returns once the file was written and closed, or replaced.
    pub async fn changed(&mut self) -> Result<(), std::io::Error> {
        while let Some(event) = self.events.next().await {
            // A queue that overflowed has an event without a name.
            let name: Option<OsString> = event?.name;
            if name.is_none_or(|name| name.as_os_str() == AsRef::<OsStr>::as_ref(&self.name)) {
                return Ok(());
            }
        }
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}
