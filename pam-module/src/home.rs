//! Makes the home of a managed user at their first session: whole or not at all.
//!
//! It grows in a directory beside its place, which belongs to root, is closed to everybody and is locked while somebody
//! works on it; the owner is set last and the rename replaces nothing. What a crash leaves there is removed at the next
//! attempt. No link is followed, neither in the skeleton nor on the way to the home, but for those in directories that only root
//! can write to.

mod copy;
mod leftover;
mod place;

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::host::Host;
use crate::who::Managed;

/// Where the skeleton is.
const SKEL: &str = "/etc/skel";
/// Of a home: its owner's alone, as the profile that had pam_mkhomedir make homes said.
const MODE: u32 = 0o700;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// Something is there, which is left as it is.
    Already,
    /// A new home.
    New,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Not an absolute path of plain names.
    Path,
    /// A directory on the way belongs to somebody else, or others may write to it.
    Untrusted(String),
    /// The skeleton has more than a home is begun with.
    TooLarge,
    /// A call failed.
    Os(&'static str, Errno),
}

impl std::fmt::Display for Error {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Path => to.write_str("its path is not one of plain names"),
            Error::Untrusted(path) => {
                write!(to, "`{path}` is not a directory of root's that only root may write to")
            }
            Error::TooLarge => write!(to, "{SKEL} is too large or too deep"),
            Error::Os(what, errno) => write!(to, "cannot {what}: {errno}"),
        }
    }
}

/// Says what a call was for.
trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|errno| Error::Os(what, errno))
    }
}

/// Makes it where nothing is there.
pub(crate) fn make(host: &Host, user: &Managed) -> Result<Made, Error> {
    match rustix::fs::lstat(host.path(&user.home)) {
        Ok(_) => return Ok(Made::Already),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).doing("look at it"),
    }
    let (parent, name) = place::open(host, &user.home)?;
    leftover::remove(&parent, user.uid)?;
    let new = New::begin(&parent, user.uid)?;
    let made = new.fill(host, user).and_then(|()| new.put(&name));
    if made != Ok(Made::New) {
        // What is left of it is found by the next attempt.
        let _removed = leftover::remove_tree(&parent, &new.name);
    }
    made
}

/// A home that is not in its place yet.
struct New<'a> {
    parent: &'a OwnedFd,
    name: CString,
    directory: OwnedFd,
}

impl<'a> New<'a> {
    fn begin(parent: &'a OwnedFd, uid: u32) -> Result<Self, Error> {
        // Another process may take what is not locked yet for a leftover.
        let mut tries = 3;
        loop {
            tries -= 1;
            let name = leftover::name(uid, &crate::process::random_id());
            rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o700))
                .doing("make a directory beside it")?;
            let opened = place::directory(parent, &name)
                .and_then(|directory| lock(&directory).map(|()| directory))
                .and_then(|directory| {
                    rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW).map(|_| directory)
                });
            match opened {
                Ok(directory) => return Ok(Self { parent, name, directory }),
                Err(Errno::NOENT | Errno::WOULDBLOCK) if tries > 0 => {}
                Err(errno) => return Err(errno).doing("open a directory beside it"),
            }
        }
    }

    fn fill(&self, host: &Host, user: &Managed) -> Result<(), Error> {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        let skel = rustix::fs::open(host.path(SKEL), place::DIRECTORY, Mode::empty());
        match skel {
            Ok(skel) => copy::Copy::to(uid, gid).tree(&skel, &self.directory)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).doing("open /etc/skel"),
        }
        rustix::fs::fchmod(&self.directory, Mode::from_raw_mode(MODE)).doing("set its mode")?;
        rustix::fs::fchown(&self.directory, Some(uid), Some(gid)).doing("give it to its owner")
    }

    fn put(&self, name: &CString) -> Result<Made, Error> {
        let renamed =
            rustix::fs::renameat_with(self.parent, &self.name, self.parent, name, RenameFlags::NOREPLACE);
        match renamed {
            // Not every file system can. A rename replaces an empty directory at most.
            Err(Errno::INVAL | Errno::NOSYS) => {
                match rustix::fs::renameat(self.parent, &self.name, self.parent, name) {
                    Ok(()) => Ok(Made::New),
                    Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(Made::Already),
                    Err(errno) => Err(errno).doing("put it in its place"),
                }
            }
            Ok(()) => Ok(Made::New),
            // Another session of theirs was faster.
            Err(Errno::EXIST) => Ok(Made::Already),
            Err(errno) => Err(errno).doing("put it in its place"),
        }
    }
}

/// Locks a directory for as long as it is open, unless somebody else has.
fn lock(directory: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive)
}

/// Opens what is in a directory, never through a link.
fn open_at(directory: &OwnedFd, name: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Leaves a line in the system's log, or not: nobody waits for the log.
pub(crate) fn complain(host: &Host, service: &str, text: &str) {
    // Priority 83: authpriv, error.
    let line = format!("<83>pam_hostward({service}:session): {text}");
    let _said = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(host.path("/dev/log"))?;
        socket.send(line.as_bytes())
    });
}

/// A name as C has it.
fn c_name(name: &[u8]) -> Option<CString> {
    CString::new(OsStr::from_bytes(name).as_bytes()).ok()
}
