//! Reading events in order, from any of them on, while they are written.

use std::io::{BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files::{self, FilesError, Head, Opened};
use crate::line::{digest, link};

/// Reads the log in a directory. It remembers where it left off, so that going on from there is cheap.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    cursor: Option<Cursor>,
}

/// Where a sequence is.
#[derive(Debug)]
struct Cursor {
    next: u64,
    inode: (u64, u64),
    offset: u64,
}

/// Events in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Their lines, without newlines.
    pub lines: Vec<Vec<u8>>,
    /// The number of each.
    pub numbers: Vec<u64>,
    /// The last of them, for whoever acknowledges.
    pub head: Option<Head>,
    /// What to read from next.
    pub next: u64,
    /// How many lines were passed over that are no events.
    pub damaged: u64,
}

impl Reader {
    /// A reader of the log in `dir`.
    pub fn new(dir: &Path) -> Self {
        Reader { dir: dir.into(), cursor: None }
    }

    /// Events from the one numbered `sequence` on, at most `max_bytes` of them, but one at least where there is one.
    /// Where `sequence` is gone, from the oldest on. A line that is still being written is not among them.
    pub fn read_from(&mut self, sequence: u64, max_bytes: usize) -> Result<Batch, FilesError> {
        self.read(sequence, max_bytes, usize::MAX)
    }

    /// The same, and no more than `most` events.
    pub fn read(&mut self, sequence: u64, max_bytes: usize, most: usize) -> Result<Batch, FilesError> {
        let files = files::open_all(&self.dir)?;
        let (start, offset) = self.start(&files, sequence)?;
        let mut batch = Batch { next: sequence, ..Batch::default() };
        let (mut bytes, mut is_full) = (0, false);
        for (number, file) in files.into_iter().enumerate().skip(start) {
            if is_full {
                break;
            }
            let offset = if number == start { offset } else { 0 };
            self.read_file(file, offset, sequence, |line, found| {
                bytes += line.len() + 1;
                let has_some = !batch.lines.is_empty();
                is_full = has_some && (bytes > max_bytes || batch.lines.len() >= most);
                if is_full {
                    return false;
                }
                match found {
                    Some(found) => {
                        batch.lines.push(line.to_vec());
                        batch.numbers.push(found);
                        batch.next = batch.next.max(found + 1);
                    }
                    None => batch.damaged += 1,
                }
                true
            })?;
        }
        if let (Some(line), Some(last)) = (batch.lines.last(), batch.next.checked_sub(1)) {
            batch.head = Some(Head { sequence: last, hash: digest(line) });
        }
        Ok(batch)
    }

    /// Calls `each` with every whole line of a file whose event is not before `sequence`, and remembers how far it was
    /// wanted.
    fn read_file(
        &mut self,
        mut file: Opened,
        mut offset: u64,
        sequence: u64,
        mut each: impl FnMut(&[u8], Option<u64>) -> bool,
    ) -> Result<(), FilesError> {
        let failed = |source| FilesError::Read { path: file.path.clone(), source };
        let inode = inode(&file)?;
        file.file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut next = self.cursor.as_ref().map_or(0, |cursor| cursor.next).max(sequence);
        files::lines(BufReader::new(&file.file), |raw| {
            if !raw.ended {
                return false;
            }
            let found = link(raw.bytes).map(|link| link.sequence);
            let is_before = found.is_some_and(|found| found < sequence);
            if !is_before && !each(raw.bytes, found) {
                return false;
            }
            offset += raw.length;
            next = next.max(found.map_or(0, |found| found + 1));
            true
        })
        .map_err(failed)?;
        self.cursor = Some(Cursor { next, inode, offset });
        Ok(())
    }

    /// The file that `sequence` is in, or after, and from where on to look.
    fn start(&self, files: &[Opened], sequence: u64) -> Result<(usize, u64), FilesError> {
        if let Some(cursor) = self.cursor.as_ref().filter(|cursor| cursor.next == sequence) {
            for (number, file) in files.iter().enumerate() {
                let length = file
                    .file
                    .metadata()
                    .map_err(|source| FilesError::Read { path: file.path.clone(), source })?
                    .len();
                if inode(file)? == cursor.inode && length >= cursor.offset {
                    return Ok((number, cursor.offset));
                }
            }
        }
        let after = files.iter().rposition(|file| file.first.is_some_and(|first| first <= sequence));
        Ok((after.unwrap_or(0), 0))
    }
}

fn inode(file: &Opened) -> Result<(u64, u64), FilesError> {
    let found =
        file.file.metadata().map_err(|source| FilesError::Read { path: file.path.clone(), source })?;
    Ok((found.dev(), found.ino()))
}
