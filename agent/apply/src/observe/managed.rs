//! What hostward owns, as it is now: the managed files and the account database.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hostward_plan::facts::{Accounts, DatabaseFact, FileFact, ManagedFile, OwnDirectory};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::root::{DATABASE, Root};

/// The largest file that could be ours, in bytes: a KRL or sudoers file of a very large project.
const MAX_FILE: u64 = 64 << 20;
/// The largest database that could be ours, in bytes.
const MAX_DATABASE: u64 = 2 << 30;

/// The managed files that are there.
pub fn files(root: &Root) -> BTreeMap<ManagedFile, FileFact> {
    ManagedFile::ALL
        .into_iter()
        .filter_map(|file| {
            let (content, attributes_ok) = look(&root.path(file.path()), file.mode(), MAX_FILE)?;
            Some((file, FileFact { content, attributes_ok }))
        })
        .collect()
}

/// Own directories with another owner or mode than they should have. A link is the operator's doing, and left alone.
pub fn loose_directories(root: &Root) -> BTreeSet<OwnDirectory> {
    let is_loose = |directory: &OwnDirectory| {
        std::fs::symlink_metadata(root.path(directory.path())).is_ok_and(|metadata| {
            let as_made = (0, 0, directory.mode());
            metadata.is_dir() && (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777) != as_made
        })
    };
    OwnDirectory::ALL.into_iter().filter(is_loose).collect()
}

/// The account database as it is.
pub fn database(root: &Root) -> DatabaseFact {
    let Some((content, attributes_ok)) = look(&root.path(DATABASE), 0o644, MAX_DATABASE) else {
        return DatabaseFact::Absent;
    };
    if !attributes_ok {
        return DatabaseFact::Damaged(
            "it is not a regular file of root:root with mode 0644 and one link".into(),
        );
    }
    match hostward_accounts::decode_all(&content) {
        Ok((users, groups)) => DatabaseFact::Present(Accounts { users, groups }),
        Err(error) => DatabaseFact::Damaged(crate::finding::chain(&error)),
    }
}

/// Content and whether owner, group, mode, type and links are as they should be; `None` where there is nothing.
fn look(path: &Path, mode: u32, cap: u64) -> Option<(Vec<u8>, bool)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return None,
        // A link, a socket, a lease: there, but not as it should be.
        Err(_) => return Some((Vec::new(), false)),
    };
    let Ok(stat) = rustix::fs::fstat(&file) else {
        return Some((Vec::new(), false));
    };
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !regular || u64::try_from(stat.st_size).is_ok_and(|size| size > cap) {
        return Some((Vec::new(), false));
    }
    let mut content = Vec::new();
    let read = File::from(file).take(cap).read_to_end(&mut content);
    let attributes_ok = read.is_ok()
        && stat.st_uid == 0
        && stat.st_gid == 0
        && stat.st_nlink == 1
        && stat.st_mode & 0o7777 == mode;
    Some((content, attributes_ok))
}
