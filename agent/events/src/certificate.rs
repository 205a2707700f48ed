//! Certificates of service accounts.

use chrono::{DateTime, Utc};
use hostward_protocol::report::Finding;
use serde_json::json;

use crate::about::{entity, entity_with_id};
use crate::event::Event;
use crate::kind::Kind;
use crate::ocsf::{self, Severity, Status};

/// The most principals that are named.
const MAX_PRINCIPALS: usize = 32;

/// Who asked for a certificate: a process of this host, as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its uid.
    pub uid: u32,
    /// Its process, where that is known.
    pub pid: Option<u32>,
    /// The systemd unit it runs in, where that is known.
    pub unit: Option<String>,
    /// The local account that has the uid, where one has.
    pub account: Option<String>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Who asked.
    pub caller: Caller,
    /// The service user that the uid stands for, where it stands for one.
    pub user: Option<String>,
    /// Who issues: `backend`, `step-ca`.
    pub issuer: String,
    /// The key that was, or was to be, certified: `SHA256:...`, where there is one.
    pub key: Option<String>,
}

/// What was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate's key id.
    pub key_id: String,
    /// Its serial number.
    pub serial: u64,
    /// Whom it lets log in.
    pub principals: Vec<String>,
    /// From when on it is good.
    pub valid_after: DateTime<Utc>,
    /// Until when.
    pub valid_before: DateTime<Utc>,
    /// The CA that signed it: `SHA256:...`.
    pub ca: String,
}

impl Event {
    /// A service account has a certificate.
    pub fn certificate_issued(at: DateTime<Utc>, asked: &Certificate, issued: &Issued) -> Self {
        let Issued { key_id, serial, valid_before, .. } = issued;
        let message = format!(
            "certificate `{key_id}` (serial {serial}) for {}, good until {}",
            who(asked),
            valid_before.format("%F %TZ")
        );
        let principals: Vec<String> =
            issued.principals.iter().take(MAX_PRINCIPALS).map(|name| ocsf::text(name)).collect();
        certificate(Kind::CertificateIssued, at, Severity::Informational, asked, &message)
            .with("entity", entity_with_id("SSH certificate", key_id, &serial.to_string()))
            .outcome(Status::Success, None)
            .unmapped("ca", ocsf::text(&issued.ca))
            // A serial number may be larger than what JSON's readers take for a whole number.
            .unmapped("serial", serial.to_string())
            .unmapped("principals", principals)
            .unmapped("valid_after", issued.valid_after.timestamp())
            .unmapped("valid_before", valid_before.timestamp())
    }

    /// A service account asked for a certificate and has none.
    pub fn certificate_refused(at: DateTime<Utc>, asked: &Certificate, reason: &Finding) -> Self {
        let message = format!("no certificate for {}: {}", who(asked), reason.message);
        certificate(Kind::CertificateRefused, at, Severity::Low, asked, &message)
            .with("entity", entity("SSH certificate", asked.user.as_deref().unwrap_or("none")))
            .outcome(Status::Failure, Some((&reason.code, &reason.message)))
            .unmapped("mend", ocsf::text(&reason.mend))
    }
}

fn certificate(
    kind: Kind,
    at: DateTime<Utc>,
    severity: Severity,
    asked: &Certificate,
    message: &str,
) -> Event {
    let Caller { uid, pid, unit, account } = &asked.caller;
    let mut user = json!({ "uid": uid.to_string(), "type_id": 3, "type": "System" });
    if let Some(account) = account {
        user["name"] = ocsf::text(account).into();
    }
    let mut actor = json!({ "user": user });
    if let Some(pid) = pid {
        actor["process"] = json!({ "pid": pid });
    }
    let subject = asked.user.clone().unwrap_or_else(|| format!("uid {uid}"));
    let mut event = Event::new(kind, at, severity, &subject, message)
        .with("actor", actor)
        .unmapped("issuer", ocsf::text(&asked.issuer));
    if let Some(unit) = unit {
        event = event.unmapped("unit", ocsf::text(unit));
    }
    if let Some(user) = &asked.user {
        event = event.unmapped("service_user", ocsf::text(user));
    }
    if let Some(key) = &asked.key {
        event = event.unmapped("key", ocsf::text(key));
    }
    event
}

fn who(asked: &Certificate) -> String {
    let Caller { uid, account, .. } = &asked.caller;
    let caller = match account {
        Some(account) => format!("`{account}` (uid {uid})"),
        None => format!("uid {uid}"),
    };
    match &asked.user {
        Some(user) => format!("the service user `{user}`, asked for by {caller}"),
        None => caller,
    }
}
