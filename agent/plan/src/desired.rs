//! What the policy means on this host, and what of it is refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hostward_config::Config;
use hostward_protocol::document::Settings;
use hostward_protocol::grants::Grants;
use hostward_protocol::report::{Finding, Staleness};
use hostward_protocol::service::{BoundService, BoundServices, SERVICES_SCHEMA};
use hostward_records::Denied;

use crate::facts::{Accounts, Facts, HostKeyKind};
use crate::ledger::sha256_hex;
use crate::policy::Policy;
use crate::resolve::{self, Resolution};

/// The desired state of this host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Everybody who may log in here, and their groups.
    pub accounts: Accounts,
    /// Stable ids of those users, by uid.
    pub ids: BTreeMap<u32, String>,
    /// Content of the sudoers file; `None` where there is no rule or the operator does not want one.
    pub sudoers: Option<String>,
    /// User CA public keys, one a line; `None` where there is no acceptable one, or nobody to ask for them: sshd is not
    /// managed, and no local account stands for anybody.
    pub user_ca: Option<String>,
    /// Whom the PAM module refuses and tells why, of those whom the host has known; `None` where there is nobody.
    pub denied: Option<Denied>,
    /// Which grants hold, and for whom: for the record.
    pub grants: Grants,
    /// Local accounts that stand for users; `None` where there are none.
    pub services: Option<Services>,
    /// Certificates that sshd presents for its keys, each a line.
    pub host_certificates: BTreeMap<HostKeyKind, String>,
    /// What the KRL is compiled from, as ssh-keygen(1) reads a KRL specification; empty where nothing is revoked.
    pub krl: KrlSpec,
    /// Project settings that matter later.
    pub settings: Settings,
    /// How old the policy is at the given time.
    pub staleness: Option<Staleness>,
    /// Longer than `max_offline` ago, and the operator chose `lock`: the accounts stay known, and nobody gets in.
    pub locked: bool,
    /// Ids of people who would have login here if their entry were not refused. Nothing is done to their homes.
    pub withheld: BTreeSet<String>,
    /// The next moment at which the same policy means something else (a time window, an expiry, `max_offline`).
    pub next_change: Option<DateTime<Utc>>,
    /// Entries refused, each on its own.
    pub refusals: Vec<Finding>,
    /// Entries accepted that somebody should look at.
    pub warnings: Vec<Finding>,
}

/// Local accounts that stand for users, and what their ssh is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// Ascending by uid, each uid once.
    pub bound: Vec<BoundService>,
    /// CAs of the project's hosts, as known_hosts(5) has them; of a step-ca's hosts the agent knows.
    pub known_hosts: String,
    /// A block of ssh_config(5) for each local account.
    pub client_config: String,
}

impl Services {
    /// Content of [`crate::facts::ManagedFile::Services`] for these bindings.
    pub fn json(bound: &[BoundService]) -> String {
        let services = BoundServices { schema: SERVICES_SCHEMA.to_owned(), services: bound.to_vec() };
        // Nothing in it can fail to be written.
        serde_json::to_string_pretty(&services).map(|text| text + "\n").unwrap_or_default()
    }
}

/// What the KRL is compiled from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KrlSpec {
    /// Specification lines that hold for every user CA (`serial: 7`, `id: jenkins`); compiled once per CA with `ssh-keygen -k -s CA`.
    pub per_ca: String,
    /// Public keys, one a line.
    pub keys: String,
}

impl Desired {
    /// Whether whoever has this uid may log in, and so may keep their sessions.
    pub fn admits(&self, uid: u32) -> bool {
        !self.locked && self.ids.contains_key(&uid)
    }
}

impl KrlSpec {
    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.per_ca.is_empty() && self.keys.is_empty()
    }

    /// SHA-256 of all that the KRL is compiled from, for [`crate::ledger::WrittenFile::source_sha256`].
    /// `user_ca` is that of [`crate::Step::WriteKrl`]; it does not count where nothing is compiled for it.
    pub fn source_sha256(&self, user_ca: &str) -> String {
        let user_ca = if self.per_ca.is_empty() { "" } else { user_ca };
        sha256_hex(format!("{}\0{}\0{user_ca}", self.per_ca, self.keys).as_bytes())
    }
}

/// What `policy` means on the host that `facts` and `config` describe, at `now`.
pub fn resolve(policy: &Policy, config: &Config, facts: &Facts, now: DateTime<Utc>) -> Desired {
    Resolution::new(policy, config, facts, now).into_desired()
}

/// What `config` alone means on the host that `facts` describe, which has accepted no policy.
pub fn resolve_without_policy(config: &Config, facts: &Facts) -> Desired {
    resolve::without_policy(config, facts)
}
