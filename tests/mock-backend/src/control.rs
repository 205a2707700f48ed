//! What a running backend can be asked over `STATE/control.sock`: one JSON object and a newline each way.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_protocol::token::EnrollmentToken;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::backend::Backend;
use crate::digest::base64url;
use crate::faults::{self, Faults};
use crate::keys::Role;
use crate::publisher::{Revocations, View};
use crate::registry::{Host, Registry};
use hostward_protocol::causes::chain;

/// Name of the socket in the state directory.
pub const SOCKET: &str = "control.sock";

/// What may be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// An enrollment token, as the line to put into the file.
    Token {
        /// How often it may be used.
        uses: u32,
        /// Seconds for which it is good.
        seconds: u64,
        /// Whether it pins the newest root.
        pin: bool,
    },
    /// All hosts.
    Hosts,
    /// Forget a host.
    RemoveHost {
        /// Id or name.
        host: String,
    },
    /// Reports of a host, or of all.
    Reports {
        /// Id or name.
        host: Option<String>,
    },
    /// SSH certificates that hosts and services got, the oldest first.
    Certificates,
    /// Events of a host, in the order in which they came.
    Events {
        /// Id or name.
        host: String,
    },
    /// How it stands with them.
    EventState {
        /// Id or name.
        host: String,
    },
    /// Certificate principals of a user.
    Principals {
        /// Name.
        user: String,
    },
    /// Revoke, or take that back.
    Revoke {
        /// What.
        revocations: Revocations,
        /// Whether to take it back.
        undo: bool,
    },
    /// Switch a fault on.
    FaultOn {
        /// Its name.
        name: String,
        /// `key=value` each.
        arguments: Vec<String>,
    },
    /// Switch a fault off; all where absent.
    FaultOff {
        /// Its name.
        name: Option<String>,
    },
    /// The faults that are on.
    Faults,
    /// End all connections.
    Disconnect,
    /// Publish roots with new keys.
    RotateRoot {
        /// For these roles.
        roles: Vec<Role>,
        /// How many, one after another.
        steps: u32,
    },
    /// What is published.
    Policy {
        /// Whether with the documents.
        documents: bool,
    },
    /// The roots.
    Roots,
    /// Read the team file now.
    Sync,
    /// How it goes.
    Condition,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// What was asked for.
    Ok(Value),
    /// Why not.
    Error(String),
}

/// A fault that is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Its name.
    pub name: String,
    /// `key=value`, separated by spaces.
    pub arguments: String,
}

/// A root that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedRoot {
    /// From 1.
    pub version: u64,
    /// Of its bytes, hex.
    pub sha256: String,
}

/// What is published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// Project id.
    pub project: String,
    /// Version of timestamp, snapshot and targets.
    pub version: u64,
    /// The targets.
    pub targets: Vec<PublishedTarget>,
}

/// A target that is published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishedTarget {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub length: u64,
    /// Of its bytes, hex.
    pub sha256: String,
    /// Its text, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// A host that is enrolled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolledHost {
    /// Everything that is known of it.
    #[serde(flatten)]
    pub host: Host,
    /// Its newest report, where there is one.
    pub last_report: Option<DateTime<Utc>>,
    /// Whether everything wanted was in force by that.
    pub whole: Option<bool>,
    /// How many entries of the policy the host refused by that.
    pub refused: usize,
}

/// How it goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Condition {
    /// Project id.
    pub project: String,
    /// Version of the policy that is published.
    pub version: u64,
    /// The URL that tokens name.
    pub url: String,
    /// How many hosts are enrolled.
    pub hosts: usize,
    /// The faults that are on.
    pub faults: Vec<ActiveFault>,
    /// Why the team file as it is now is not what is published.
    pub team: Option<String>,
}

/// Answers until the task is dropped.
pub async fn serve(listener: UnixListener, backend: Arc<Backend>) {
    while let Ok((stream, _)) = listener.accept().await {
        let backend = Arc::clone(&backend);
        tokio::spawn(async move {
            // Whoever asked and went away needs no answer.
            let _ = exchange(stream, backend).await;
        });
    }
}

async fn exchange(stream: UnixStream, backend: Arc<Backend>) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading).read_line(&mut line).await?;
    let reply = match serde_json::from_str(&line) {
        // Publishing computes, writes files, and must not hold up connections.
        Ok(command) => tokio::task::spawn_blocking(move || answer(&backend, command))
            .await
            .unwrap_or_else(|error| Reply::Error(error.to_string())),
        Err(error) => Reply::Error(format!("not a command: {error}")),
    };
    let text = crate::policy::json(&reply) + "\n";
    writing.write_all(text.as_bytes()).await
}

fn answer(backend: &Backend, command: Command) -> Reply {
    match carry_out(backend, command) {
        Ok(value) => Reply::Ok(value),
        Err(error) => Reply::Error(chain(error.as_ref())),
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn carry_out(backend: &Backend, command: Command) -> Result<Value, Failure> {
    Ok(match command {
        Command::Token { uses, seconds, pin } => token(backend, uses, seconds, pin)?,
        Command::Hosts => hosts(&backend.registry())?,
        Command::RemoveHost { host } => {
            let mut registry = backend.registry();
            let id = named(&registry, &host)?.id.clone();
            serde_json::to_value(registry.remove(&id)?)?
        }
        Command::Reports { host } => reports(&backend.registry(), host.as_deref())?,
        Command::Certificates => {
            let registry = backend.registry();
            serde_json::to_value(registry.all_issued().collect::<Vec<_>>())?
        }
        Command::Events { host } => {
            let registry = backend.registry();
            serde_json::to_value(registry.events(&known(&registry, &host))?)?
        }
        Command::EventState { host } => {
            let mut registry = backend.registry();
            let id = known(&registry, &host);
            serde_json::to_value(registry.event_state(&id)?)?
        }
        Command::Principals { user } => match backend.principals(&user) {
            Some(principals) => serde_json::to_value(principals)?,
            None => return Err(format!("the team file has no [users.{user}]").into()),
        },
        Command::Revoke { revocations, undo } => {
            let version = backend.revoke(|revoked| apply(revoked, &revocations, undo))?;
            serde_json::to_value(version)?
        }
        Command::FaultOn { name, arguments } => {
            let fault = faults::parse(&name, &arguments)?;
            backend.switch_faults(|faults| faults.insert(&name, fault, &arguments))?;
            serde_json::to_value(active(&backend.faults()))?
        }
        Command::FaultOff { name } => {
            backend.switch_faults(|faults| match &name {
                Some(name) => _ = faults.remove(name),
                None => *faults = Faults::default(),
            })?;
            serde_json::to_value(active(&backend.faults()))?
        }
        Command::Faults => serde_json::to_value(active(&backend.faults()))?,
        Command::Disconnect => {
            backend.disconnect();
            Value::Null
        }
        Command::RotateRoot { roles, steps } => serde_json::to_value(backend.rotate(&roles, steps)?)?,
        Command::Policy { documents } => published(&backend.view(), documents)?,
        Command::Roots => {
            let root = |(version, sha256): &(u64, String)| PublishedRoot {
                version: *version,
                sha256: sha256.clone(),
            };
            let roots: Vec<_> = backend.view().roots.iter().map(root).collect();
            serde_json::to_value(roots)?
        }
        Command::Sync => serde_json::to_value(backend.reload()?.0)?,
        Command::Condition => serde_json::to_value(condition(backend))?,
    })
}

fn condition(backend: &Backend) -> Condition {
    let view = backend.view();
    Condition {
        project: view.project.clone(),
        version: view.version,
        url: backend.origins.first().cloned().unwrap_or_default(),
        hosts: backend.registry().hosts().count(),
        faults: active(&backend.faults()),
        team: backend.team_problem(),
    }
}

fn token(backend: &Backend, uses: u32, seconds: u64, pin: bool) -> Result<Value, Failure> {
    let view = backend.view();
    let newest = view.roots.last().filter(|_| pin);
    let lifetime = Duration::from_secs(seconds);
    let token = EnrollmentToken {
        url: backend.origins.first().cloned().unwrap_or_default(),
        project: view.project.clone(),
        secret: backend.registry().make_token(uses, lifetime, Utc::now())?,
        root_sha256: newest.map(|(_, sha256)| sha256.clone()),
        root_version: newest.map(|(version, _)| *version),
    };
    Ok(base64url(&serde_json::to_vec(&token)?).into())
}

fn hosts(registry: &Registry) -> Result<Value, Failure> {
    let mut hosts = Vec::new();
    for host in registry.hosts() {
        let last = registry.last_report(&host.id)?;
        hosts.push(EnrolledHost {
            host: host.clone(),
            last_report: last.as_ref().map(|stored| stored.received),
            whole: last.as_ref().map(|stored| stored.report.is_whole()),
            refused: last.map_or(0, |stored| stored.report.refused_entries()),
        });
    }
    Ok(serde_json::to_value(hosts)?)
}

fn reports(registry: &Registry, host: Option<&str>) -> Result<Value, Failure> {
    let mut reports = Vec::new();
    match host {
        Some(name) => reports = registry.reports(&named(registry, name)?.id)?,
        None => {
            for host in registry.hosts() {
                reports.extend(registry.reports(&host.id)?);
            }
            reports.sort_by_key(|stored| stored.received);
        }
    }
    Ok(serde_json::to_value(reports)?)
}

/// The id of a host; events outlive theirs.
fn known(registry: &Registry, name: &str) -> String {
    registry.find(name).map_or_else(|| name.to_owned(), |host| host.id.clone())
}

fn named<'a>(registry: &'a Registry, name: &str) -> Result<&'a Host, Failure> {
    let unknown = || format!("no host, or more than one, is called `{name}`; `hosts` lists them");
    Ok(registry.find(name).ok_or_else(unknown)?)
}

fn apply(revoked: &mut Revocations, change: &Revocations, undo: bool) {
    apply_list(&mut revoked.serials, &change.serials, undo);
    apply_list(&mut revoked.key_ids, &change.key_ids, undo);
    apply_list(&mut revoked.keys, &change.keys, undo);
}

fn apply_list<T: Clone + PartialEq>(list: &mut Vec<T>, change: &[T], undo: bool) {
    list.retain(|entry| !change.contains(entry));
    if !undo {
        list.extend_from_slice(change);
    }
}

fn active(faults: &Faults) -> Vec<ActiveFault> {
    let shown = |(name, arguments): (&str, &str)| ActiveFault {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    faults.shown().map(shown).collect()
}

fn published(view: &View, documents: bool) -> Result<Value, Failure> {
    let target = |(name, length, sha256): &(String, u64, String)| {
        let bytes = view.targets.get(&format!("{sha256}.{name}"));
        let text = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        PublishedTarget {
            name: name.clone(),
            length: *length,
            sha256: sha256.clone(),
            content: text.filter(|_| documents),
        }
    };
    Ok(serde_json::to_value(Published {
        project: view.project.clone(),
        version: view.version,
        targets: view.contents.iter().map(target).collect(),
    })?)
}
