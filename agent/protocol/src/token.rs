//! The enrollment token: what an operator puts on a host so that it may enroll.

use serde::{Deserialize, Serialize};

/// An enrollment token. On disk it is base64url, without padding, of this as JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollmentToken {
    /// The backend's URL, https.
    pub url: String,
    /// Project id.
    pub project: String,
    /// Known to the backend and the bearer only.
    pub secret: String,
    /// SHA-256 of the project's `root.json` of version `root_version`, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_sha256: Option<String>,
    /// Version of that `root.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_version: Option<u64>,
}

impl std::fmt::Debug for EnrollmentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollmentToken")
            .field("url", &self.url)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

/// The largest token file that is read, in bytes.
pub const MAX_TOKEN_LEN: u64 = 16 << 10;
