//! Who the host is at the backend: an Ed25519 key made here and what it is enrolled as.
//!
//! `host.json` names its key by thumbprint, so that replacing that one file switches from one identity to the
//! next in one step, whatever else was written before a power cut.

mod key;

pub use key::{HostKey, KeyError, Purpose, sha256_base64url};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hostward_protocol::api::HostInfo;
use hostward_protocol::report::Finding;
use serde::{Deserialize, Serialize};

use crate::disk::{self, DiskError, Durability};
use crate::random;

const HOST: &str = "host.json";
const PENDING: &str = "enrolling.json";

/// What the host is enrolled as: `host.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The host's id at the backend.
    pub host_id: String,
    /// The backend.
    pub url: String,
    /// Project id.
    pub project: String,
    /// The project's repository, absolute, ending in `/`.
    pub repository: String,
    /// HMAC of the machine that enrolled.
    pub machine: String,
    /// Thumbprint of the key.
    pub key: String,
    /// Digest of the token that was used, so that a token left over after a power cut is not used twice.
    pub token: String,
    /// The first `root.json` that root wants, where its pin says so.
    pub first_root: Option<u64>,
}

/// An identity that may be used here.
#[derive(Debug)]
pub struct Identity {
    /// What the host is enrolled as.
    pub enrollment: Enrollment,
    /// Its key.
    pub key: HostKey,
}

/// What was found on this host.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It was never enrolled.
    Nobody,
    /// It is a copy of the machine that was: the identity is kept and never used.
    Clone(Enrollment),
    /// What it was enrolled as cannot be read: kept until another enrollment succeeds, and never used.
    Damaged(Finding),
    /// It is enrolled.
    Host(Arc<Identity>),
}

/// A key that is being registered.
#[derive(Debug)]
pub struct Pending {
    /// The key.
    pub key: HostKey,
    /// Makes a repeated attempt harmless, after a restart too.
    pub idempotency_key: String,
    /// What the host said of itself at the first attempt: a repetition is the same request.
    pub host: HostInfo,
    token: String,
}

#[derive(Serialize, Deserialize)]
struct PendingFile {
    machine: String,
    token: String,
    key: String,
    idempotency_key: String,
    host: HostInfo,
}

/// Why an identity cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of it.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The key file cannot be read.
    #[error("cannot read the host's key `{path}`: {source}", path = path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is in the key file.
    #[error("`{path}`: {source}", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
}

/// What `dir` holds, on this `machine`.
pub fn load(dir: &Path, machine: &str) -> Result<Standing, IdentityError> {
    let Some(enrollment) = disk::read_json::<Enrollment>(&dir.join(HOST))? else {
        return Ok(Standing::Nobody);
    };
    if enrollment.machine != machine {
        return Ok(Standing::Clone(enrollment));
    }
    let key = read_key(dir, &enrollment.key)?;
    Ok(Standing::Host(Arc::new(Identity { enrollment, key })))
}

/// The key to register with a token, the same one for every attempt with the same token.
pub fn pending(dir: &Path, machine: &str, token: &str, host: HostInfo) -> Result<Pending, IdentityError> {
    disk::private_dir(dir)?;
    let file = disk::read_json::<PendingFile>(&dir.join(PENDING)).unwrap_or_default();
    if let Some(file) = file.filter(|f| f.machine == machine && f.token == token)
        && let Ok(key) = read_key(dir, &file.key)
    {
        return Ok(Pending {
            key,
            idempotency_key: file.idempotency_key,
            host: file.host,
            token: file.token,
        });
    }
    let (key, pkcs8) =
        HostKey::generate().map_err(|source| IdentityError::Key { path: dir.into(), source })?;
    disk::replace(&key_path(dir, key.thumbprint()), &pkcs8, Durability::Synced)?;
    let file = PendingFile {
        machine: machine.into(),
        token: token.into(),
        key: key.thumbprint().into(),
        idempotency_key: random::id(),
        host,
    };
    disk::replace_json(&dir.join(PENDING), &file, Durability::Synced)?;
    Ok(Pending { key, idempotency_key: file.idempotency_key, host: file.host, token: file.token })
}

/// What the backend answered to an enrollment.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The host's id.
    pub host_id: String,
    /// The backend.
    pub url: String,
    /// Project id.
    pub project: String,
    /// The project's repository.
    pub repository: String,
    /// The first `root.json` that root wants.
    pub first_root: Option<u64>,
}

/// Makes a registered key this host's identity; whatever was there before is gone afterwards.
pub fn commit(
    dir: &Path,
    machine: &str,
    pending: Pending,
    granted: Granted,
) -> Result<Arc<Identity>, IdentityError> {
    let enrollment = Enrollment {
        host_id: granted.host_id,
        url: granted.url,
        project: granted.project,
        repository: granted.repository,
        machine: machine.into(),
        key: pending.key.thumbprint().into(),
        token: pending.token,
        first_root: granted.first_root,
    };
    disk::replace_json(&dir.join(HOST), &enrollment, Durability::Synced)?;
    disk::remove(&dir.join(PENDING))?;
    remove_keys(dir, Some(&enrollment.key));
    Ok(Arc::new(Identity { enrollment, key: pending.key }))
}

/// The key being registered will never be: forgets it, not what the host is enrolled as.
pub fn abandon(dir: &Path, standing: &Standing) -> Result<(), IdentityError> {
    disk::remove(&dir.join(PENDING))?;
    match standing {
        Standing::Nobody => remove_keys(dir, None),
        // Which key is the host's is what cannot be read.
        Standing::Damaged(_) => {}
        Standing::Clone(enrollment) => remove_keys(dir, Some(&enrollment.key)),
        Standing::Host(identity) => remove_keys(dir, Some(&identity.enrollment.key)),
    }
    Ok(())
}

/// Forgets everything.
pub fn discard(dir: &Path) -> Result<(), IdentityError> {
    disk::remove(&dir.join(HOST))?;
    disk::remove(&dir.join(PENDING))?;
    remove_keys(dir, None);
    Ok(())
}

fn key_path(dir: &Path, thumbprint: &str) -> PathBuf {
    dir.join(format!("{thumbprint}.p8"))
}

fn read_key(dir: &Path, thumbprint: &str) -> Result<HostKey, IdentityError> {
    let path = key_path(dir, thumbprint);
    let pkcs8 = match std::fs::read(&path) {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        Err(source) => return Err(IdentityError::ReadKey { path, source }),
    };
    HostKey::from_pkcs8(&pkcs8, thumbprint).map_err(|source| IdentityError::Key { path, source })
}

fn remove_keys(dir: &Path, keep: Option<&str>) {
    let keep = keep.map(|thumbprint| key_path(dir, thumbprint));
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|e| e == "p8") && Some(&path) != keep.as_ref() {
            // A key that nothing names is of no use to anybody; it is tried again at the next enrollment.
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests;
