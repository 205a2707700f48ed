//! `team.toml`: the one file that a person writes. Shapes only; [`crate::policy`] makes documents of it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_protocol::document::{Arguments, HomeRemoval, SubidRange, UserStatus};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Which project it is.
    pub project: Project,
    /// Settings for every host.
    #[serde(default)]
    pub settings: Settings,
    /// People by name.
    #[serde(default)]
    pub users: BTreeMap<String, User>,
    /// Groups by name.
    #[serde(default)]
    pub groups: BTreeMap<String, Group>,
    /// Who gets what where.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Sets of sudo commands by name.
    #[serde(default)]
    pub entitlements: BTreeMap<String, Entitlement>,
    /// Local accounts that stand for users.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Further CAs, what is revoked, and what is signed.
    #[serde(default)]
    pub ssh: Ssh,
    /// What is published as it stands.
    #[serde(default)]
    pub raw: Raw,
}

/// `[project]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The id that hosts pin.
    pub id: Spanned<String>,
}

/// `[settings]`; what is absent has the default of the documents.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Home of users without one of their own.
    pub default_home: Option<String>,
    /// Shell of users without one of their own.
    pub default_shell: Option<String>,
    /// Certificates only.
    pub certificate_only: Option<bool>,
    /// What becomes of homes.
    pub removal: Removal,
    /// How often a host reports although nothing changed.
    #[serde(deserialize_with = "duration")]
    pub report_interval: Option<Duration>,
    /// The project has no users on purpose.
    pub empty: bool,
}

/// `settings.removal`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Removal {
    /// Keep, archive or delete.
    pub homes: Option<HomeRemoval>,
    /// How long after the loss of access.
    #[serde(deserialize_with = "duration")]
    pub grace: Option<Duration>,
}

/// `[users.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Stable id; from the name where absent.
    pub id: Option<String>,
    /// Numeric id.
    pub uid: u64,
    /// Primary group; one of the user's own where absent.
    pub gid: Option<u64>,
    /// Full name.
    #[serde(default)]
    pub gecos: String,
    /// Home directory.
    pub home: Option<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// Active or suspended.
    #[serde(default)]
    pub status: UserStatus,
    /// Certificate principals; the name where absent.
    pub principals: Option<Vec<String>>,
    /// When access ends.
    #[serde(default, deserialize_with = "moment")]
    pub expires: Option<DateTime<Utc>>,
    /// Subordinate ids.
    #[serde(default)]
    pub subids: Vec<SubidRange>,
}

/// `[groups.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Stable id; from the name where absent.
    pub id: Option<String>,
    /// Numeric id.
    pub gid: u64,
    /// Names of users.
    #[serde(default)]
    pub members: Vec<Spanned<String>>,
}

/// `[[grants]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Stable id; from the content where absent.
    pub id: Option<String>,
    /// Name of a group.
    pub group: Spanned<String>,
    /// Which hosts; all where absent.
    #[serde(default)]
    pub hosts: String,
    /// Members may log in.
    #[serde(default)]
    pub login: bool,
    /// Names of entitlements.
    #[serde(default)]
    pub entitlements: Vec<Spanned<String>>,
    /// Groups of the host.
    #[serde(default)]
    pub local_groups: Vec<String>,
    /// Not before.
    #[serde(default, deserialize_with = "moment")]
    pub from: Option<DateTime<Utc>>,
    /// Not at or after.
    #[serde(default, deserialize_with = "moment")]
    pub until: Option<DateTime<Utc>>,
}

/// `[entitlements.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entitlement {
    /// As whom.
    #[serde(default)]
    pub run_as: RunAs,
    /// What.
    pub commands: Vec<Spanned<Command>>,
    /// No password is asked for.
    #[serde(default = "yes")]
    pub no_passwd: bool,
    /// The command cannot execute further ones.
    #[serde(default)]
    pub no_exec: bool,
    /// The caller may set variables.
    #[serde(default)]
    pub set_env: bool,
    /// Variables that are kept.
    #[serde(default)]
    pub env_keep: Vec<String>,
    /// Variables that are removed.
    #[serde(default)]
    pub env_delete: Vec<String>,
}

fn yes() -> bool {
    true
}

/// `run_as`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunAs {
    /// A user name or `#uid`.
    pub user: Option<String>,
    /// A group name or `#gid`.
    pub group: Option<String>,
}

/// One command: exactly one of `executable`, `directory` and `raw`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Absolute path of a program.
    pub executable: Option<String>,
    /// With `executable`.
    pub arguments: Option<Arguments>,
    /// Absolute path of a directory, ends in `/`.
    pub directory: Option<String>,
    /// Text of a sudoers command.
    pub raw: Option<String>,
}

/// `[[services]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Stable id; from the content where absent.
    pub id: Option<String>,
    /// Name of the user that the account stands for.
    pub user: Spanned<String>,
    /// Which hosts; all where absent.
    #[serde(default)]
    pub hosts: String,
    /// The account's uid there.
    pub uid: u64,
}

/// `[ssh]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// User CAs besides the backend's own.
    pub user_cas: Vec<String>,
    /// Host CAs besides the backend's own.
    pub host_cas: Vec<String>,
    /// What is revoked, besides what the `revoke` command added.
    pub revoked: Revoked,
    /// Sign no certificates for hosts and their services.
    pub sign_nothing: bool,
    /// How long certificates of services are good for.
    #[serde(deserialize_with = "duration")]
    pub service_validity: Option<Duration>,
    /// How long certificates of hosts are good for.
    #[serde(deserialize_with = "duration")]
    pub host_validity: Option<Duration>,
}

/// `ssh.revoked`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Revoked {
    /// Serial numbers.
    pub serials: Vec<u64>,
    /// Key ids.
    pub key_ids: Vec<String>,
    /// Public keys.
    pub keys: Vec<String>,
}

/// `[raw]`: JSON that is published as it stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// Entries of `users-NN.json`.
    pub users: Vec<Spanned<String>>,
    /// Entries of `groups-NN.json`.
    pub groups: Vec<Spanned<String>>,
    /// Entries of `grants-NN.json`.
    pub grants: Vec<Spanned<String>>,
    /// Entries of `entitlements.json`.
    pub entitlements: Vec<Spanned<String>>,
    /// Entries of `services.json`.
    pub services: Vec<Spanned<String>>,
    /// Entries of `user_cas` in `ssh.json`.
    pub user_cas: Vec<Spanned<String>>,
    /// Entries of `host_cas` in `ssh.json`.
    pub host_cas: Vec<Spanned<String>>,
    /// Entries of `revoked.serials` in `ssh.json`.
    pub revoked_serials: Vec<Spanned<String>>,
    /// Entries of `revoked.key_ids` in `ssh.json`.
    pub revoked_key_ids: Vec<Spanned<String>>,
    /// Entries of `revoked.keys` in `ssh.json`.
    pub revoked_keys: Vec<Spanned<String>>,
    /// Whole targets by name: any name, any content.
    pub documents: BTreeMap<String, String>,
}

/// Why a `team.toml` cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// No TOML, or not of this shape; the text shows the place.
    #[error("{0}")]
    Syntax(Box<toml::de::Error>),
    /// Well formed, but it does not hold together.
    #[error("line {line}: {message}")]
    Meaning {
        /// Line, from 1.
        line: usize,
        /// What is wrong and what to do.
        message: String,
    },
}

impl TeamError {
    pub(crate) fn at(text: &str, offset: usize, message: String) -> Self {
        let before = text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        TeamError::Meaning { line, message }
    }
}

/// Reads the text of a `team.toml`.
pub fn parse(text: &str) -> Result<Team, TeamError> {
    toml::from_str(text).map_err(|error| TeamError::Syntax(Box::new(error)))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = humantime::parse_duration(&text);
    parsed.map(Some).map_err(D::Error::custom)
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = match toml::Value::deserialize(deserializer)? {
        toml::Value::Datetime(moment) => moment.to_string(),
        toml::Value::String(text) => text,
        _ => return Err(D::Error::custom("expected a date and time")),
    };
    let parsed = DateTime::parse_from_rfc3339(&text)
        .map_err(|error| D::Error::custom(format!("not a date and time with a zone: {error}")))?;
    Ok(Some(parsed.to_utc()))
}
