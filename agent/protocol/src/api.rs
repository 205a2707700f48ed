//! Requests and answers of the backend's API (`docs/openapi.yaml`).

use serde::{Deserialize, Serialize};

/// Header that makes a repeated POST harmless.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// `POST /v1/enroll`, with a host credential signed by the key that it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// Project id, from the token.
    pub project: String,
    /// Why the backend should believe it.
    pub proof: Proof,
    /// The host's Ed25519 public key, 32 bytes, base64url without padding.
    pub key: String,
    /// What the host says of itself.
    pub host: HostInfo,
}

/// Why the backend should believe that the host belongs to the project.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Proof {
    /// The secret of an enrollment token.
    Token {
        /// The token's secret.
        secret: String,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Proof::Token { .. } => f.write_str("Token(..)"),
        }
    }
}

/// Answer to [`EnrollRequest`], 201.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollResponse {
    /// The host's id at the backend, `iss` and `sub` of its credentials.
    pub host_id: String,
    /// Where the project's TUF repository is: absolute, or relative to the backend's URL; ends in `/`.
    /// Metadata is at `<repository>timestamp.json`, targets at `<repository>targets/<sha256>.<name>`.
    pub repository: String,
}

/// What a host says of itself: `POST /v1/enroll` and `PUT /v1/hosts/self`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostInfo {
    /// As `hostname` prints it.
    pub hostname: String,
    /// The name that people should use, where the operator set one.
    pub canonical_name: Option<String>,
    /// Further names.
    pub alt_names: Vec<String>,
    /// The address that clients use.
    pub access_address: Option<String>,
    /// The host through which clients come.
    pub bastion: Option<String>,
    /// Labels from the operator's configuration, as information: the host itself selects its grants.
    pub labels: std::collections::BTreeMap<String, String>,
    /// `ID` of os-release(5).
    pub os: String,
    /// `VERSION_ID` of os-release(5).
    pub os_version: String,
    /// Kernel architecture, as `uname -m` prints it.
    pub architecture: String,
    /// Version of hostward.
    pub agent_version: String,
    /// SSH host public keys, each a line as in an OpenSSH `.pub` file.
    pub ssh_host_keys: Vec<String>,
    /// Port that sshd listens on.
    pub ssh_port: Option<u16>,
    /// HMAC-SHA-256 of the machine id, hex: equal for the same machine, telling nothing else.
    pub machine: String,
}

/// Claims of a host credential: a JWT (EdDSA) that is good for one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The host id; at enrollment, before there is one, the key's thumbprint: `key:` and the base64url SHA-256 of its 32 bytes.
    pub iss: String,
    /// The same as `iss`.
    pub sub: String,
    /// The backend's origin: scheme, host, and port where it is not the scheme's own.
    pub aud: String,
    /// HTTP method.
    pub htm: String,
    /// Full URL of the request, without fragment.
    pub htu: String,
    /// base64url SHA-256 of the body, that of the empty string where there is none.
    pub bh: String,
    /// Seconds since the epoch; good for 60 s around it.
    pub iat: i64,
    /// `iat` + 60.
    pub exp: i64,
    /// Random, so that no two credentials are the same.
    pub jti: String,
}
