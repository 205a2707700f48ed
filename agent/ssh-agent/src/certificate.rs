//! OpenSSH certificates (PROTOCOL.certkeys): read, and held against who may have signed them.

use ssh_key::Certificate;
use ssh_key::certificate::CertType;

use crate::keys::Keys;
use crate::{UnixTime, signature};

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate, or one with an encoding that other programs could read as something else.
    #[error("it is not an OpenSSH certificate")]
    Malformed,
    /// For a host instead of a user, or the other way round.
    #[error("it is a certificate of another type: a {0} certificate is wanted")]
    Type(&'static str),
    /// Signed by nobody who may.
    #[error("it is signed by an authority that the policy does not name")]
    Authority,
    /// The signature is none.
    #[error("its signature is not that of its authority, or of a kind that cannot be checked")]
    Signature,
    /// Its time has not come.
    #[error("it is not valid before {after}, and this host's clock says {now} (seconds since 1970)")]
    NotYet {
        /// When it begins.
        after: UnixTime,
        /// This host's time.
        now: UnixTime,
    },
    /// Its time is over.
    #[error("it is not valid after {before}, and this host's clock says {now} (seconds since 1970)")]
    Expired {
        /// When it ends.
        before: UnixTime,
        /// This host's time.
        now: UnixTime,
    },
    /// Good for longer than any certificate of a service user should be.
    #[error("it is valid for {seconds} s, longer than the {most} s that are accepted")]
    TooLong {
        /// For how long it is.
        seconds: u64,
        /// For how long it may be.
        most: u64,
    },
    /// For another key.
    #[error("it is for another key than the one that was sent")]
    Key,
    /// Without principals, which sshd may take for "anybody".
    #[error("it names no principals")]
    NoPrincipals,
    /// For principals that are not this account's.
    #[error("it is for the principal `{0}`, which the policy does not give this account")]
    Principal(String),
    /// It permits more than it may.
    #[error("it permits `{0}`, which certificates of service users must not")]
    Extension(String),
    /// It restricts in a way that is not understood.
    #[error("it has the critical option `{0}`, which is not known")]
    CriticalOption(String),
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    User,
    Host,
}

/// Reads `bytes`. Only the one encoding that OpenSSH writes is read.
pub(crate) fn read(bytes: &[u8]) -> Result<Certificate, CertificateError> {
    let certificate = Certificate::from_bytes(bytes).map_err(|_| CertificateError::Malformed)?;
    match certificate.to_bytes() {
        Ok(again) if again == bytes => Ok(certificate),
        _ => Err(CertificateError::Malformed),
    }
}

/// Reads a certificate for a host that one of `authorities` signed and that is valid at `now`.
pub fn host_certificate(
    bytes: &[u8],
    authorities: &Keys,
    now: UnixTime,
) -> Result<Certificate, CertificateError> {
    let certificate = read(bytes)?;
    check(&certificate, bytes, Purpose::Host, authorities, now)?;
    Ok(certificate)
}

/// Whether one of `authorities` signed it for this purpose, and it is valid at `now`.
pub(crate) fn check(
    certificate: &Certificate,
    bytes: &[u8],
    purpose: Purpose,
    authorities: &Keys,
    now: UnixTime,
) -> Result<(), CertificateError> {
    match (purpose, certificate.cert_type()) {
        (Purpose::User, CertType::User) | (Purpose::Host, CertType::Host) => {}
        (Purpose::User, _) => return Err(CertificateError::Type("user")),
        (Purpose::Host, _) => return Err(CertificateError::Type("host")),
    }
    if !authorities.contains(certificate.signature_key()) {
        return Err(CertificateError::Authority);
    }
    let own = certificate.signature();
    let signed = signed_part(certificate, bytes).ok_or(CertificateError::Malformed)?;
    let algorithm = own.algorithm();
    if !signature::is_valid_of(certificate.signature_key(), signed, algorithm.as_str(), own.as_bytes()) {
        return Err(CertificateError::Signature);
    }
    let (after, before) = (certificate.valid_after(), certificate.valid_before());
    if now < after {
        return Err(CertificateError::NotYet { after, now });
    }
    if now >= before {
        return Err(CertificateError::Expired { before, now });
    }
    Ok(())
}

/// All but the last field, which is the signature as a string.
fn signed_part<'a>(certificate: &Certificate, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let signature = Vec::<u8>::try_from(certificate.signature().clone()).ok()?;
    bytes.get(..bytes.len().checked_sub(4 + signature.len())?)
}
