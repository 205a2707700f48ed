//! What the agent offers besides the policy: certificates for this host's own keys. Only read here; what they are worth is
//! the plan's to say.

use hostward_plan::facts::OfferedCertificates;

use crate::finding::chain;
use crate::inbox::{HOST_CERTIFICATES, Inbox};
use crate::root::Root;

/// The most lines that are looked at: a host has a key of each kind.
const MOST: usize = 16;

/// What is in the inbox of the agent, whose uid is `owner`.
pub fn certificates(root: &Root, owner: Option<u32>) -> OfferedCertificates {
    let Some(owner) = owner else {
        return OfferedCertificates::None;
    };
    let bytes = match Inbox::open(root, owner).and_then(|inbox| inbox.read(HOST_CERTIFICATES)) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return OfferedCertificates::None,
        Err(error) => return OfferedCertificates::Unreadable(chain(&error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    OfferedCertificates::Lines(text.lines().take(MOST).map(str::to_owned).collect())
}
