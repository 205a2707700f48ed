//! Reads files that somebody else may have made: never through a link, never waiting, never more than a cap.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// What a file must be like to be read.
#[derive(Clone, Copy, Debug)]
pub struct Demands {
    /// Who must own it.
    pub owner: u32,
    /// The largest size that is read, in bytes.
    pub cap: u64,
    /// Permission bits that must not be set.
    pub forbidden_mode: u32,
}

/// Why a file was not read. None of these quotes its content.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("there is no such file")]
    NotFound,
    /// A symbolic link.
    #[error("it is a symbolic link")]
    Link,
    /// A FIFO, a directory, a device, a socket.
    #[error("it is no regular file")]
    NotRegular,
    /// Somebody else's.
    #[error("its owner is uid {found}, not {wanted}")]
    Owner {
        /// Whose it is.
        found: u32,
        /// Whose it must be.
        wanted: u32,
    },
    /// It has other names, through which somebody else may reach it.
    #[error("it has {0} hard links, and must have one")]
    Links(u64),
    /// Others may do with it what they must not.
    #[error("its mode is {0:04o}, which lets others at it")]
    Mode(u32),
    /// Larger than the cap.
    #[error("it is larger than the {cap} bytes that are read")]
    TooLarge {
        /// The cap.
        cap: u64,
    },
    /// Somebody holds a lease on it; waiting for them is not an option.
    #[error("somebody holds a lease on it")]
    Leased,
    /// The system refused.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => ReadError::NotFound,
            Errno::LOOP => ReadError::Link,
            // A socket, or a device without a driver.
            Errno::NXIO | Errno::NODEV => ReadError::NotRegular,
            Errno::WOULDBLOCK => ReadError::Leased,
            other => ReadError::Io(other.into()),
        }
    }
}

/// Opens a directory that must be `owner`'s, not through a link at its last component.
pub fn directory(path: &Path, owner: u32) -> Result<OwnedFd, ReadError> {
    let directory = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| match errno {
        Errno::NOTDIR => ReadError::NotRegular,
        other => other.into(),
    })?;
    let found = rustix::fs::fstat(&directory)?.st_uid;
    if found == owner { Ok(directory) } else { Err(ReadError::Owner { found, wanted: owner }) }
}

/// Reads the file `name` (one component) of `directory`, once, into memory.
pub fn read_at(directory: impl AsFd, name: &str, demands: Demands) -> Result<Vec<u8>, ReadError> {
    if name.is_empty() || name.contains('/') || name.contains('\0') {
        return Err(ReadError::NotFound);
    }
    let file = rustix::fs::openat(directory, name, FLAGS, Mode::empty())?;
    read_opened(file, demands)
}

/// Reads the file at `path`, whose directories are trusted, once, into memory.
pub fn read(path: &Path, demands: Demands) -> Result<Vec<u8>, ReadError> {
    read_opened(rustix::fs::open(path, FLAGS, Mode::empty())?, demands)
}

const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

fn read_opened(file: OwnedFd, demands: Demands) -> Result<Vec<u8>, ReadError> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::NotRegular);
    }
    if stat.st_uid != demands.owner {
        return Err(ReadError::Owner { found: stat.st_uid, wanted: demands.owner });
    }
    // The type of st_nlink differs between architectures.
    #[allow(clippy::useless_conversion)]
    let links = u64::from(stat.st_nlink);
    if links != 1 {
        return Err(ReadError::Links(links));
    }
    let mode = stat.st_mode & 0o7777;
    if mode & demands.forbidden_mode != 0 {
        return Err(ReadError::Mode(mode));
    }
    let too_large = ReadError::TooLarge { cap: demands.cap };
    if u64::try_from(stat.st_size).is_ok_and(|size| size > demands.cap) {
        return Err(too_large);
    }
    // Bounded by the cap, not by the size seen above: the file may grow while it is read.
    let mut content = Vec::new();
    File::from(file).take(demands.cap.saturating_add(1)).read_to_end(&mut content).map_err(ReadError::Io)?;
    if content.len() as u64 > demands.cap {
        return Err(too_large);
    }
    Ok(content)
}
