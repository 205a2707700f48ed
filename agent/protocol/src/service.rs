//! Service users on one host: what root tells everybody, and what clients ask the agent.
//!
//! Clients ask over the SSH agent protocol on [`SSH_AGENT_SOCKET`], in an extension called [`QUERY_EXTENSION`], so that
//! one socket is all that a container needs. Who asks is the uid of `SO_PEERCRED`, never something they say.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::api::Target;
use crate::report::Finding;

/// Where the agent speaks the SSH agent protocol, to every local user.
pub const SSH_AGENT_SOCKET: &str = "/run/hostward/ssh-agent.sock";
/// The file in which root says which uids are bound: root:root 0644.
pub const SERVICES_FILE: &str = "/var/lib/hostward/ssh/services.json";
/// `@cert-authority` lines of the project's host CAs, as known_hosts(5) has them: root:root 0644.
pub const KNOWN_HOSTS_FILE: &str = "/var/lib/hostward/ssh/known_hosts";
/// What ssh_config(5) includes: a `Match localuser` block for each bound account. root:root 0644.
pub const CLIENT_CONFIG_FILE: &str = "/var/lib/hostward/ssh/client.conf";
/// `@cert-authority` lines of the step-ca's host CAs, as known_hosts(5) has them. The agent's own, 0644: only the ssh of
/// accounts that get their certificates from the step-ca reads it.
pub const STEP_CA_KNOWN_HOSTS_FILE: &str = "/var/lib/hostward-step-ca/known_hosts";
/// `schema` of [`BoundServices`].
pub const SERVICES_SCHEMA: &str = "hostward/bound-services/1";
/// Name of the extension of the SSH agent protocol that carries a [`Query`] and is answered with an [`Answer`].
pub const QUERY_EXTENSION: &str = "query@hostward";

/// Content of [`SERVICES_FILE`], from the signed policy and the operator's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundServices {
    /// [`SERVICES_SCHEMA`]
    pub schema: String,
    /// The bindings in force on this host, ascending by uid, each uid once.
    pub services: Vec<BoundService>,
}

/// A local account that stands for a service user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundService {
    /// Uid of the local account.
    pub uid: u32,
    /// Login name of the service user, which is who it logs in as elsewhere.
    pub user: String,
    /// What its certificates may have as principals.
    pub principals: Vec<String>,
    /// Who issues them.
    #[serde(default, skip_serializing_if = "ServiceIssuer::is_backend")]
    pub issuer: ServiceIssuer,
}

/// Who issues an account's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum ServiceIssuer {
    /// The backend, which the signed policy is from. It knows the hosts.
    #[default]
    Backend,
    /// The step-ca of the operator's configuration.
    StepCa {
        /// The hosts that the account goes to with them, as patterns of ssh_config(5).
        hosts: Vec<String>,
    },
}

impl ServiceIssuer {
    /// Whether it is the backend.
    pub fn is_backend(&self) -> bool {
        *self == ServiceIssuer::Backend
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            ServiceIssuer::Backend => "backend",
            ServiceIssuer::StepCa { .. } => "step-ca",
        }
    }
}

/// What a client asks. JSON, as the extension's only string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Query {
    /// Where a host is. Answered with [`Answer::Resolved`].
    Resolve {
        /// What the user called it.
        name: String,
    },
    /// How it stands with the asker's own certificate. Answered with [`Answer::Service`].
    Service,
}

/// What the agent answers. JSON, as the answer's only string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The hosts to go through, the bastion first, the target last: at least one.
    Resolved {
        /// Login name on each of them.
        user: String,
        /// The way.
        route: Vec<Target>,
    },
    /// How it stands with the asker.
    Service(ServiceState),
    /// It cannot be answered: nobody of that name, several, nobody bound, no backend …
    Refused(Finding),
}

/// How it stands with a local account's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// Who asked.
    pub uid: u32,
    /// The user that the account stands for; absent where it is not bound.
    pub user: Option<String>,
    /// Who issues its certificates, `backend` or `step-ca`; absent where it is not bound.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Until when the certificate at hand is good.
    pub certificate_until: Option<DateTime<Utc>>,
    /// Why there was no certificate the last time, where there was none.
    pub problem: Option<Finding>,
}
