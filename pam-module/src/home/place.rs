//! The directory that a home is to be in, reached through directories that only root can change.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Doing, Error, c_name, open_at};
use crate::host::Host;

/// How a directory is opened.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The parent of `home`, made where it is missing, and the home's name in it.
pub(super) fn open(host: &Host, home: &str) -> Result<(OwnedFd, CString), Error> {
    let mut names = home.strip_prefix('/').ok_or(Error::Path)?.split('/').collect::<Vec<_>>();
    if names.iter().any(|name| name.is_empty() || *name == "." || *name == "..") {
        return Err(Error::Path);
    }
    let last = names.pop().and_then(|name| c_name(name.as_bytes())).ok_or(Error::Path)?;
    let mut directory = rustix::fs::open(host.path("/"), DIRECTORY, Mode::empty()).doing("open /")?;
    let mut walked = String::new();
    trusted(&directory, "/")?;
    for name in names {
        walked = format!("{walked}/{name}");
        directory = enter(&directory, &c_name(name.as_bytes()).ok_or(Error::Path)?)?;
        trusted(&directory, &walked)?;
    }
    Ok((directory, last))
}

/// A directory within a trusted one. A link there is root's own, and is followed.
fn enter(within: &OwnedFd, name: &CStr) -> Result<OwnedFd, Error> {
    const WHAT: &str = "open a directory on the way to it";
    match rustix::fs::mkdirat(within, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => {
            let made = directory(within, name).doing(WHAT)?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755)).doing(WHAT)?;
            return Ok(made);
        }
        Err(Errno::EXIST | Errno::ROFS) => {}
        Err(errno) => return Err(errno).doing("make a directory on the way to it"),
    }
    let status = rustix::fs::statat(within, name, AtFlags::SYMLINK_NOFOLLOW).doing(WHAT)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Symlink => rustix::fs::openat(within, name, DIRECTORY, Mode::empty()).doing(WHAT),
        _ => directory(within, name).doing(WHAT),
    }
}

/// A directory, and no link to one.
pub(super) fn directory(within: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    open_at(within, name, DIRECTORY)
}

fn trusted(directory: &OwnedFd, path: &str) -> Result<(), Error> {
    let status = rustix::fs::fstat(directory).doing("look at a directory on the way to it")?;
    let by_group = status.st_mode & 0o020 != 0 && status.st_gid != 0;
    if status.st_uid != 0 || by_group || status.st_mode & 0o002 != 0 {
        return Err(Error::Untrusted(path.to_owned()));
    }
    Ok(())
}
