//! Homes that a crash kept from being finished.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use hostward_records::Id;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::{Doing, Error, lock, place};

/// Deeper than anything that was made here.
const DEPTH: usize = 64;

fn prefix(uid: u32) -> String {
    format!(".hostward-new-{uid}-")
}

/// The name under which a home grows.
pub(super) fn name(uid: u32, id: &Id) -> CString {
    // Digits and hyphens: there is no NUL in it.
    CString::new(format!("{}{id}", prefix(uid))).unwrap_or_default()
}

/// Removes what is left of earlier attempts for this uid. What somebody works on is locked, and is left alone.
pub(super) fn remove(parent: &OwnedFd, uid: u32) -> Result<(), Error> {
    let prefix = prefix(uid);
    for (name, _) in entries(parent).doing("list the directory it is to be in")? {
        if !name.to_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let Ok(directory) = place::directory(parent, &name) else { continue };
        if lock(&directory).is_ok() {
            // Another session may be doing the same, and what stays is no hindrance.
            let _removed = remove_tree(parent, &name);
        }
    }
    Ok(())
}

/// Removes a directory and all that is in it, through no link.
pub(super) fn remove_tree(parent: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    remove_to(parent, name, DEPTH)
}

fn remove_to(parent: &OwnedFd, name: &CStr, depth: usize) -> Result<(), Errno> {
    let directory = place::directory(parent, name)?;
    for (entry, kind) in entries(&directory)? {
        if kind == FileType::Directory && depth > 0 {
            remove_to(&directory, &entry, depth - 1)?;
        } else {
            rustix::fs::unlinkat(&directory, &entry, AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// What is in a directory, without itself and its parent, each with what it is.
pub(super) fn entries(directory: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let status = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(status.st_mode)
            }
            known => known,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}
