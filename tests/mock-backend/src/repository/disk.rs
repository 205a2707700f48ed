//! The repository on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{KEPT_VERSIONS, Repository, RepositoryError, Root, Version};
use crate::file::{self, Access};
use crate::metadata::RoleKeys;

#[derive(Deserialize)]
struct Signed<T> {
    signed: T,
}

#[derive(Deserialize)]
struct Expiry {
    expires: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Targets {
    targets: std::collections::BTreeMap<String, Target>,
}

#[derive(Deserialize)]
struct Target {
    length: u64,
    hashes: Hashes,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: String,
}

impl Repository {
    pub(super) fn load(&mut self) -> Result<(), RepositoryError> {
        file::make_private_dir(&self.blob_directory())?;
        while let Some(root) = self.read_root(self.roots.len() as u64 + 1)? {
            self.roots.push(root);
        }
        let mut numbers: Vec<u64> = file::list(&self.directory)?
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.strip_suffix(".timestamp.json"))
            .filter_map(|number| number.parse().ok())
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            let version = self.read_version(number)?;
            for (_, sha256) in version.contents.values() {
                if !self.blobs.contains_key(sha256) {
                    let bytes = file::read(&self.blob_directory().join(sha256))?;
                    self.blobs.insert(sha256.clone(), Bytes::from(bytes));
                }
            }
            self.list_targets(&version.contents);
            self.versions.insert(number, version);
        }
        Ok(())
    }

    fn read_root(&self, version: u64) -> Result<Option<Root>, RepositoryError> {
        let path = self.metadata_path(version, "root");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = file::read(&path)?;
        Ok(Some(Root {
            keys: RoleKeys::read(&bytes).map_err(|e| foreign(&path, e))?,
            expires: parse::<Expiry>(&path, &bytes)?.expires,
            bytes: Bytes::from(bytes),
        }))
    }

    fn read_version(&self, number: u64) -> Result<Version, RepositoryError> {
        let path = self.metadata_path(number, "targets");
        let targets = file::read(&path)?;
        let listed = parse::<Targets>(&path, &targets)?.targets.into_iter();
        let path = self.metadata_path(number, "timestamp");
        let signed = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
        Ok(Version {
            timestamp: file::read(&path)?.into(),
            snapshot: file::read(&self.metadata_path(number, "snapshot"))?.into(),
            targets: targets.into(),
            contents: listed.map(|(name, target)| (name, (target.length, target.hashes.sha256))).collect(),
            signed: signed.map_or(DateTime::UNIX_EPOCH, DateTime::from),
        })
    }

    pub(super) fn store_root(&self, version: u64, bytes: &[u8]) -> Result<(), RepositoryError> {
        let path = self.metadata_path(version, "root");
        Ok(file::replace(&path, bytes, Access::Everybody)?)
    }

    pub(super) fn store_blob(&mut self, sha256: &str, bytes: &Bytes) -> Result<(), RepositoryError> {
        if !self.blobs.contains_key(sha256) {
            let path = self.blob_directory().join(sha256);
            file::replace(&path, bytes, Access::Everybody)?;
            self.blobs.insert(sha256.to_owned(), bytes.clone());
        }
        Ok(())
    }

    /// The timestamp last: with it the version is there.
    pub(super) fn store_version(&self, number: u64, version: &Version) -> Result<(), RepositoryError> {
        for (role, bytes) in [
            ("targets", &version.targets),
            ("snapshot", &version.snapshot),
            ("timestamp", &version.timestamp),
        ] {
            file::replace(&self.metadata_path(number, role), bytes, Access::Everybody)?;
        }
        Ok(())
    }

    /// Forgets the oldest versions, and targets that no version has any more.
    pub(super) fn prune(&mut self) {
        let before = self.versions.len();
        while self.versions.len() > KEPT_VERSIONS {
            if let Some((number, _)) = self.versions.pop_first() {
                for role in ["timestamp", "snapshot", "targets"] {
                    let _ = std::fs::remove_file(self.metadata_path(number, role));
                }
            }
        }
        if self.versions.len() == before {
            return;
        }
        let versions = self.versions.values();
        let contents = versions.flat_map(|version| version.contents.values());
        let used: std::collections::HashSet<&str> = contents.map(|(_, sha256)| sha256.as_str()).collect();
        let directory = self.blob_directory();
        self.blobs.retain(|sha256, _| {
            let keep = used.contains(sha256.as_str());
            if !keep {
                let _ = std::fs::remove_file(directory.join(sha256));
            }
            keep
        });
        let blobs = &self.blobs;
        let kept = |file: &str| file.split_once('.').is_some_and(|(sha256, _)| blobs.contains_key(sha256));
        Arc::make_mut(&mut self.files).retain(|file, _| kept(file));
    }

    fn metadata_path(&self, number: u64, role: &str) -> PathBuf {
        self.directory.join(format!("{number}.{role}.json"))
    }

    fn blob_directory(&self) -> PathBuf {
        self.directory.join("targets")
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, RepositoryError> {
    let parsed: Result<Signed<T>, _> = serde_json::from_slice(bytes);
    parsed.map(|outer| outer.signed).map_err(|e| foreign(path, e))
}

fn foreign(path: &Path, source: serde_json::Error) -> RepositoryError {
    RepositoryError::Foreign { path: path.to_owned(), source }
}
