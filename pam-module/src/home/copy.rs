//! The skeleton's copy: directories, files and links as they are; whatever else is there is left out.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::leftover::entries;
use super::{Doing, Error, open_at, place};

/// How deep a skeleton is.
const DEPTH: usize = 32;
/// How much it has: entries, and bytes of all its files.
const ENTRIES: usize = 4096;
const BYTES: u64 = 64 << 20;
/// What the owner may do stays, without setuid, setgid and sticky bits; nobody else may do anything.
const OWNERS: u32 = 0o700;

/// A copy and how much of it there may still be.
pub(super) struct Copy {
    uid: Uid,
    gid: Gid,
    entries: usize,
    bytes: u64,
}

impl Copy {
    /// For this owner.
    pub(super) fn to(uid: Uid, gid: Gid) -> Self {
        Self { uid, gid, entries: ENTRIES, bytes: BYTES }
    }

    /// Copies what is in `from` into `to`.
    pub(super) fn tree(&mut self, from: &OwnedFd, to: &OwnedFd) -> Result<(), Error> {
        self.below(from, to, DEPTH)
    }

    fn below(&mut self, from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), Error> {
        let depth = depth.checked_sub(1).ok_or(Error::TooLarge)?;
        for (name, kind) in entries(from).doing("list /etc/skel")? {
            self.entries = self.entries.checked_sub(1).ok_or(Error::TooLarge)?;
            match kind {
                FileType::Directory => self.directory(from, to, &name, depth)?,
                FileType::RegularFile => self.file(from, to, &name)?,
                FileType::Symlink => self.link(from, to, &name)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<(), Error> {
        const WHAT: &str = "copy a directory of /etc/skel";
        let source = place::directory(from, name).doing(WHAT)?;
        let mode = rustix::fs::fstat(&source).doing(WHAT)?.st_mode;
        rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).doing(WHAT)?;
        let copy = place::directory(to, name).doing(WHAT)?;
        self.below(&source, &copy, depth)?;
        self.finish(&copy, mode).doing(WHAT)
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Error> {
        const WHAT: &str = "copy a file of /etc/skel";
        let source = open_at(from, name, OFlags::RDONLY).doing(WHAT)?;
        let status = rustix::fs::fstat(&source).doing(WHAT)?;
        // Something else may have taken its place since it was listed.
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600)).doing(WHAT)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = match rustix::io::read(&source, &mut buffer) {
                Err(Errno::INTR) => continue,
                read => read.doing(WHAT)?,
            };
            self.bytes = self.bytes.checked_sub(read as u64).ok_or(Error::TooLarge)?;
            let mut rest = buffer.get(..read).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() {
                match rustix::io::write(&copy, rest) {
                    Err(Errno::INTR) => {}
                    Ok(0) => return Err(Errno::IO).doing(WHAT),
                    written => rest = rest.get(written.doing(WHAT)?..).unwrap_or_default(),
                }
            }
        }
        self.finish(&copy, status.st_mode).doing(WHAT)
    }

    fn link(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(), Error> {
        const WHAT: &str = "copy a link of /etc/skel";
        let target = rustix::fs::readlinkat(from, name, Vec::new()).doing(WHAT)?;
        rustix::fs::symlinkat(&target, to, name).doing(WHAT)?;
        let (uid, gid) = (Some(self.uid), Some(self.gid));
        rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).doing(WHAT)
    }

    fn finish(&self, copy: &OwnedFd, mode: u32) -> Result<(), Errno> {
        rustix::fs::fchmod(copy, Mode::from_raw_mode(mode & OWNERS))?;
        rustix::fs::fchown(copy, Some(self.uid), Some(self.gid))
    }
}
