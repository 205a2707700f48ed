//! Archives and deletes homes of people who left.
//!
//! A home's content is its owner's, who may be an enemy: the programs start inside a directory that was opened and
//! checked, never follow a link, and stay on one file system. It may take hours, so nothing waits for it; and its owner
//! may be let in again meanwhile, so it is moved aside, at a moment at which nobody has it, before it is deleted.

pub mod retry;
mod room;

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_plan::facts::OwnDirectory;
use hostward_protocol::report::{About, Finding, Responsible};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::command::{CommandError, run_in};
use crate::durable::{self, WriteError};
use crate::finding::{chain, finding};
use crate::processes::Processes;
use crate::root::{ARCHIVE, Root};

const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How a program ends that writes beyond its limit: by SIGXFSZ.
const OVER_THE_CAP: i32 = 128 + 25;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A home on its way out has this name and the uid, in the directory where it was. No user's name begins with a dot.
const ASIDE: &str = ".hostward-left-";

/// What is to become of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Whose it was.
    pub uid: u32,
    /// The name they had.
    pub name: String,
    /// Where it is.
    pub home: String,
    /// Name of the archive it goes into before it is deleted, if it does.
    pub archive: Option<String>,
    /// When it was decided.
    pub decided: DateTime<Utc>,
}

impl Fate {
    /// Archived, then deleted.
    pub fn archive(uid: u32, name: &str, home: &str, now: DateTime<Utc>) -> Fate {
        let archive = format!("{name}-{uid}-{}.tar", now.format("%Y%m%dT%H%M%SZ"));
        Fate { archive: Some(archive), ..Fate::delete(uid, name, home, now) }
    }

    /// Deleted.
    pub fn delete(uid: u32, name: &str, home: &str, now: DateTime<Utc>) -> Fate {
        Fate { uid, name: name.into(), home: home.into(), archive: None, decided: now }
    }

    /// What its step is about.
    pub fn about(&self) -> About {
        About::Home { name: self.name.clone(), uid: self.uid, home: self.home.clone() }
    }
}

/// Why a home is still there.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It is not directly below a directory in which homes may be.
    #[error("`{0}` is not directly below one of the directories that homes may be in")]
    Place(String),
    /// Others than root may rename what is in its parent directory.
    #[error("others than root may write to `{0}`")]
    Parent(String),
    /// It is a link, a file, or somebody else's.
    #[error("`{0}` is not a directory of this user's on the file system of its parent")]
    NotTheirs(String),
    /// Something still runs under the uid.
    #[error("processes still run under uid {0}")]
    Running(u32),
    /// Its owner was let in again, or its uid is somebody's again.
    #[error("somebody has uid {0} again")]
    Claimed(u32),
    /// The system refused.
    #[error("cannot {step} `{home}`")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The home.
        home: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Its archive would fill the file system.
    #[error(
        "the archive needs about {needed} MiB, and {free} MiB are free for it in `/var/lib/hostward/archive`, beside what stays free for others"
    )]
    Room {
        /// What it needs at least, in MiB.
        needed: u64,
        /// What it may take, in MiB.
        free: u64,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Archive(#[from] WriteError),
    /// A program could not be run.
    #[error("cannot run a program")]
    Command(#[from] CommandError),
    /// A program failed.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// What it said.
        said: String,
    },
}

impl HomeError {
    /// Whether the same attempt would fail for a while: what runs ends, and whoever is back leaves by another plan.
    pub fn lasts(&self) -> bool {
        !matches!(self, HomeError::Running(_) | HomeError::Claimed(_))
    }

    /// As a finding.
    pub fn finding(&self, fate: &Fate) -> Finding {
        let mend = match self.lasts() {
            true => {
                "mend what the message says, or settle the home by hand; it is tried again after a day, or with the next pass once `/var/lib/hostward/home-retries.json` is removed"
            }
            false => "it is tried again with the next pass",
        };
        finding(
            Responsible::Operator,
            "home-not-settled",
            format!("home of former user `{}` (uid {})", fate.name, fate.uid),
            chain(self),
            mend,
        )
    }
}

/// Does to a home what is to be done. `parents` are the directories that homes may be in. `last_look` says whether
/// the home is still nobody's; what it answers with is held until the home is out of its place.
pub fn settle<Guard>(
    root: &Root,
    parents: &[PathBuf],
    fate: &Fate,
    last_look: impl FnOnce() -> Option<Guard>,
) -> Result<(), HomeError> {
    let io = |step| {
        let home = fate.home.clone();
        move |errno: Errno| HomeError::Io { step, home: home.clone(), source: errno.into() }
    };
    let (parent, name) = place(parents, &fate.home)?;
    let (parent_fd, parent_stat) = open_parent(root, parent)?;
    let look = || match rustix::fs::statat(&parent_fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some).map_err(io("look at")),
    };
    let Some(stat) = look()? else {
        return Ok(());
    };
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if !is_directory || stat.st_uid != fate.uid || stat.st_dev != parent_stat.st_dev {
        return Err(HomeError::NotTheirs(fate.home.clone()));
    }
    let idle = || match Processes::new(root.path("/proc")).running(&[fate.uid].into()).is_empty() {
        true => Ok(()),
        false => Err(HomeError::Running(fate.uid)),
    };
    idle()?;
    let packed = match &fate.archive {
        Some(archive) => {
            let home = rustix::fs::openat(&parent_fd, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())
                .map_err(io("open"))?;
            Some(pack(root, &home, archive)?)
        }
        None => None,
    };
    let aside = format!("{ASIDE}{}", fate.uid);
    {
        let _nobodys = last_look().ok_or(HomeError::Claimed(fate.uid))?;
        idle()?;
        let is_same = look()?.is_some_and(|now| (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino));
        if !is_same {
            return Err(HomeError::NotTheirs(fate.home.clone()));
        }
        if let Some(packed) = packed {
            packed.commit()?;
        }
        rustix::fs::renameat_with(&parent_fd, name, &parent_fd, &aside, RenameFlags::NOREPLACE)
            .map_err(io("move aside"))?;
    }
    remove(root, &parent_fd, &aside)
}

/// Removes what is left of archives that were being written when the process was killed. Nobody may be writing one.
pub fn sweep_archive(root: &Root) {
    for entry in std::fs::read_dir(root.path(ARCHIVE)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tar.new") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Uids of the homes in `parent` that were moved aside and not deleted, because the machine stopped, say.
pub fn moved_aside(root: &Root, parent: &Path) -> BTreeSet<u32> {
    std::fs::read_dir(root.path(parent))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(ASIDE)?.parse().ok())
        .collect()
}

/// Deletes a home that was moved aside.
pub fn finish(root: &Root, parent: &Path, uid: u32) -> Result<(), HomeError> {
    let (parent, _) = open_parent(root, parent)?;
    remove(root, &parent, &format!("{ASIDE}{uid}"))
}

fn open_parent(root: &Root, parent: &Path) -> Result<(OwnedFd, Stat), HomeError> {
    let home = parent.display().to_string();
    let io = |errno: Errno| HomeError::Io { step: "open", home: home.clone(), source: errno.into() };
    let fd = rustix::fs::open(root.path(parent), FLAGS, Mode::empty()).map_err(io)?;
    let stat = rustix::fs::fstat(&fd).map_err(io)?;
    if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
        return Err(HomeError::Parent(home));
    }
    Ok((fd, stat))
}

/// Parent and name, where the home is directly below an allowed parent.
fn place<'a>(parents: &[PathBuf], home: &'a str) -> Result<(&'a Path, &'a str), HomeError> {
    let path = Path::new(home);
    let found = path.parent().zip(path.file_name().and_then(|name| name.to_str()));
    match found {
        Some((parent, name)) if path.is_absolute() && parents.iter().any(|p| p == parent) => {
            Ok((parent, name))
        }
        _ => Err(HomeError::Place(home.into())),
    }
}

/// Writes the archive, which has its name once it is committed.
fn pack(root: &Root, home: &OwnedFd, archive: &str) -> Result<durable::Stream, HomeError> {
    let directory = root.path(ARCHIVE);
    durable::own_directory(root, OwnDirectory::Archive)?;
    let (needed, free) = (room::estimate(root, home)?, room::free(&directory)?);
    let no_room = |needed| Err(HomeError::Room { needed: needed >> 20, free: free >> 20 });
    if needed > free {
        return no_room(needed);
    }
    let stream = durable::Stream::new(&directory.join(archive), durable::Attributes::root(0o600))?;
    // The estimate may be wrong, and a home may be written to by others while it is packed: this is not.
    let cap = format!("--fsize={free}:{free}");
    let tar = root.path("/bin/tar");
    let tar = tar.to_str().unwrap_or("/bin/tar");
    let arguments = [
        cap.as_str(),
        tar,
        "--create",
        "--file=-",
        "--format=posix",
        "--one-file-system",
        "--numeric-owner",
        "--sparse",
        "--acls",
        "--xattrs",
        ".",
    ];
    let output = stream.output()?;
    let ran = run_in(&root.path("/usr/bin/prlimit"), arguments, &inside(home), Stdio::from(output), LIMIT)?;
    if ran.code == Some(OVER_THE_CAP) {
        return no_room(free.max(needed));
    }
    if !ran.success {
        return Err(HomeError::Failed { program: "tar", said: ran.said() });
    }
    // Here, where nobody waits: a commit syncs again, and has little left to do.
    let synced = stream.output()?.sync_all();
    synced.map_err(|source| WriteError { step: "sync", path: directory.join(archive), source })?;
    Ok(stream)
}

fn remove(root: &Root, parent: &OwnedFd, name: &str) -> Result<(), HomeError> {
    let home = format!("./{name}");
    let arguments = ["-r", "-f", "--one-file-system", "--", home.as_str()];
    let ran = run_in(&root.path("/bin/rm"), arguments, &inside(parent), Stdio::null(), LIMIT)?;
    if ran.success { Ok(()) } else { Err(HomeError::Failed { program: "rm", said: ran.said() }) }
}

/// A path that is this very directory, whatever its name leads to by now. The child changes into it before its
/// copy of the descriptor is closed.
fn inside(directory: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", directory.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_homes_directly_below_an_allowed_parent() {
        let parents = ["/home".into(), "/srv/people".into()];
        assert!(place(&parents, "/home/alice").is_ok());
        assert!(place(&parents, "/srv/people/bob").is_ok());
        for home in ["/home", "/home/", "/home/a/b", "/home/..", "/etc/x", "home/x", "/", ""] {
            assert!(place(&parents, home).is_err(), "{home}");
        }
    }
}
