//! The operator's configuration of one host: `/etc/hostward/hostward.toml`.
//!
//! An absent file is the default configuration. Unknown keys are errors that name file, line and key,
//! because a misspelt limit that is silently ignored is no limit.

mod accounts;
mod duration;
mod events;
mod load;
mod name;
mod siem;
pub mod sshd_config;
mod step_ca;

pub use accounts::{Accounts, IdRange};
pub use duration::Seconds;
pub use events::{Events, Size};
pub use load::{LoadError, load, parse};
pub use name::fully_qualified;
pub use siem::{Metrics, Otlp, OtlpUrl, Siem, Syslog, SyslogTarget, SyslogText};
pub use step_ca::{Account, CaUrl, Fingerprint, Service as StepCaService, StepCa};

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the configuration is.
pub const PATH: &str = "/etc/hostward/hostward.toml";

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The backend.
    pub backend: Backend,
    /// The root of trust.
    pub trust: Trust,
    /// What the host calls itself.
    pub host: Host,
    /// Labels that grants select by, seen there as `labels.NAME`.
    pub labels: BTreeMap<String, String>,
    /// Limits on accounts.
    pub accounts: Accounts,
    /// sudo.
    pub sudo: Sudo,
    /// sshd.
    pub sshd: Sshd,
    /// What is done when the backend is silent.
    pub policy: Policy,
    /// How the repository is polled.
    pub tuf: Tuf,
    /// How much of what happened is kept.
    pub events: Events,
    /// Where events go besides the backend.
    pub siem: Siem,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// step-ca as issuer of certificates for service accounts, in place of the backend. Needs no enrollment.
    pub step_ca: Option<StepCa>,
    /// Service users.
    pub service: ServiceUsers,
}

/// `[backend]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backend {
    /// PEM file of a private CA that signs the backend's certificate, believed besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Proxy URL; absent: `HTTPS_PROXY` and `NO_PROXY` of the service's environment.
    pub proxy: Option<String>,
}

/// `[trust]`: the strongest of `/etc/hostward/root.json`, these, and the token's pin counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Project id; a token for another project is refused.
    pub project: Option<String>,
    /// SHA-256 of the project's `root.json`, hex.
    pub root_sha256: Option<String>,
    /// Version of that `root.json`.
    pub root_version: Option<u64>,
    /// What to do without any pin: nothing (absent), or believe the first root that comes.
    pub mode: Option<TrustMode>,
}

/// What to do without any pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustMode {
    /// Believe the first root that comes.
    FirstUse,
}

/// `[host]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// The name that people should use.
    pub canonical_name: Option<String>,
    /// Further names.
    pub alt_names: Vec<String>,
    /// The address that clients use.
    pub access_address: Option<String>,
    /// The interface whose address clients use.
    pub access_interface: Option<String>,
    /// The host through which clients come.
    pub bastion: Option<String>,
}

/// `[sudo]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sudo {
    /// Whether sudo rules are written at all.
    pub manage: bool,
    /// Whether `raw` commands of entitlements are accepted.
    pub allow_raw: bool,
}

impl Default for Sudo {
    fn default() -> Self {
        Sudo { manage: true, allow_raw: false }
    }
}

/// `[sshd]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sshd {
    /// Whether sshd is configured at all.
    pub manage: bool,
}

impl Default for Sshd {
    fn default() -> Self {
        Sshd { manage: true }
    }
}

/// `[service]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceUsers {
    /// Whether the SSH agent refuses clients that do not say for which SSH session they ask.
    pub require_hostbound: bool,
    /// The names by which accounts go to hosts of the policy's, as patterns of ssh_config(5); any where there are none. A
    /// host may be called what it likes, and is gone to by its id in any case.
    #[serde(deserialize_with = "step_ca::patterns", skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
}

/// `[policy]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How long after the policy's timestamp expired `on_stale` decides.
    pub max_offline: Seconds,
    /// What happens then.
    pub on_stale: OnStale,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { max_offline: Seconds::days(30), on_stale: OnStale::Keep }
    }
}

/// What happens past `max_offline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStale {
    /// Everything stays in force.
    Keep,
    /// Managed users are locked until a fresh policy comes.
    Lock,
}

/// `[tuf]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuf {
    /// Whether host credentials are sent to the repository.
    pub auth: TufAuth,
    /// How long the server is asked to hold a poll.
    pub wait: Seconds,
    /// How often a server that answers at once is polled.
    pub interval: Seconds,
}

impl Default for Tuf {
    fn default() -> Self {
        Tuf { auth: TufAuth::None, wait: Seconds(240), interval: Seconds(60) }
    }
}

/// Whether host credentials are sent to the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TufAuth {
    /// Never.
    None,
    /// With every request, where the repository is on the backend's origin.
    Host,
}
