//! Managed files that need no validation by another program.

use hostward_plan::facts::{ManagedFile, OwnDirectory};
use hostward_protocol::report::Finding;

use super::{Done, write_failed};
use crate::durable::{self, Attributes};
use crate::root::Root;

/// Replaces one.
pub fn install(root: &Root, file: ManagedFile, content: &[u8]) -> Result<Done, Finding> {
    let path = root.path(file.path());
    make_directory(root, file)
        .and_then(|()| durable::replace(&path, content, Attributes::root(file.mode())))
        .map_err(|error| write_failed(file.path(), &error))?;
    Ok(Done::default())
}

/// Makes the directory of what sshd, ssh and PAM read. Those in /etc belong to other packages.
pub fn make_directory(root: &Root, file: ManagedFile) -> Result<(), durable::WriteError> {
    match file {
        ManagedFile::UserCa
        | ManagedFile::Krl
        | ManagedFile::Services
        | ManagedFile::KnownHosts
        | ManagedFile::ClientConfig
        | ManagedFile::HostCertificate(_) => durable::own_directory(root, OwnDirectory::Ssh),
        ManagedFile::Denied => durable::own_directory(root, OwnDirectory::State),
        ManagedFile::Sudoers | ManagedFile::SshdDropIn => Ok(()),
    }
}

/// Removes one. That it is not there is no error.
pub fn remove(root: &Root, file: ManagedFile) -> Result<(), Finding> {
    durable::remove(&root.path(file.path())).map_err(|error| write_failed(file.path(), &error))
}
