//! The check of what the CA answered: that it is what was asked for, and nothing else is handed on.

use chrono::{DateTime, TimeDelta, Utc};
use ssh_key::certificate::CertType;
use ssh_key::public::KeyData;
use ssh_key::{Certificate, PublicKey};

use crate::signature;
use crate::text::quoted;

/// How far the CA's clock may be ahead of this host's.
const CLOCKS: TimeDelta = TimeDelta::seconds(60);
/// Critical options that sshd(8) knows; they only narrow what the certificate is good for.
const OPTIONS: [&str; 3] = ["force-command", "source-address", "verify-required"];
/// What a service account needs.
const NEEDED: [&str; 2] = ["permit-pty", "permit-port-forwarding"];

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whose certificate it is to be.
    pub public_key: &'a PublicKey,
    /// What sshd logs, and what the CA's template sees.
    pub key_id: &'a str,
    /// What the certificate may have as principals: at least one.
    pub principals: &'a [String],
}

/// Why an answer is not a certificate that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("the CA answered with something that is no SSH certificate")]
    Malformed,
    /// A host certificate.
    #[error("the CA signed a host certificate where a user certificate was asked for")]
    NotUser,
    /// For another key.
    #[error("the CA signed another key than the one it was given")]
    OtherKey,
    /// By a key that is none of the CA's.
    #[error(
        "the certificate is signed by {signer}, which is not among the user CA keys that the CA publishes"
    )]
    UnknownSigner {
        /// Fingerprint of the key.
        signer: String,
    },
    /// The signature is wrong, or of a kind that is not believed.
    #[error("the signature of the certificate does not verify")]
    BadSignature,
    /// It is good for everybody.
    #[error("the CA signed a certificate without principals, which would be good for every user")]
    NoPrincipals,
    /// It is good for somebody else.
    #[error("the CA signed for {}, not for {}", told(got), told(wanted))]
    OtherPrincipals {
        /// What is in the certificate.
        got: Vec<String>,
        /// What may be in it.
        wanted: Vec<String>,
    },
    /// A condition that sshd(8) does not know.
    #[error("the certificate has a critical option that sshd does not know, `{0}`")]
    CriticalOption(String),
    /// Its time is not now.
    #[error("the certificate is good from {after} to {before}, and this host's clock says {now}")]
    NotNow {
        /// Start.
        after: String,
        /// End.
        before: String,
        /// This host's time.
        now: String,
    },
    /// It is good for longer than was asked for.
    #[error("the certificate is good until {before}, longer than the {seconds} s that were asked for")]
    TooLong {
        /// End.
        before: String,
        /// What was asked for.
        seconds: u64,
    },
}

impl CertificateError {
    /// A stable code, and what to do.
    pub(crate) fn advice(&self) -> (&'static str, &'static str) {
        match self {
            CertificateError::OtherPrincipals { .. } => (
                "step-ca-other-principals",
                "the provisioner's SSH template decides the principals (options.ssh.template in ca.json): name the same ones in \
                 `principals` of [[step_ca.services]], or let the template use {{ toJson .Principals }}",
            ),
            CertificateError::NoPrincipals => (
                "step-ca-no-principals",
                "let the provisioner's SSH template (options.ssh.template in ca.json) have \"principals\": {{ toJson .Principals }}",
            ),
            CertificateError::NotUser | CertificateError::CriticalOption(_) => (
                "step-ca-other-certificate",
                "correct the provisioner's SSH template (options.ssh.template in ca.json)",
            ),
            CertificateError::NotNow { .. } => (
                "step-ca-certificate-not-now",
                "set the clocks of this host and of the CA (timedatectl), and see `backdate` in the CA's ca.json",
            ),
            CertificateError::TooLong { .. } => (
                "step-ca-certificate-too-long",
                "set the clocks of this host and of the CA (timedatectl), or see what makes the CA sign for longer than it is asked",
            ),
            CertificateError::UnknownSigner { .. } => (
                "step-ca-unknown-signer",
                "restart step-ca if its SSH user key was replaced (ssh.userKey in ca.json); otherwise find out who signs in its place",
            ),
            CertificateError::Malformed | CertificateError::OtherKey | CertificateError::BadSignature => (
                "step-ca-bad-certificate",
                "see what runs at [step_ca] url: a step-ca does not answer so; report this with its version if it is one",
            ),
        }
    }
}

fn told(principals: &[String]) -> String {
    let principals: Vec<String> = principals.iter().take(10).map(|p| format!("`{}`", quoted(p))).collect();
    principals.join(", ")
}

/// The certificate in `wire`, if it is one that was asked for, signed by one of `cas`, and good now.
pub fn check(
    wire: &[u8],
    wanted: Wanted<'_>,
    cas: &[PublicKey],
    seconds: u64,
    now: DateTime<Utc>,
) -> Result<Certificate, CertificateError> {
    use CertificateError as E;
    let certificate = Certificate::from_bytes(wire).map_err(|_| E::Malformed)?;
    // What is handed on is what was read, to the last byte.
    if certificate.to_bytes().ok().as_deref() != Some(wire) {
        return Err(E::Malformed);
    }
    if certificate.cert_type() != CertType::User {
        return Err(E::NotUser);
    }
    if certificate.public_key() != wanted.public_key.key_data() {
        return Err(E::OtherKey);
    }
    signed(wire, &certificate, cas)?;
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(E::NoPrincipals);
    }
    if !principals.iter().all(|principal| wanted.principals.contains(principal)) {
        return Err(E::OtherPrincipals { got: principals.to_vec(), wanted: wanted.principals.to_vec() });
    }
    if let Some((name, _)) =
        certificate.critical_options().iter().find(|(n, _)| !OPTIONS.contains(&n.as_str()))
    {
        return Err(E::CriticalOption(quoted(name)));
    }
    in_time(&certificate, seconds, now)?;
    Ok(certificate)
}

fn signed(wire: &[u8], certificate: &Certificate, cas: &[PublicKey]) -> Result<(), CertificateError> {
    let signer: &KeyData = certificate.signature_key();
    if !cas.iter().any(|ca| ca.key_data() == signer) {
        let signer = signer.fingerprint(Default::default()).to_string();
        return Err(CertificateError::UnknownSigner { signer });
    }
    // All before the signature, which is a string at the end.
    let signature = certificate.signature();
    let len = Vec::<u8>::try_from(signature.clone()).map_err(|_| CertificateError::Malformed)?.len() + 4;
    let signed =
        wire.len().checked_sub(len).and_then(|end| wire.get(..end)).ok_or(CertificateError::Malformed)?;
    if signature::verifies(signer, signed, signature) { Ok(()) } else { Err(CertificateError::BadSignature) }
}

fn in_time(certificate: &Certificate, seconds: u64, now: DateTime<Utc>) -> Result<(), CertificateError> {
    let (after, before) = (certificate.valid_after(), certificate.valid_before());
    let unix = |time: DateTime<Utc>| u64::try_from(time.timestamp()).unwrap_or(0);
    if before > unix(now + CLOCKS).saturating_add(seconds) {
        return Err(CertificateError::TooLong { before: date(before), seconds });
    }
    if !(after..before).contains(&unix(now)) {
        let now = now.format("%Y-%m-%d %H:%M:%S UTC").to_string();
        return Err(CertificateError::NotNow { after: date(after), before: date(before), now });
    }
    Ok(())
}

fn date(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|s| DateTime::from_timestamp(s, 0));
    time.map_or("the end of time".into(), |t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// What a certificate allows beyond a terminal and forwarded ports: with step-ca's default template the forwarding of
/// agents and of X11, and `~/.ssh/rc`. Worth a warning, once.
pub fn beyond_need(certificate: &Certificate) -> Vec<String> {
    let names = certificate.extensions().keys().map(String::as_str);
    names.filter(|name| !NEEDED.contains(name)).map(quoted).collect()
}

#[cfg(test)]
mod tests;
