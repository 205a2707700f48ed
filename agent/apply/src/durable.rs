//! Every change that has to survive a power cut goes through here: new content under a temporary name, owner and
//! mode first, fsync, rename, fsync of the directory. A kill leaves the old or the new content, never a part.

pub mod fault;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use hostward_plan::facts::OwnDirectory;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use self::fault::point;
use crate::root::Root;

/// Why something could not be made durable. What was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} `{path}`", path = path.display())]
pub struct WriteError {
    /// What was tried.
    pub step: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Who a file belongs to, and who may do what with it.
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Attributes {
    /// Root's, with these permission bits.
    pub fn root(mode: u32) -> Attributes {
        Attributes { uid: 0, gid: 0, mode }
    }
}

/// New content, complete and synced, under a name that sudo, sshd and everybody else pass over. Dropped without
/// [`Staged::commit`], it is removed.
#[derive(Debug)]
pub struct Staged(Temporary);

impl Staged {
    /// Writes `content` beside `path`.
    pub fn new(path: &Path, content: &[u8], attributes: Attributes) -> Result<Staged, WriteError> {
        let (temporary, mut file) = Temporary::create(path, attributes)?;
        point("write").and_then(|()| file.write_all(content)).map_err(failed("write", temporary.path()))?;
        temporary.sync(&file)?;
        Ok(Staged(temporary))
    }

    /// Where the new content is until it is committed.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// Puts it in its place.
    pub fn commit(self) -> Result<(), WriteError> {
        self.0.commit()
    }
}

/// New content that another program writes.
#[derive(Debug)]
pub struct Stream {
    temporary: Temporary,
    file: File,
}

impl Stream {
    /// An empty file beside `path`.
    pub fn new(path: &Path, attributes: Attributes) -> Result<Stream, WriteError> {
        let (temporary, file) = Temporary::create(path, attributes)?;
        Ok(Stream { temporary, file })
    }

    /// Where the program writes to.
    pub fn output(&self) -> Result<File, WriteError> {
        self.file.try_clone().map_err(failed("write", self.temporary.path()))
    }

    /// Puts what was written in its place.
    pub fn commit(self) -> Result<(), WriteError> {
        self.temporary.sync(&self.file)?;
        self.temporary.commit()
    }
}

#[derive(Debug)]
struct Temporary {
    directory: OwnedFd,
    parent: PathBuf,
    temporary: String,
    name: String,
    live: bool,
}

impl Temporary {
    fn create(path: &Path, attributes: Attributes) -> Result<(Temporary, File), WriteError> {
        let (parent, name) = split(path)?;
        let directory = open_directory(&parent)?;
        let temporary = Temporary { directory, parent, temporary: temporary_name(&name), name, live: true };
        let failed = |step| failed(step, temporary.path());
        point("create").and_then(|()| temporary.remove_left_over()).map_err(failed("create"))?;
        let file = rustix::fs::openat(
            &temporary.directory,
            &temporary.temporary,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(io::Error::from)
        .map_err(failed("create"))?;
        let owner = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        rustix::fs::fchown(&file, Some(owner.0), Some(owner.1))
            .map_err(io::Error::from)
            .map_err(failed("set the owner of"))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode))
            .map_err(io::Error::from)
            .map_err(failed("set the mode of"))?;
        Ok((temporary, file.into()))
    }

    fn path(&self) -> PathBuf {
        self.parent.join(&self.temporary)
    }

    fn sync(&self, file: &File) -> Result<(), WriteError> {
        point("fsync").and_then(|()| file.sync_all()).map_err(failed("sync", self.path()))
    }

    fn commit(self) -> Result<(), WriteError> {
        let renamed = self.rename()?;
        sync(&renamed.directory, &renamed.parent)
    }

    fn rename(mut self) -> Result<Temporary, WriteError> {
        let path = self.parent.join(&self.name);
        point("rename")
            .and_then(|()| {
                rustix::fs::renameat(&self.directory, &self.temporary, &self.directory, &self.name)
                    .map_err(io::Error::from)
            })
            .map_err(failed("replace", path))?;
        self.live = false;
        Ok(self)
    }

    fn remove_left_over(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.live {
            // The next writer removes it if this fails.
            let _ = self.remove_left_over();
        }
    }
}

/// Replaces `path` by `content`.
pub fn replace(path: &Path, content: &[u8], attributes: Attributes) -> Result<(), WriteError> {
    Staged::new(path, content, attributes)?.commit()
}

/// Writes several files of one directory, each whole and synced, and syncs the directory once.
pub fn replace_all<'a>(
    directory: &Path,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    attributes: Attributes,
) -> Result<(), WriteError> {
    let mut last = None;
    for (name, content) in files {
        last = Some(Staged::new(&directory.join(name), content, attributes)?.0.rename()?);
    }
    last.map_or(Ok(()), |temporary| sync(&temporary.directory, &temporary.parent))
}

/// Removes a file. No file is no error.
pub fn remove(path: &Path) -> Result<(), WriteError> {
    let (parent, name) = split(path)?;
    let directory = match open_directory(&parent) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let removed =
        point("remove").and_then(|()| match rustix::fs::unlinkat(&directory, &name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(false),
            Ok(()) => Ok(true),
            Err(error) => Err(error.into()),
        });
    if removed.map_err(failed("remove", path.into()))? {
        sync(&directory, &parent)?;
    }
    Ok(())
}

/// Removes what a kill may have left of a change to `path` that did not come to its rename.
pub fn sweep(path: &Path) {
    if let Ok((parent, name)) = split(path) {
        let _ = std::fs::remove_file(parent.join(temporary_name(&name)));
    }
}

/// No sudoers.d name with a dot is read, nor does sshd's `*.conf` match it.
fn temporary_name(name: &str) -> String {
    format!(".{name}.new")
}

/// Makes a directory of root's with exactly this mode, if there is none, and its parents.
pub fn directory(path: &Path, mode: u32) -> Result<(), WriteError> {
    let made = || rustix::fs::mkdirat(CWD, path, Mode::RWXU);
    let (parent, _) = split(path)?;
    match made() {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            directory(&parent, 0o755)?;
            made().map_err(io::Error::from).map_err(failed("make the directory", path.into()))?;
        }
        Err(error) => return Err(failed("make the directory", path.into())(error.into())),
    }
    // Whatever the umask is.
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())
        .map_err(io::Error::from)
        .map_err(failed("set the mode of", path.into()))?;
    sync(&open_directory(&parent)?, &parent)
}

/// Makes a directory of root's state, if there is none, and its parents.
pub fn own_directory(root: &Root, own: OwnDirectory) -> Result<(), WriteError> {
    directory(&root.path(own.path()), own.mode())
}

/// Gives a directory to root again, with exactly this mode; never one behind a link.
pub fn restore_directory(path: &Path, mode: u32) -> Result<(), WriteError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())
        .map_err(io::Error::from)
        .map_err(failed("open the directory", path.into()))?;
    point("restore")
        .and_then(|()| {
            rustix::fs::fchown(&directory, Some(Uid::ROOT), Some(Gid::ROOT))?;
            Ok(rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?)
        })
        .map_err(failed("set owner and mode of", path.into()))?;
    sync(&directory, path)
}

fn sync(directory: &OwnedFd, path: &Path) -> Result<(), WriteError> {
    point("fsync directory")
        .and_then(|()| rustix::fs::fsync(directory).map_err(io::Error::from))
        .map_err(failed("sync the directory", path.into()))
}

fn open_directory(path: &Path) -> Result<OwnedFd, WriteError> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(io::Error::from)
        .map_err(failed("open the directory", path.into()))
}

fn split(path: &Path) -> Result<(PathBuf, String), WriteError> {
    match (path.parent(), path.file_name().and_then(OsStr::to_str)) {
        (Some(parent), Some(name)) => Ok((parent.into(), name.into())),
        _ => Err(failed("write", path.into())(io::ErrorKind::InvalidInput.into())),
    }
}

fn failed(step: &'static str, path: PathBuf) -> impl Fn(io::Error) -> WriteError {
    move |source| WriteError { step, path: path.clone(), source }
}
