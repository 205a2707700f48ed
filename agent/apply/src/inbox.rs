//! The inbox: what the agent mirrored, written by an enemy as far as root is concerned.
//!
//! Flat; names outside a short list do not exist; each file is read once into memory, under a cap of its own and a
//! budget for all. Nothing of its content is ever quoted.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use hostward_protocol::document::Kind;

use crate::distrust::{self, Demands, ReadError};
use crate::root::{INBOX, Root};

/// The most that one admission reads, in bytes.
const BUDGET: u64 = 1 << 30;

/// What a name in the inbox stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `timestamp.json`
    Timestamp,
    /// `N.root.json`
    Root(u64),
    /// `N.snapshot.json`
    Snapshot(u64),
    /// `N.targets.json`
    Targets(u64),
    /// `SHA256.TARGET`
    Target(Kind),
    /// `host-certificates`: no part of the policy
    HostCertificates,
}

/// Certificates for this host's own keys, a line each.
pub const HOST_CERTIFICATES: &str = "host-certificates";

impl Name {
    /// Reads a name; `None` for one that the inbox does not have, whatever the directory holds.
    pub fn parse(name: &str) -> Option<Name> {
        if name == "timestamp.json" {
            return Some(Name::Timestamp);
        }
        if name == HOST_CERTIFICATES {
            return Some(Name::HostCertificates);
        }
        let (first, rest) = name.split_once('.')?;
        if first.len() == 64 {
            let hex = first.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            return Kind::of_target(rest).filter(|_| hex).map(|(kind, _)| Name::Target(kind));
        }
        let version: u64 = first.parse().ok()?;
        if version == 0 || version.to_string() != first {
            return None;
        }
        match rest {
            "root.json" => Some(Name::Root(version)),
            "snapshot.json" => Some(Name::Snapshot(version)),
            "targets.json" => Some(Name::Targets(version)),
            _ => None,
        }
    }

    /// The largest file of this name that is read, in bytes.
    pub fn cap(self) -> u64 {
        match self {
            Name::Timestamp | Name::Snapshot(_) | Name::HostCertificates => 256 << 10,
            Name::Root(_) => 1 << 20,
            Name::Targets(_) => 16 << 20,
            Name::Target(kind) => kind.max_len(),
        }
    }
}

/// Why a file of the inbox was not read.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The directory itself cannot be used.
    #[error("cannot use the inbox `{INBOX}`")]
    Directory(#[source] ReadError),
    /// A name that the inbox does not have.
    #[error("the inbox has no such name")]
    Name,
    /// The file is not one that root reads.
    #[error("`{name}` in the inbox is refused")]
    File {
        /// Its name, one of the short list.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// More than one admission reads.
    #[error("the inbox holds more than the {BUDGET} bytes that one admission reads")]
    Budget,
}

impl InboxError {
    /// Whether the file simply is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            InboxError::Name
                | InboxError::Directory(ReadError::NotFound)
                | InboxError::File { source: ReadError::NotFound, .. }
        )
    }

    /// Whether the file is larger than a host reads.
    pub fn is_too_large(&self) -> bool {
        matches!(self, InboxError::File { source: ReadError::TooLarge { .. }, .. })
    }
}

/// The inbox, open.
#[derive(Debug)]
pub struct Inbox {
    directory: OwnedFd,
    owner: u32,
    left: AtomicU64,
}

impl Inbox {
    /// Opens it. `owner` is the agent's uid.
    pub fn open(root: &Root, owner: u32) -> Result<Inbox, InboxError> {
        let directory = distrust::directory(&root.path(INBOX), owner).map_err(InboxError::Directory)?;
        Ok(Inbox { directory, owner, left: AtomicU64::new(BUDGET) })
    }

    /// Reads one file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, InboxError> {
        let parsed = Name::parse(name).ok_or(InboxError::Name)?;
        let demands = Demands { owner: self.owner, cap: parsed.cap(), forbidden_mode: 0 };
        let content = distrust::read_at(&self.directory, name, demands)
            .map_err(|source| InboxError::File { name: name.into(), source })?;
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(content.len() as u64))
            .map_err(|_| InboxError::Budget)?;
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_few_names_exist() {
        let sha = "a".repeat(64);
        assert_eq!(Name::parse("timestamp.json"), Some(Name::Timestamp));
        assert_eq!(Name::parse("host-certificates"), Some(Name::HostCertificates));
        assert_eq!(Name::parse("12.root.json"), Some(Name::Root(12)));
        assert_eq!(Name::parse(&format!("{sha}.users-00.json")), Some(Name::Target(Kind::Users)));
        for name in [
            "",
            ".",
            "..",
            "root.json",
            "0.root.json",
            "01.root.json",
            "+1.root.json",
            "1.root.json.bak",
            "1.timestamp.json",
            "../1.root.json",
            "99999999999999999999.root.json",
            "snapshot.json",
            &format!("{sha}.passwd"),
            &format!("{}.project.json", "A".repeat(64)),
            &format!("{sha}.users-00.json/x"),
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
