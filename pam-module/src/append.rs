//! Puts a record where the agent finds it, without waiting for anybody.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hostward_records::{
    CURRENT, CURRENT_BOUND, DENIALS_BOUND, DIRECTORY, Record, SPILL, SPILL_BOUND, SPILL_DIRECTORY, What,
};
use rustix::fs::{FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::host::Host;
use crate::lost;

/// A file that lines are appended to.
struct Target {
    directory: &'static str,
    name: &'static str,
    bound: u64,
}

/// Appends `record` to the disk, else to memory, else counts it.
pub(crate) fn append(host: &Host, record: &Record) {
    // Denials have half of the spill file, as they have half of the other.
    let (disk, memory) = match record.what {
        What::Denied { .. } => (DENIALS_BOUND, SPILL_BOUND / 2),
        _ => (CURRENT_BOUND, SPILL_BOUND),
    };
    let disk = Target { directory: DIRECTORY, name: CURRENT, bound: disk };
    let memory = Target { directory: SPILL_DIRECTORY, name: SPILL, bound: memory };
    let line = record.line();
    let _limit = FileSizes::unlimited();
    if disk.append(host, &line).is_err() && memory.append(host, &line).is_err() {
        lost::count(&host.path(SPILL_DIRECTORY));
    }
}

impl Target {
    fn append(&self, host: &Host, line: &[u8]) -> Result<(), Errno> {
        let (file, status) = open(&host.path(self.directory), self.name)?;
        let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
        if size.saturating_add(line.len() as u64) >= self.bound {
            return Err(Errno::FBIG);
        }
        // What a full disk took of another's line must not swallow this one.
        let mut last = [b'\n'];
        if size > 0 {
            rustix::io::pread(&file, &mut last, size - 1)?;
        }
        let line = if last == [b'\n'] { line.to_vec() } else { [b"\n", line].concat() };
        match rustix::io::write(&file, &line)? {
            written if written == line.len() => Ok(()),
            _ => Err(Errno::NOSPC),
        }
    }
}

/// Opens a file that root alone writes to, in a directory of which the same is so; makes it where it is missing. It is
/// readable to the directory's group, also where a crash kept that from being so at first.
pub(crate) fn open(directory: &Path, name: &str) -> Result<(OwnedFd, Stat), Errno> {
    let directory = open_directory(directory)?;
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |more, mode| rustix::fs::openat(&directory, name, flags | more, mode);
    let file = match open(OFlags::empty(), Mode::empty()) {
        Err(Errno::NOENT) => match open(OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o600)) {
            // Somebody else was faster.
            Err(Errno::EXIST) => open(OFlags::empty(), Mode::empty())?,
            made => made?,
        },
        opened => opened?,
    };
    let status = rustix::fs::fstat(&file)?;
    if !is_roots_alone(&status) {
        return Err(Errno::PERM);
    }
    let group = rustix::fs::fstat(&directory)?.st_gid;
    if status.st_gid != group {
        rustix::fs::fchown(&file, None, Some(Gid::from_raw(group)))?;
    }
    if status.st_mode & 0o7777 != 0o640 {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o640))?;
    }
    Ok((file, status))
}

/// A directory of root's that nobody else may write to.
fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    let status = rustix::fs::fstat(directory.as_fd())?;
    if status.st_uid != 0 || status.st_mode & 0o022 != 0 {
        return Err(Errno::PERM);
    }
    Ok(directory)
}

/// A regular file with one name that root alone may write to.
fn is_roots_alone(status: &Stat) -> bool {
    let regular = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    regular && status.st_uid == 0 && status.st_nlink == 1 && status.st_mode & 0o022 == 0
}

/// Lifts RLIMIT_FSIZE, which su has from whoever calls it: over it a write ends the process.
struct FileSizes {
    before: Option<Rlimit>,
}

impl FileSizes {
    fn unlimited() -> Self {
        let before = getrlimit(Resource::Fsize);
        if before.current.is_none() {
            return Self { before: None };
        }
        let lifted = setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None });
        Self { before: lifted.is_ok().then_some(before) }
    }
}

impl Drop for FileSizes {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // Back to less is allowed to everybody.
            let _restored = setrlimit(Resource::Fsize, before);
        }
    }
}
