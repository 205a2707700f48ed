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
    /// Its name with a domain, where it knows of one.
    pub fqdn: Option<String>,
    /// The name that people should use, where the operator set one.
    pub canonical_name: Option<String>,
    /// Further names.
    pub alt_names: Vec<String>,
    /// What the cloud that it runs in calls it, where cloud-init says so.
    pub instance_id: Option<String>,
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

/// `POST /v1/ssh/service-certificates`: a certificate for the user that a local account stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCertificateRequest {
    /// Uid of the local account. The backend looks up the binding; the host does not say who the user is.
    pub uid: u32,
    /// The public key to certify, a line as in an OpenSSH `.pub` file.
    pub public_key: String,
    /// Who asked, as far as it could be seen. No decision rests on it.
    #[serde(default)]
    pub hint: CallerHint,
}

/// What was seen of the process that asked for a certificate: hints, for the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallerHint {
    /// Its process id.
    pub pid: Option<u32>,
    /// The systemd unit it ran in.
    pub unit: Option<String>,
}

/// Answer to [`ServiceCertificateRequest`], 201.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCertificate {
    /// The certificate, a line as in an OpenSSH `-cert.pub` file.
    pub certificate: String,
}

/// `POST /v1/ssh/host-certificates`: certificates for the host's own keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCertificatesRequest {
    /// The host's public keys, each a line as in an OpenSSH `.pub` file; those of the host's last description.
    pub keys: Vec<String>,
}

/// Answer to [`HostCertificatesRequest`], 201.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCertificates {
    /// A certificate for each key that the backend certifies, lines as in OpenSSH `-cert.pub` files.
    pub certificates: Vec<String>,
}

/// Answer to `GET /v1/hosts?name=NAME&uid=UID`, 200: the live hosts that match best, of those that the user bound to
/// the uid may enter. None: nobody knows the name. More than one: it is ambiguous.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Sorted by id.
    pub hosts: Vec<Target>,
}

/// A host that a client can go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The host's id at the backend; a principal of its host certificates.
    pub id: String,
    /// Its project.
    pub project: String,
    /// By which of its names it was found.
    pub matched: Matched,
    /// As its `hostname` says.
    pub hostname: String,
    /// The name that people should use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_name: Option<String>,
    /// Where clients connect to: a name or an address.
    pub address: String,
    /// Port of its sshd.
    pub port: u16,
    /// Name of the host through which clients come; it is looked up like any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion: Option<String>,
    /// When it was last heard of, RFC 3339.
    pub last_seen: chrono::DateTime<chrono::Utc>,
}

/// By which of its names a host was found, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matched {
    /// Its id or canonical name.
    Id,
    /// Its instance id in a cloud.
    Instance,
    /// Its hostname.
    Hostname,
    /// An alternative name.
    AltName,
    /// Its address.
    Address,
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
