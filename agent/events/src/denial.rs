//! Logins that were refused: one event a source, user and minute, however many they were.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::event::Event;
use crate::kind::Kind;
use crate::ocsf::{self, Severity, Status};
use crate::session::{Account, Authentication, Remote, account, endpoint, with_authentication};

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenialReason {
    /// Nobody here is called that, or may log in here by the policy.
    NoSuchUser,
    /// The certificate's time is over.
    CertificateExpired,
    /// It has not come yet.
    CertificateNotYetValid,
    /// The certificate is for somebody else.
    WrongPrincipal,
    /// The key or certificate is revoked.
    Revoked,
    /// The certificate may not be used from there.
    SourceAddress,
    /// The certificate is no user's, or has a condition that sshd does not know.
    UnusableCertificate,
    /// None of the keys and certificates that were offered counts here.
    KeyNotAccepted,
    /// The password, or what else was asked for, was wrong.
    WrongPassword,
    /// sshd's configuration does not let them in.
    NotAllowed,
    /// PAM does not: the account is locked or expired.
    AccountRefused,
    /// The policy has them as suspended.
    Suspended,
    /// Their time in the policy is over.
    Expired,
    /// No grant of theirs holds at this moment.
    OutsideWindow,
    /// The policy is too old to let anybody in.
    Stale,
    /// They went, or were sent away, before they had shown who they are.
    NotAuthenticated,
}

impl DenialReason {
    /// All of them.
    pub const ALL: [DenialReason; 16] = [
        DenialReason::NoSuchUser,
        DenialReason::CertificateExpired,
        DenialReason::CertificateNotYetValid,
        DenialReason::WrongPrincipal,
        DenialReason::Revoked,
        DenialReason::SourceAddress,
        DenialReason::UnusableCertificate,
        DenialReason::KeyNotAccepted,
        DenialReason::WrongPassword,
        DenialReason::NotAllowed,
        DenialReason::AccountRefused,
        DenialReason::Suspended,
        DenialReason::Expired,
        DenialReason::OutsideWindow,
        DenialReason::Stale,
        DenialReason::NotAuthenticated,
    ];

    /// The stable word for it.
    pub fn code(self) -> &'static str {
        self.told().0
    }

    fn told(self) -> (&'static str, &'static str) {
        match self {
            DenialReason::NoSuchUser => ("no-such-user", "no such user here"),
            DenialReason::CertificateExpired => ("certificate-expired", "the certificate is expired"),
            DenialReason::CertificateNotYetValid => {
                ("certificate-not-yet-valid", "the certificate is not valid yet")
            }
            DenialReason::WrongPrincipal => ("wrong-principal", "the certificate is not for this user"),
            DenialReason::Revoked => ("revoked", "the key or certificate is revoked"),
            DenialReason::SourceAddress => {
                ("source-address", "the certificate may not be used from this address")
            }
            DenialReason::UnusableCertificate => {
                ("unusable-certificate", "the certificate is not one for a login here")
            }
            DenialReason::KeyNotAccepted => ("key-not-accepted", "no key that was offered is accepted"),
            DenialReason::WrongPassword => ("wrong-password", "the password was wrong"),
            DenialReason::NotAllowed => ("not-allowed", "sshd's configuration does not let them in"),
            DenialReason::AccountRefused => ("account-refused", "the account may not be used"),
            DenialReason::Suspended => ("suspended", "suspended by the policy"),
            DenialReason::Expired => ("expired", "their time in the policy is over"),
            DenialReason::OutsideWindow => ("outside-window", "no grant holds at this time"),
            DenialReason::Stale => ("stale", "the policy is too old"),
            DenialReason::NotAuthenticated => {
                ("not-authenticated", "they went before they had shown who they are")
            }
        }
    }
}

/// Refused logins of one minute that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Denial {
    /// The PAM service, or sshd.
    pub service: String,
    /// Whom they wanted to be. Of a name that nobody here has only `name` is set: it may be a password typed too early.
    pub user: Account,
    /// Where from, where it was from elsewhere; without a port, which differs.
    pub remote: Option<Remote>,
    /// Who asked, of su.
    pub by: Option<Account>,
    /// Why not.
    pub reason: DenialReason,
    /// How they tried, the last time.
    pub authentication: Option<Authentication>,
    /// How often.
    pub count: u64,
    /// The first of them.
    pub first: DateTime<Utc>,
    /// The last of them.
    pub last: DateTime<Utc>,
    /// What the service said, the last time.
    pub said: Option<String>,
    /// The boot they happened in: 32 hexadecimal digits.
    pub boot: String,
    /// The login within which it happened, of su.
    pub login: Option<String>,
    /// What these have in common, so that whoever reads them once more knows them.
    pub series: String,
}

impl Event {
    /// Somebody was not let in.
    pub fn login_denied(denial: &Denial) -> Self {
        let (code, text) = denial.reason.told();
        let mut message = format!("`{}` not let in by {}", denial.user.name, denial.service);
        if let Some(by) = &denial.by {
            message.push_str(&format!(", asked for by `{}`", by.name));
        }
        if let Some(remote) = &denial.remote {
            message.push_str(&format!(" from {}", remote.host));
        }
        message.push_str(&format!(": {text}"));
        if denial.count > 1 {
            message.push_str(&format!(" ({} times)", denial.count));
        }
        let severity = if denial.count >= 20 { Severity::Medium } else { Severity::Low };
        let mut event = Event::new(Kind::LoginDenied, denial.last, severity, &denial.user.name, &message)
            .in_boot(&denial.boot)
            .with("user", account(&denial.user))
            .with("service", json!({ "name": ocsf::text(&denial.service) }))
            .with("is_remote", denial.remote.is_some() || denial.service == "sshd")
            .with("count", denial.count)
            .unmapped("series", ocsf::text(&denial.series))
            .with("start_time", denial.first.timestamp_millis())
            .with("end_time", denial.last.timestamp_millis())
            .outcome(Status::Failure, Some((code, text)));
        if let Some(remote) = &denial.remote {
            event = event.with("src_endpoint", endpoint(remote));
        }
        if let Some(by) = &denial.by {
            event = event.with("actor", json!({ "user": account(by) }));
        }
        if let Some(authentication) = &denial.authentication {
            event = with_authentication(event, authentication);
        }
        if let Some(said) = &denial.said {
            event = event.unmapped("said", ocsf::text(said));
        }
        if let Some(login) = &denial.login {
            event = event.of_session(login).with("session", json!({ "uid": login }));
        }
        event
    }
}
