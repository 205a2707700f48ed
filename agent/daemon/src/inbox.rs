//! The inbox: a flat directory of the agent's that root reads. Files appear there whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use aws_lc_rs::digest;

use crate::disk::{self, DiskError};
use crate::machine::hex;

/// The name of the newest timestamp. Put there last: until then root sees the version before.
pub const TIMESTAMP: &str = "timestamp.json";

/// The name of certificates for the host's own keys, a line each. No part of the policy.
pub const HOST_CERTIFICATES: &str = "host-certificates";

/// The inbox.
#[derive(Clone, Debug)]
pub struct Inbox {
    dir: PathBuf,
}

/// A file on its way in, gone again if it is not finished.
pub struct Incoming {
    file: tempfile::NamedTempFile<File>,
    to: PathBuf,
    digest: digest::Context,
    length: u64,
}

impl Inbox {
    /// The inbox in `dir`, made where there is none.
    pub fn open(dir: PathBuf) -> Result<Self, DiskError> {
        disk::private_dir(&dir)?;
        Ok(Inbox { dir })
    }

    /// Puts a whole file there.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let mut incoming = self.receive(name)?;
        incoming.write(bytes)?;
        incoming.finish()
    }

    /// Begins a file whose bytes are still to come.
    pub fn receive(&self, name: &str) -> Result<Incoming, DiskError> {
        let to = self.dir.join(name);
        // tempfile makes it with O_EXCL, mode 0600.
        let file = tempfile::Builder::new()
            .prefix(".part-")
            .tempfile_in(&self.dir)
            .map_err(|source| DiskError::Write { path: to.clone(), source })?;
        Ok(Incoming { file, to, digest: digest::Context::new(&digest::SHA256), length: 0 })
    }

    /// Whether a file of that name is there. What is there is whole and was checked as it came.
    pub fn has(&self, name: &str) -> bool {
        self.dir.join(name).is_file()
    }

    /// Removes everything of the policy but `keep`.
    pub fn sweep(&self, keep: &BTreeSet<String>) -> Result<(), DiskError> {
        self.remove_unless(|name| name == HOST_CERTIFICATES || keep.contains(name))
    }

    /// Removes everything.
    pub fn clear(&self) -> Result<(), DiskError> {
        self.remove_unless(|_| false)
    }

    fn remove_unless(&self, is_kept: impl Fn(&str) -> bool) -> Result<(), DiskError> {
        let failed = |source| DiskError::Read { path: self.dir.clone(), source };
        for entry in std::fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().to_str().is_some_and(&is_kept) {
                disk::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Incoming {
    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|source| self.failed(source))
    }

    /// How many bytes came.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// SHA-256 of them, hex.
    pub fn sha256(&self) -> String {
        hex(self.digest.clone().finish().as_ref())
    }

    /// Puts it in place. It is not forced to the disk: after a power cut it is fetched again.
    pub fn finish(self) -> Result<(), DiskError> {
        let to = self.to;
        self.file.persist(&to).map(drop).map_err(|e| DiskError::Write { path: to, source: e.error })
    }

    fn failed(&self, source: io::Error) -> DiskError {
        DiskError::Write { path: self.to.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_appear_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(dir.path().join("inbox")).unwrap();
        let mut incoming = inbox.receive("x.json").unwrap();
        incoming.write(b"ab").unwrap();
        assert!(!inbox.has("x.json"));
        incoming.write(b"c").unwrap();
        assert_eq!(incoming.length(), 3);
        assert_eq!(incoming.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        incoming.finish().unwrap();
        assert!(inbox.has("x.json"));

        inbox.put(TIMESTAMP, b"{}").unwrap();
        drop(inbox.receive("y.json").unwrap());
        std::fs::write(dir.path().join("inbox/.part-left"), "x").unwrap();
        inbox.sweep(&BTreeSet::from([TIMESTAMP.to_owned()])).unwrap();
        let names: Vec<_> =
            std::fs::read_dir(dir.path().join("inbox")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [TIMESTAMP]);
        inbox.put(HOST_CERTIFICATES, b"x").unwrap();
        inbox.sweep(&BTreeSet::new()).unwrap();
        assert!(inbox.has(HOST_CERTIFICATES) && !inbox.has(TIMESTAMP));
        inbox.clear().unwrap();
        assert!(!inbox.has(HOST_CERTIFICATES));
    }
}
