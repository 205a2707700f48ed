//! SSH certificates for hosts and their services: what they say, and what is wrong with them on purpose.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ssh_key::PublicKey;

use crate::faults::CertificateFlaw;
use crate::ssh::{Ca, Certificate, DEFAULT_EXTENSIONS, SshError, random_serial, sign_key, strange_key};

/// Clocks of hosts may be a little behind.
const BACKDATE: u64 = 60;
/// What certificates of services permit: a terminal, and forwarded ports to go through a bastion.
const SERVICE_EXTENSIONS: [&str; 2] = ["permit-port-forwarding", "permit-pty"];

/// What is to be signed.
pub(crate) struct Wanted {
    pub key: PublicKey,
    pub key_id: String,
    pub principals: Vec<String>,
    pub validity: Duration,
    pub now: DateTime<Utc>,
}

/// Signs for a service user.
pub(crate) fn service(
    state: &Path,
    wanted: Wanted,
    flaw: Option<CertificateFlaw>,
) -> Result<String, SshError> {
    let certificate = Certificate {
        extensions: SERVICE_EXTENSIONS.map(|name| (name.to_owned(), String::new())).into(),
        ..certificate(&wanted)
    };
    sign(state, Ca::User, wanted.key, certificate, flaw)
}

/// Signs for a host.
pub(crate) fn host(state: &Path, wanted: Wanted, flaw: Option<CertificateFlaw>) -> Result<String, SshError> {
    let certificate = Certificate { host: true, ..certificate(&wanted) };
    sign(state, Ca::Host, wanted.key, certificate, flaw)
}

fn certificate(wanted: &Wanted) -> Certificate {
    let now = u64::try_from(wanted.now.timestamp()).unwrap_or_default();
    Certificate {
        key_id: wanted.key_id.clone(),
        serial: random_serial(),
        principals: wanted.principals.clone(),
        valid_after: now.saturating_sub(BACKDATE),
        valid_before: now + wanted.validity.as_secs(),
        host: false,
        critical_options: Vec::new(),
        extensions: Vec::new(),
    }
}

fn sign(
    state: &Path,
    mut ca: Ca,
    mut key: PublicKey,
    mut certificate: Certificate,
    flaw: Option<CertificateFlaw>,
) -> Result<String, SshError> {
    const YEAR: u64 = 365 * 24 * 3600;
    match flaw {
        None => {}
        Some(CertificateFlaw::OtherCa) => ca = Ca::Other,
        Some(CertificateFlaw::OtherKey) => key = strange_key(),
        Some(CertificateFlaw::OtherType) => certificate.host = !certificate.host,
        Some(CertificateFlaw::MorePrincipals) => certificate.principals.push("*".into()),
        Some(CertificateFlaw::NoPrincipals) => certificate.principals.clear(),
        Some(CertificateFlaw::Expired) => {
            certificate.valid_before = certificate.valid_after;
            certificate.valid_after = certificate.valid_after.saturating_sub(3600);
        }
        Some(CertificateFlaw::NotYet) => {
            certificate.valid_after += 3600;
            certificate.valid_before += 3600;
        }
        Some(CertificateFlaw::Long) => certificate.valid_before += 10 * YEAR,
        Some(CertificateFlaw::CriticalOption) => {
            certificate.critical_options.push(("unknown@example.com".into(), "x".into()));
        }
        Some(CertificateFlaw::MoreExtensions) => {
            certificate.extensions = DEFAULT_EXTENSIONS.map(|name| (name.to_owned(), String::new())).into();
        }
        Some(CertificateFlaw::Garbage) => return Ok("ssh-ed25519-cert-v01@openssh.com AAAA".into()),
    }
    sign_key(state, ca, &key, &certificate)
}
