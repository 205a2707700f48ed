//! Sessions: who came in, how, and when they left.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::event::Event;
use crate::kind::Kind;
use crate::line::Record;
use crate::ocsf::{self, Severity, Status};

/// The most grants that are named.
const MAX_GRANTS: usize = 32;

/// An account on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its uid, where it has one.
    pub uid: Option<u32>,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Remote {
    /// An IP address; or a name, where that is all that the service says.
    pub host: String,
    /// The port, where that is known.
    pub port: Option<u16>,
}

/// A process, told from another that has its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
}

/// How somebody showed who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `publickey`, `password`, as sshd names methods; empty where that is not known.
    pub method: String,
    /// The key: `SHA256:...`, where it was a key.
    pub key: Option<String>,
    /// The certificate's key id, where it was a certificate.
    pub key_id: Option<String>,
    /// Its serial number.
    pub serial: Option<u64>,
    /// The CA that signed it: `SHA256:...`.
    pub ca: Option<String>,
}

/// Somebody's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// This one's id, for ever.
    pub id: String,
    /// The id of the login that it began in: its own for a login; that of the login for a sudo or su within it.
    pub login: String,
    /// The PAM service: `sshd`, `su-l`.
    pub service: String,
    /// Whose it is.
    pub user: Account,
    /// Whether the policy manages them here.
    pub managed: bool,
    /// Who asked for it, where somebody who was logged in did.
    pub by: Option<Account>,
    /// The terminal.
    pub tty: Option<String>,
    /// Where they come from.
    pub remote: Option<Remote>,
    /// How they showed who they are.
    pub authentication: Option<Authentication>,
    /// The groups whose grants let them in, where the policy manages them.
    pub grants: Vec<String>,
    /// The process that holds it open.
    pub process: Process,
    /// The boot it is in: 32 hexadecimal digits.
    pub boot: String,
    /// The control group it runs in, where that is known.
    pub cgroup: Option<String>,
    /// The kernel's audit session, where there is one.
    pub audit: Option<u32>,
    /// When it began: microseconds since 1970.
    pub opened: i64,
}

/// How it is known that a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// PAM was told.
    Told,
    /// The process that held it open is gone, and told nobody.
    ProcessGone,
    /// The host was started anew.
    Rebooted,
}

impl Closed {
    fn code(self) -> &'static str {
        match self {
            Closed::Told => "closed",
            Closed::ProcessGone => "process-gone",
            Closed::Rebooted => "rebooted",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Closed::Told => "it was closed",
            Closed::ProcessGone => {
                "the process that held it open is gone and closed nothing: seen at this time, not when"
            }
            Closed::Rebooted => "the host was started anew meanwhile: seen at this time, not when",
        }
    }
}

impl Session {
    /// The session that an event of the log tells of, if it tells of one.
    pub fn of(record: &Record) -> Option<Self> {
        let data = &record.data;
        let own = &data["unmapped"]["session"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let small = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let account = |value: &Value| {
            let uid = value["uid"].as_str().and_then(|uid| uid.parse().ok());
            text(&value["name"]).map(|name| Account { name, uid })
        };
        let from = &data["src_endpoint"];
        let remote = text(&from["ip"]).or_else(|| text(&from["hostname"])).map(|host| Remote {
            host,
            port: from["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
        });
        let certificate = &data["unmapped"]["certificate"];
        let authentication = Authentication {
            method: text(&data["auth_protocol"]).unwrap_or_default(),
            key: text(&data["unmapped"]["key"]),
            key_id: text(&certificate["key_id"]),
            serial: certificate["serial"].as_str().and_then(|serial| serial.parse().ok()),
            ca: text(&certificate["ca"]),
        };
        let grants = data["unmapped"]["grants"].as_array();
        Some(Session {
            id: text(&own["id"])?,
            login: text(&data["session"]["uid"])?,
            service: text(&data["service"]["name"])?,
            user: account(&data["user"])?,
            managed: own["managed"].as_bool().unwrap_or_default(),
            by: account(&data["actor"]["user"]),
            tty: text(&data["session"]["terminal"]),
            remote,
            authentication: (authentication != Authentication::default()).then_some(authentication),
            grants: grants.into_iter().flatten().filter_map(text).collect(),
            process: Process { pid: small(&own["pid"])?, start: own["start"].as_u64()? },
            boot: record.bootid.clone(),
            cgroup: text(&own["cgroup"]),
            audit: small(&own["audit"]),
            opened: own["opened"].as_i64()?,
        })
    }

    /// Whether somebody who was logged in became somebody else with it.
    fn is_su(&self) -> bool {
        matches!(self.service.as_str(), "su" | "su-l")
    }
}

impl Event {
    /// A session began. With su, somebody became somebody else.
    pub fn session_opened(at: DateTime<Utc>, session: &Session) -> Self {
        let kind = if session.is_su() { Kind::Su } else { Kind::SessionOpened };
        let message = format!("{}{}", if session.is_su() { "" } else { "session of " }, told(session));
        about(kind, at, session, &message).outcome(Status::Success, None)
    }

    /// It ended.
    pub fn session_closed(at: DateTime<Utc>, session: &Session, how: Closed) -> Self {
        let message = format!("end of the session of {}", told(session));
        let event = about(Kind::SessionClosed, at, session, &message);
        event.outcome(Status::Success, Some((how.code(), how.text())))
    }
}

/// ``alice` by sshd from 192.0.2.7 with the certificate `alice@example.com` (serial 7)`
fn told(session: &Session) -> String {
    use std::fmt::Write;
    let mut text = format!("`{}` by {}", session.user.name, session.service);
    if let Some(by) = &session.by {
        let _ = write!(text, ", asked for by `{}`", by.name);
    }
    if let Some(remote) = &session.remote {
        let _ = write!(text, " from {}", remote.host);
    }
    match &session.authentication {
        Some(Authentication { key_id: Some(id), serial: Some(serial), .. }) => {
            let _ = write!(text, " with the certificate `{id}` (serial {serial})");
        }
        Some(Authentication { key: Some(key), .. }) => {
            let _ = write!(text, " with the key {key}");
        }
        Some(Authentication { method, .. }) if !method.is_empty() => {
            let _ = write!(text, " with {method}");
        }
        _ => {}
    }
    text
}

fn about(kind: Kind, at: DateTime<Utc>, session: &Session, message: &str) -> Event {
    let logon_type = match session.service.as_str() {
        "sshd" => (10, "Remote Interactive"),
        "cron" => (4, "Batch"),
        "systemd-user" => (5, "OS Service"),
        "su" | "su-l" | "sudo" | "sudo-i" => (9, "New Credentials"),
        _ => (2, "Interactive"),
    };
    let own = json!({
        "id": session.id,
        "pid": session.process.pid,
        "start": session.process.start,
        "cgroup": session.cgroup.as_deref().map(ocsf::text),
        "audit": session.audit,
        "managed": session.managed,
        "opened": session.opened,
    });
    let mut about = json!({ "uid": session.login, "created_time": session.opened.div_euclid(1000) });
    about["is_remote"] = session.remote.is_some().into();
    if let Some(tty) = &session.tty {
        about["terminal"] = ocsf::text(tty).into();
    }
    let mut event = Event::new(kind, at, Severity::Informational, &session.user.name, message)
        .of_session(&session.login)
        .in_boot(&session.boot)
        .with("user", account(&session.user))
        .with("session", about)
        .with("service", json!({ "name": ocsf::text(&session.service) }))
        .with("logon_type_id", logon_type.0)
        .with("logon_type", logon_type.1)
        .with("is_remote", session.remote.is_some())
        .unmapped("session", own);
    if let Some(remote) = &session.remote {
        event = event.with("src_endpoint", endpoint(remote));
    }
    if let Some(by) = &session.by {
        event = event.with("actor", json!({ "user": account(by) }));
    }
    if let Some(authentication) = &session.authentication {
        event = with_authentication(event, authentication);
    }
    if !session.grants.is_empty() {
        let grants: Vec<String> =
            session.grants.iter().take(MAX_GRANTS).map(|grant| ocsf::text(grant)).collect();
        event = event.unmapped("grants", grants);
    }
    event
}

pub(crate) fn account(account: &Account) -> Value {
    let mut user = json!({ "name": ocsf::text(&account.name), "type_id": 1, "type": "User" });
    if let Some(uid) = account.uid {
        user["uid"] = uid.to_string().into();
    }
    user
}

pub(crate) fn endpoint(remote: &Remote) -> Value {
    let member = if remote.host.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "hostname" };
    let mut endpoint = Map::new();
    endpoint.insert(member.into(), ocsf::text(&remote.host).into());
    if let Some(port) = remote.port {
        endpoint.insert("port".into(), port.into());
    }
    Value::Object(endpoint)
}

/// `auth_protocol`, and what is known of a key or certificate.
pub(crate) fn with_authentication(mut event: Event, authentication: &Authentication) -> Event {
    let Authentication { method, key, key_id, serial, ca } = authentication;
    if !method.is_empty() {
        event = event.with("auth_protocol_id", 99).with("auth_protocol", ocsf::text(method));
    }
    if let Some(key) = key {
        event = event.unmapped("key", ocsf::text(key));
    }
    let text = |text: &Option<String>| text.as_deref().map(ocsf::text);
    if key_id.is_some() || serial.is_some() || ca.is_some() {
        let certificate = json!({
            "key_id": text(key_id),
            // A serial number may be larger than what JSON's readers take for a whole number.
            "serial": serial.map(|serial| serial.to_string()),
            "ca": text(ca),
        });
        event = event.unmapped("certificate", certificate);
    }
    event
}
