//! Where the host's files are.
//!
//! Every path of this crate hangs off a [`Root`]: `/` on a host, a directory in tests.

use std::path::{Path, PathBuf};

use hostward_plan::facts::OwnDirectory;

/// The operator's root of trust, the strongest there is.
pub const ROOT_JSON: &str = "/etc/hostward/root.json";
/// The enrollment token as the operator puts it.
pub const TOKEN: &str = "/etc/hostward/enrollment.token";
/// What only root may list.
pub const PRIVATE: &str = OwnDirectory::Private.path();
/// The enrollment token once root has taken it.
pub const TAKEN_TOKEN: &str = "/var/lib/hostward/private/enrollment.token";
/// The committed store.
pub const STORE: &str = OwnDirectory::Store.path();
/// What the host is pinned to.
pub const TRUST: &str = "/var/lib/hostward/trust.json";
/// What hostward remembers.
pub const LEDGER: &str = "/var/lib/hostward/ledger.json";
/// What everybody may know.
pub const STATUS: &str = "/var/lib/hostward/status.json";
/// The last report.
pub const REPORT: &str = "/var/lib/hostward/report.json";
/// What was found and done since the agent last had a report.
pub const UNTOLD: &str = "/var/lib/hostward/untold.json";
/// CA and KRL.
pub const SSH: &str = OwnDirectory::Ssh.path();
/// Homes of former users.
pub const ARCHIVE: &str = OwnDirectory::Archive.path();
/// Which homes could not be settled, and when each is tried again.
pub const HOME_RETRIES: &str = "/var/lib/hostward/home-retries.json";
/// What the agent mirrored.
pub const INBOX: &str = "/var/lib/hostward-agent/inbox";
/// The account database; the same path as [`hostward_accounts::PATH`].
pub const DATABASE: &str = "/var/lib/misc/hostward.db";
/// What is gone after a boot.
pub const RUN: &str = "/run/hostward";
/// Held by whoever works.
pub const LOCK: &str = "/run/hostward/apply.lock";
/// sshd's main file.
pub const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";
/// sshd's drop-ins.
pub const SSHD_DROP_INS: &str = "/etc/ssh/sshd_config.d";

/// The directory that all paths hang off.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// The host itself.
    pub fn host() -> Root {
        Root("/".into())
    }

    /// A directory that looks like a host's root, for tests.
    pub fn below(directory: impl Into<PathBuf>) -> Root {
        Root(directory.into())
    }

    /// Where the absolute path `path` is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}
