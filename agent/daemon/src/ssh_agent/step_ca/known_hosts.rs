//! The file in which ssh finds the step-ca's host CAs. It says in its first line whose they are: those of another CA count
//! for nothing.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hostward_ssh_agent::Keys;
use ssh_key::PublicKey;

use crate::disk::{self, DiskError};

/// More than any CA has.
const MOST: usize = 64;
/// The longest file that is read.
const MAX_LEN: u64 = 1 << 20;

/// The file, and what is in it.
#[derive(Debug)]
pub struct KnownHosts {
    path: PathBuf,
    head: String,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    text: String,
    keys: Arc<Keys>,
}

impl KnownHosts {
    /// What an earlier run left there of the same CA; of another one it is removed.
    pub fn open(path: PathBuf, head: String) -> Self {
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_LEN).read_to_string(&mut text));
        if read.is_ok() && text.starts_with(&head) {
            let keys = Arc::new(Keys::of_known_hosts(&text));
            return KnownHosts { path, head, held: Mutex::new(Held { text, keys }) };
        }
        let known_hosts = KnownHosts { path, head, held: Mutex::default() };
        known_hosts.forget();
        known_hosts
    }

    fn forget(&self) {
        *self.held() = Held::default();
        if let Err(error) = disk::remove(&self.path) {
            log::warn!("{error}");
        }
    }

    /// The CAs that it names.
    pub fn keys(&self) -> Arc<Keys> {
        self.held().keys.clone()
    }

    /// These sign for hosts now.
    pub fn put(&self, cas: &[PublicKey]) -> Result<(), DiskError> {
        let lines = cas.iter().take(MOST).filter_map(|key| key.to_openssh().ok());
        let text: String = std::iter::once(self.head.clone())
            .chain(lines.map(|line| format!("@cert-authority * {line}\n")))
            .collect();
        let mut held = self.held();
        if held.text != text {
            disk::publish(&self.path, text.as_bytes())?;
            *held = Held { keys: Arc::new(Keys::of_known_hosts(&text)), text };
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNIIhm0F2SGChPWeu03FhwNRRGp5Gb7CGoPB2pnmgUx";

    #[test]
    fn what_one_ca_vouched_for_is_not_believed_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        let open = |head: &str| KnownHosts::open(path.clone(), head.into());
        let first = open("# one\n");
        assert!(first.keys().is_empty());
        first.put(&[PublicKey::from_openssh(KEY).unwrap()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("# one\n@cert-authority * {KEY}\n"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644, "everybody's ssh reads it");
        assert!(!open("# one\n").keys().is_empty(), "it is there after a restart");
        assert!(open("# two\n").keys().is_empty());
        assert!(!path.exists());
    }
}
