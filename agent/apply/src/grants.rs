//! What the agent is told of who has which grant here, for the record. Nothing on the host goes by it.

use std::os::unix::fs::MetadataExt;

use hostward_protocol::grants::{GRANTS_FILE, Grants};
use hostward_protocol::report::Finding;
use hostward_records::DIRECTORY;

use crate::durable::{self, Attributes, WriteError};
use crate::finding;
use crate::root::Root;

/// Says it, where it differs from what was said before. The group that may read it is the one that reads records.
pub fn tell(root: &Root, grants: &Grants) -> Option<Finding> {
    let group = std::fs::metadata(root.path(DIRECTORY)).ok()?.gid();
    let path = root.path(GRANTS_FILE);
    let json = grants.json();
    // Root's own file: what is there is what was written, or is replaced.
    if std::fs::read(&path).is_ok_and(|found| found == json) {
        return None;
    }
    let attributes = Attributes { uid: 0, gid: group, mode: 0o640 };
    let written = durable::replace(&path, &json, attributes);
    written.err().map(|error| finding::host("grants-not-told", format!("`{GRANTS_FILE}`"), &error))
}

/// Takes it back.
pub fn forget(root: &Root) -> Result<(), WriteError> {
    durable::remove(&root.path(GRANTS_FILE))
}
