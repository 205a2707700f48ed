//! OpenSSH certificates (PROTOCOL.certkeys): read, and held against who may have signed them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

use crate::keys::Keys;
use crate::wire::{Malformed, Reader, put_string};
use crate::{UnixTime, signature};

/// What is appended to the name of a key's kind.
const SUFFIX: &str = "-cert-v01@openssh.com";

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate, or one of a kind that is not known here.
    #[error("it is not an OpenSSH certificate")]
    Malformed,
    /// For a host instead of a user, or the other way round.
    #[error("it is a certificate of another type: a {0} certificate is wanted")]
    Type(&'static str),
    /// Signed by nobody who may.
    #[error("it is signed by an authority that the policy does not name")]
    Authority,
    /// The key is revoked.
    #[error("its key is revoked")]
    Revoked,
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

/// What is in a certificate. Nothing of it counts before it was checked.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The key that it is for.
    pub key: KeyData,
    /// Its serial number.
    pub serial: u64,
    /// Its key id, for whoever reads logs.
    pub key_id: String,
    /// Users or hosts that it is for. For none: for all of them.
    pub principals: Vec<String>,
    /// From when on it is good.
    pub valid_after: UnixTime,
    /// Until when; `u64::MAX` for ever.
    pub valid_before: UnixTime,
    /// Names of critical options, each once, in their order.
    pub critical_options: Vec<String>,
    /// Names of extensions, each once, in their order.
    pub extensions: Vec<String>,
    purpose: Purpose,
    pub(crate) authority: KeyData,
    /// How much of it is signed: all but the signature.
    signed: usize,
    signature: Vec<u8>,
    bytes: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate as it goes over the wire. ssh-key has no room for one that is valid for ever, as ssh-keygen
    /// makes them by default.
    pub fn read(bytes: &[u8]) -> Result<Self, CertificateError> {
        read(bytes).map_err(|Malformed| CertificateError::Malformed)
    }

    /// Reads a line as in a `-cert.pub` file.
    pub fn of_line(line: &str) -> Result<Self, CertificateError> {
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
            return Err(CertificateError::Malformed);
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| CertificateError::Malformed)?;
        let is_so_called = Reader::new(&bytes).text().is_ok_and(|own| own == kind);
        if is_so_called { Self::read(&bytes) } else { Err(CertificateError::Malformed) }
    }

    /// The line again, without comment or newline.
    pub fn line(&self) -> String {
        let kind = Reader::new(&self.bytes).text().unwrap_or_default();
        format!("{kind} {}", STANDARD.encode(&self.bytes))
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is for a host, one of `authorities` signed it, and it is valid at `now`.
    pub fn check_host(&self, authorities: &Keys, now: UnixTime) -> Result<(), CertificateError> {
        self.check(Purpose::Host, authorities, now)
    }

    /// Whether one of `authorities` signed it for this purpose, and it is valid at `now`.
    pub(crate) fn check(
        &self,
        purpose: Purpose,
        authorities: &Keys,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        match purpose {
            _ if purpose == self.purpose => {}
            Purpose::User => return Err(CertificateError::Type("user")),
            Purpose::Host => return Err(CertificateError::Type("host")),
        }
        if !authorities.contains(&self.authority) {
            return Err(CertificateError::Authority);
        }
        if authorities.is_revoked(&self.key) {
            return Err(CertificateError::Revoked);
        }
        let signed = self.bytes.get(..self.signed).ok_or(CertificateError::Malformed)?;
        if !signature::is_valid(&self.authority, signed, &self.signature) {
            return Err(CertificateError::Signature);
        }
        let (after, before) = (self.valid_after, self.valid_before);
        if now < after {
            return Err(CertificateError::NotYet { after, now });
        }
        if now >= before {
            return Err(CertificateError::Expired { before, now });
        }
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<Certificate, Malformed> {
    let mut reader = Reader::new(bytes);
    let plain = reader.text()?.strip_suffix(SUFFIX).ok_or(Malformed)?;
    let _nonce = reader.string()?;
    let certificate = Certificate {
        key: key(plain, &mut reader)?,
        serial: reader.u64()?,
        purpose: match reader.u32()? {
            1 => Purpose::User,
            2 => Purpose::Host,
            _ => return Err(Malformed),
        },
        key_id: reader.text()?.to_owned(),
        principals: principals(reader.string()?)?,
        valid_after: reader.u64()?,
        valid_before: reader.u64()?,
        critical_options: options(reader.string()?)?,
        extensions: {
            let extensions = options(reader.string()?)?;
            let _reserved = reader.string()?;
            extensions
        },
        authority: public_key(reader.string()?)?,
        signed: bytes.len() - reader.left(),
        signature: reader.string()?.to_vec(),
        bytes: bytes.to_vec(),
    };
    reader.end()?;
    Ok(certificate)
}

/// The key of a certificate for keys of this kind: its fields are those of the plain key.
fn key(kind: &str, reader: &mut Reader<'_>) -> Result<KeyData, Malformed> {
    let fields = match kind {
        "ssh-ed25519" => 1,
        "ssh-rsa" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => 2,
        _ => return Err(Malformed),
    };
    let mut plain = Vec::new();
    put_string(&mut plain, kind.as_bytes());
    for _ in 0..fields {
        put_string(&mut plain, reader.string()?);
    }
    public_key(&plain)
}

fn public_key(blob: &[u8]) -> Result<KeyData, Malformed> {
    PublicKey::from_bytes(blob).map(|key| key.key_data().clone()).map_err(|_| Malformed)
}

fn principals(list: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut reader = Reader::new(list);
    let mut principals = Vec::new();
    while reader.left() > 0 {
        principals.push(reader.text()?.to_owned());
    }
    Ok(principals)
}

/// Names in ascending order, as PROTOCOL.certkeys wants them; what each is set to is sshd's to read.
fn options(list: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut reader = Reader::new(list);
    let mut names: Vec<String> = Vec::new();
    while reader.left() > 0 {
        let name = reader.text()?.to_owned();
        let _data = reader.string()?;
        if names.last().is_some_and(|last| *last >= name) {
            return Err(Malformed);
        }
        names.push(name);
    }
    Ok(names)
}
