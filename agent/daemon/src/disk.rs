//! Writing the agent's own files: whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a file of the agent's own state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be written.
    #[error("cannot write `{path}`: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read `{path}`: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what the agent writes.
    #[error("`{path}` is damaged: {source}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// Whether a file must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the call returns.
    Synced,
    /// After a power cut the old content is as good.
    Lazy,
}

/// Makes a directory that only the agent can enter, and its parents.
pub fn private_dir(path: &Path) -> Result<(), DiskError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DiskError::Write { path: path.into(), source })
}

/// Puts `bytes` at `path`, mode 0600, in one step.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), DiskError> {
    put(path, bytes, 0o600, durability)
}

/// Puts `bytes` at `path` for everybody to read, mode 0644, in one step.
pub fn publish(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    put(path, bytes, 0o644, Durability::Lazy)
}

fn put(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<(), DiskError> {
    let write = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        if durability == Durability::Synced {
            file.as_file().sync_all()?;
        }
        file.persist(path).map_err(|e| e.error)?;
        if durability == Durability::Synced {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| DiskError::Write { path: path.into(), source })
}

/// [`replace`] with a value as JSON.
pub fn replace_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<(), DiskError> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| DiskError::Damaged { path: path.into(), source })?;
    replace(path, &bytes, durability)
}

/// The value in a JSON file; `None` where there is no file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DiskError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(DiskError::Read { path: path.into(), source });
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| DiskError::Damaged { path: path.into(), source })
}

/// Removes a file; that there is none is as good.
pub fn remove(path: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(DiskError::Write { path: path.into(), source: e })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_files_are_private_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        private_dir(path.parent().unwrap()).unwrap();
        for durability in [Durability::Synced, Durability::Lazy] {
            replace_json(&path, &vec![1, 2], durability).unwrap();
            assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), None);
    }

    #[test]
    fn damage_is_an_error_not_an_absence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        std::fs::write(&path, "{").unwrap();
        let error = read_json::<Vec<u32>>(&path).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("x.json"), "{error}");
    }
}
