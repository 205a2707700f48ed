//! What is in the files when the log is opened.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::room::Content;
use crate::files::{self, FilesError};
use crate::kind::Quota;
use crate::line::{GENESIS, Place, link};

/// The most of a damaged end that is kept.
const MAX_KEPT: u64 = 1 << 20;

/// What is in the files.
pub(super) struct Scanned {
    /// Where the next event goes.
    pub place: Place,
    /// Full files, oldest first.
    pub full: Vec<Content>,
    /// The file that is written to.
    pub current: Content,
    /// What is to be cut off the newest file.
    pub cut: Option<Cut>,
}

/// The end of a file that is no event.
pub(super) struct Cut {
    pub path: PathBuf,
    /// Where the last event ends.
    pub at: u64,
    /// How much there is behind it.
    pub length: u64,
    /// That, or the first of it.
    pub bytes: Vec<u8>,
}

pub(super) fn scan(dir: &Path) -> Result<Scanned, FilesError> {
    let opened = match files::open_all(dir) {
        Ok(opened) => opened,
        Err(FilesError::Absent { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut scanned = Scanned {
        place: Place { sequence: 1, previous: GENESIS.into() },
        full: Vec::new(),
        current: Content::default(),
        cut: None,
    };
    for mut file in opened {
        let failed = |source| FilesError::Read { path: file.path.clone(), source };
        let mut content = Content { first: file.first, ..Content::default() };
        let (mut good, mut seen) = (0, None);
        files::lines(BufReader::new(&file.file), |raw| {
            content.length += raw.length;
            let event = link(raw.bytes).filter(|_| raw.ended);
            let quota = event.as_ref().map_or(Quota::Own, |event| event.quota);
            content.bytes[quota.index()] += raw.length;
            if let Some(event) = event {
                good = content.length;
                content.first.get_or_insert(event.sequence);
                content.last = content.last.max(event.sequence);
                content.newest = content.newest.max(event.time);
                seen = Some(Place::after(event.sequence, raw.bytes));
            }
            true
        })
        .map_err(failed)?;
        if content.length > 0 {
            // Damage elsewhere stays as it is, for `verify` to find: only at the very end is it a crash's.
            scanned.cut = None;
        }
        if let Some(Place { sequence, previous }) = seen {
            let sequence = sequence.max(content.last + 1).max(scanned.place.sequence);
            scanned.place = Place { sequence, previous };
        }
        if content.length > good {
            let (at, length) = (good, content.length - good);
            let mut bytes = Vec::new();
            file.file.seek(SeekFrom::Start(at)).map_err(failed)?;
            (&mut file.file).take(MAX_KEPT).read_to_end(&mut bytes).map_err(failed)?;
            scanned.cut = Some(Cut { path: file.path.clone(), at, length, bytes });
        }
        if file.first.is_some() {
            scanned.full.push(content);
        } else {
            scanned.current = content;
        }
    }
    if let Some(cut) = &scanned.cut {
        let content =
            if scanned.current.length > 0 { Some(&mut scanned.current) } else { scanned.full.last_mut() };
        if let Some(content) = content {
            content.length = cut.at;
            let own = &mut content.bytes[Quota::Own.index()];
            *own = own.saturating_sub(cut.length);
            if cut.at == 0 {
                *content = Content { first: content.first, ..Content::default() };
            }
        }
    }
    Ok(scanned)
}
