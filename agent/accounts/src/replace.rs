//! Puts a new file in place of the old one, or takes it away, so that a kill at any moment can be mended.
//!
//! The old file's content is never touched but for the superseded flag, which tells those who still map it to
//! look again. Until that flag is set, a hard link keeps the old file in reach.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::format::{PROLOGUE, body};
use crate::lookup::{Database, HeaderError};

/// Why the database on disk was not replaced or removed. What it was before is still in force, unless the
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The path has no directory or no file name.
    #[error("`{0}` is not the path of a file")]
    Path(PathBuf),
    /// The bytes are not a database: nothing was written.
    #[error("what was to replace `{path}` is not an account database")]
    Bytes {
        /// The file that stays as it was.
        path: PathBuf,
        /// What is wrong with the bytes.
        #[source]
        source: HeaderError,
    },
    /// A step on a file failed. If that was to sync the directory, the new state is in force, and a power cut might undo it.
    #[error("cannot {step} `{path}`")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The new state is on disk, but programs that run keep the old one until [`finish_interrupted`] succeeds.
    #[error("cannot tell running programs that `{path}` is superseded")]
    NotSuperseded {
        /// The link to the old file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Writes `bytes` to a new file owned by root, readable by all, and renames it to `path`.
///
/// To be called by one process at a time, as root. Mends an interrupted earlier call first.
///
/// # Errors
/// If a step fails; the old file is then still in place unless the error says otherwise.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let checked = body(bytes).ok_or(HeaderError::TooShort).and_then(Database::new);
    if let Err(source) = checked {
        return Err(ReplaceError::Bytes { path: path.into(), source });
    }
    let names = Names::of(path)?;
    names.finish_interrupted()?;
    if let Err(error) = names.write_new(bytes) {
        // The error that matters is the one before; the next call removes what is left.
        let _ = fs::remove_file(&names.new);
        return Err(error);
    }
    names.link_old()?;
    fs::rename(&names.new, path).map_err(failed("rename to its place", &names.new))?;
    names.conclude()
}

/// Removes the database: programs that map it stop serving from it.
///
/// To be called by one process at a time, as root. No file is no error.
///
/// # Errors
/// If a step fails.
pub fn remove(path: &Path) -> Result<(), ReplaceError> {
    let names = Names::of(path)?;
    names.finish_interrupted()?;
    names.link_old()?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", path)(error));
        }
        _ => {}
    }
    names.conclude()
}

/// Mends what a kill during [`replace()`] or [`remove`] left: sets the superseded flag of an old file that is still
/// linked, unless it is the one in force, and removes left-over names.
///
/// # Errors
/// If a step fails.
pub fn finish_interrupted(path: &Path) -> Result<(), ReplaceError> {
    Names::of(path)?.finish_interrupted()
}

/// The database's path and the two names beside it that exist only during a replacement.
struct Names<'a> {
    path: &'a Path,
    directory: &'a Path,
    new: PathBuf,
    old: PathBuf,
}

impl<'a> Names<'a> {
    fn of(path: &'a Path) -> Result<Self, ReplaceError> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ReplaceError::Path(path.into()));
        };
        let beside = |end: &str| {
            let mut beside = OsString::from(".");
            beside.push(name);
            beside.push(end);
            directory.join(beside)
        };
        Ok(Self { path, directory, new: beside(".new"), old: beside(".old") })
    }

    fn finish_interrupted(&self) -> Result<(), ReplaceError> {
        remove_if_there(&self.new)?;
        let old = inode(&self.old)?;
        match old {
            None => Ok(()),
            Some(old) if Some(old) == inode(self.path)? => remove_if_there(&self.old),
            Some(_) => self.supersede_old(),
        }
    }

    fn write_new(&self, bytes: &[u8]) -> Result<(), ReplaceError> {
        let failed = |step| failed(step, &self.new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.new)
            .map_err(failed("create"))?;
        fchown(&file, Some(0), Some(0)).map_err(failed("give to root the file"))?;
        file.write_all(bytes).map_err(failed("write"))?;
        file.set_permissions(Permissions::from_mode(0o644)).map_err(failed("set the mode of"))?;
        file.sync_all().map_err(failed("sync"))
    }

    /// Keeps the file in force within reach, if it is a file.
    fn link_old(&self) -> Result<(), ReplaceError> {
        match fs::symlink_metadata(self.path) {
            Ok(metadata) if metadata.is_file() => {
                fs::hard_link(self.path, &self.old).map_err(failed("link", &self.old))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("look at", self.path)(error)),
        }
    }

    /// What is on disk by now is in force: programs that run are told, whether or not it would outlast a power cut already.
    fn conclude(&self) -> Result<(), ReplaceError> {
        let synced = self.sync_directory();
        self.supersede_old()?;
        synced
    }

    fn supersede_old(&self) -> Result<(), ReplaceError> {
        set_superseded(&self.old)
            .map_err(|source| ReplaceError::NotSuperseded { path: self.old.clone(), source })?;
        remove_if_there(&self.old)
    }

    fn sync_directory(&self) -> Result<(), ReplaceError> {
        File::open(self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("sync the directory", self.directory))
    }
}

/// Sets the flag, if there is a regular file long enough to be a database.
fn set_superseded(old: &Path) -> io::Result<()> {
    match fs::symlink_metadata(old) {
        // Writing to a shorter one would lengthen a file that somebody may have mapped.
        Ok(metadata) if metadata.is_file() && metadata.len() >= PROLOGUE as u64 => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new().write(true).open(old)?;
    file.write_all_at(&1_u32.to_le_bytes(), 0)
}

fn inode(path: &Path) -> Result<Option<(u64, u64)>, ReplaceError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

fn remove_if_there(path: &Path) -> Result<(), ReplaceError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ReplaceError + use<'a> {
    move |source| ReplaceError::Io { step, path: path.into(), source }
}
