//! Noticing that a file appeared or changed, without looking again and again: inotify(7) on its directory.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};

/// Room for the events of one wake-up.
const BUFFER: usize = 4096;

/// Why a directory cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch `{dir}`: {source}", dir = dir.display())]
pub struct WatchError {
    dir: PathBuf,
    source: std::io::Error,
}

/// Directories being watched. Not one of their files is opened.
pub struct Watch {
    events: EventStream<[u8; BUFFER]>,
    places: Vec<(WatchDescriptor, Place)>,
}

/// What is watched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: PathBuf,
    /// The files in it that count.
    pub names: Vec<OsString>,
}

impl Watch {
    /// Watches every directory of `places` that exists.
    pub fn start(places: Vec<Place>) -> Result<Self, WatchError> {
        let failed = |dir: &Path, source: std::io::Error| WatchError { dir: dir.into(), source };
        let root = Path::new("/");
        let inotify = Inotify::init().map_err(|e| failed(root, e))?;
        let mut watched = Vec::new();
        for place in places {
            // Whole files only: one being written is noticed when it is closed.
            let mask = WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::ATTRIB | WatchMask::ONLYDIR;
            match inotify.watches().add(&place.dir, mask) {
                Ok(descriptor) => watched.push((descriptor, place)),
                Err(error) => log::warn!(
                    "{}: changes there are noticed only after a restart",
                    failed(&place.dir, error)
                ),
            }
        }
        let events = inotify.into_event_stream([0; BUFFER]).map_err(|e| failed(root, e))?;
        Ok(Watch { events, places: watched })
    }

    /// The directories in which something that counts changed, once there is one.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            let event = match self.events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                broken => {
                    log::error!("cannot notice changed files any more: {broken:?}; restart hostward.service");
                    return std::future::pending().await;
                }
            };
            let overflow = event.mask.contains(EventMask::Q_OVERFLOW);
            let changed: Vec<PathBuf> = self
                .places
                .iter()
                .filter(|(descriptor, place)| {
                    overflow || (*descriptor == event.wd && place.counts(event.name.as_deref()))
                })
                .map(|(_, place)| place.dir.clone())
                .collect();
            if !changed.is_empty() {
                return changed;
            }
        }
    }
}

impl Place {
    fn counts(&self, name: Option<&OsStr>) -> bool {
        name.is_some_and(|name| self.names.iter().any(|n| n == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path, name: &str) -> Place {
        Place { dir: dir.into(), names: vec![name.into()] }
    }

    #[tokio::test]
    async fn only_what_counts_wakes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut watch = Watch::start(vec![place(a.path(), "token"), place(b.path(), "status")]).unwrap();
        std::fs::write(a.path().join("other"), "x").unwrap();
        std::fs::write(b.path().join("token"), "x").unwrap();
        std::fs::write(b.path().join("status"), "x").unwrap();
        assert_eq!(watch.changed().await, [b.path()]);
        std::fs::write(a.path().join("new"), "x").unwrap();
        std::fs::rename(a.path().join("new"), a.path().join("token")).unwrap();
        assert_eq!(watch.changed().await, [a.path()]);
    }

    #[tokio::test]
    async fn a_missing_directory_does_not_stop_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let mut watch = Watch::start(vec![place(&missing, "token"), place(dir.path(), "token")]).unwrap();
        std::fs::write(dir.path().join("token"), "x").unwrap();
        assert_eq!(watch.changed().await, [dir.path()]);
    }
}
