//! The identity of a service user: a key that was made here, and the certificate that it got.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ssh_key::PublicKey;
use ssh_key::public::{Ed25519PublicKey, KeyData};

use crate::certificate::{Certificate, CertificateError, Purpose};
use crate::keys::Keys;
use crate::wire::put_string;
use crate::{Permission, UnixTime};

const ALGORITHM: &str = "ssh-ed25519";
/// What only narrows: where from, and what is run.
const KNOWN_OPTIONS: [&str; 2] = ["force-command", "source-address"];

/// No key can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Ed25519 key can be made")]
pub struct KeyError;

/// An Ed25519 key without a certificate. It is in this process's memory only, and AWS-LC cleanses what it frees.
pub struct ServiceKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl std::fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceKey({})", self.public.fingerprint(Default::default()))
    }
}

/// What a certificate must be like.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// What its principals must be among.
    pub principals: &'a [String],
    /// Who may have signed it.
    pub authorities: &'a Keys,
    /// How much it may be good for, where nobody else judged that.
    pub limits: Option<Limits>,
    /// This host's time.
    pub now: UnixTime,
}

/// How much a certificate may be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What it may permit.
    pub extensions: &'static [&'static str],
    /// The longest life, in seconds.
    pub longest: u64,
}

impl Limits {
    /// Those of certificates of the backend: a terminal and forwarded ports, for a day.
    pub const BACKEND: Limits =
        Limits { extensions: &["permit-port-forwarding", "permit-pty"], longest: 24 * 3600 };
}

/// A key with a certificate that was checked.
#[derive(Debug)]
pub struct Identity {
    key: ServiceKey,
    certificate: Certificate,
    /// The key without it.
    plain: Vec<u8>,
}

impl ServiceKey {
    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        Self::of(Ed25519KeyPair::generate().map_err(|_| KeyError)?)
    }

    #[cfg(test)]
    pub(crate) fn of_seed(seed: &[u8]) -> Self {
        Self::of(Ed25519KeyPair::from_seed_unchecked(seed).unwrap()).unwrap()
    }

    fn of(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = Ed25519PublicKey::try_from(pair.public_key().as_ref()).map_err(|_| KeyError)?;
        Ok(ServiceKey { pair, public: KeyData::from(public).into() })
    }

    /// The public key as a line of a `.pub` file.
    pub fn public_line(&self) -> Result<String, KeyError> {
        self.public.to_openssh().map_err(|_| KeyError)
    }

    /// The identity that the certificate in `line` makes of it.
    pub fn certified(self, line: &str, expected: &Expected<'_>) -> Result<Identity, CertificateError> {
        let certificate = Certificate::of_line(line)?;
        check(&certificate, &self.public, expected)?;
        let plain = self.public.to_bytes().map_err(|_| CertificateError::Malformed)?;
        Ok(Identity { key: self, certificate, plain })
    }
}

fn check(
    certificate: &Certificate,
    key: &PublicKey,
    expected: &Expected<'_>,
) -> Result<(), CertificateError> {
    certificate.check(Purpose::User, expected.authorities, expected.now)?;
    if certificate.key != *key.key_data() {
        return Err(CertificateError::Key);
    }
    if certificate.principals.is_empty() {
        return Err(CertificateError::NoPrincipals);
    }
    if let Some(other) = certificate.principals.iter().find(|p| !expected.principals.contains(p)) {
        return Err(CertificateError::Principal(other.clone()));
    }
    if let Some(limits) = expected.limits {
        limits.check(certificate)?;
    }
    if let Some(other) = certificate.critical_options.iter().find(|o| !KNOWN_OPTIONS.contains(&o.as_str())) {
        return Err(CertificateError::CriticalOption(other.clone()));
    }
    Ok(())
}

impl Limits {
    fn check(self, certificate: &Certificate) -> Result<(), CertificateError> {
        let (seconds, most) =
            (certificate.valid_before.saturating_sub(certificate.valid_after), self.longest);
        if seconds > most {
            return Err(CertificateError::TooLong { seconds, most });
        }
        match certificate.extensions.iter().find(|e| !self.extensions.contains(&e.as_str())) {
            Some(more) => Err(CertificateError::Extension(more.clone())),
            None => Ok(()),
        }
    }
}

impl Identity {
    /// The certificate as it goes over the wire.
    pub fn certificate(&self) -> &[u8] {
        self.certificate.bytes()
    }

    /// The key id, which says who it is to whoever reads logs.
    pub fn key_id(&self) -> &str {
        &self.certificate.key_id
    }

    /// The certificate's serial number.
    pub fn serial(&self) -> u64 {
        self.certificate.serial
    }

    /// Whom it may log in as.
    pub fn principals(&self) -> &[String] {
        &self.certificate.principals
    }

    /// From when on it is good.
    pub fn valid_after(&self) -> UnixTime {
        self.certificate.valid_after
    }

    /// `SHA256:…` of the key.
    pub fn key_fingerprint(&self) -> String {
        self.key.public.fingerprint(Default::default()).to_string()
    }

    /// `SHA256:…` of the authority that signed the certificate.
    pub fn authority_fingerprint(&self) -> String {
        self.certificate.authority.fingerprint(Default::default()).to_string()
    }

    /// Until when it is good.
    pub fn valid_before(&self) -> UnixTime {
        self.certificate.valid_before
    }

    /// For how many seconds it is good from `now` on.
    pub fn left(&self, now: UnixTime) -> u64 {
        self.valid_before().saturating_sub(now)
    }

    /// For how many seconds it is good in all.
    pub fn life(&self) -> u64 {
        self.valid_before().saturating_sub(self.certificate.valid_after)
    }

    /// Whether `key` is this certificate, or its key without it.
    pub(crate) fn is_called(&self, key: &[u8]) -> bool {
        key == self.certificate.bytes() || key == self.plain
    }

    /// Whether `key` is named by the algorithm's name that goes with it.
    pub(crate) fn is_of(&self, algorithm: &str, key: &[u8]) -> bool {
        match algorithm {
            "ssh-ed25519-cert-v01@openssh.com" => key == self.certificate.bytes(),
            ALGORITHM => key == self.plain,
            _ => false,
        }
    }

    /// The signature, as the agent protocol wants it. There is no other way to have this key sign.
    pub(crate) fn sign(&self, permission: &Permission<'_>) -> Vec<u8> {
        let signature = self.key.pair.sign(permission.data());
        let mut out = Vec::with_capacity(83);
        put_string(&mut out, ALGORITHM.as_bytes());
        put_string(&mut out, signature.as_ref());
        out
    }
}
