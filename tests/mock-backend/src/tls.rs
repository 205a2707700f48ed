//! A private certificate authority for the server, and server certificates that are wrong on purpose.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::file::{self, Access, FileError};

/// Why the server has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or key.
    #[error("cannot make or read the server's certificates below `{}`", directory.display())]
    Certificate {
        /// Where they are.
        directory: PathBuf,
        /// Why.
        source: rcgen::Error,
    },
    /// TLS does not take them.
    #[error("cannot use the server's certificate")]
    Config(#[from] rustls::Error),
}

/// How the server proves who it is.
pub struct ServerTls {
    /// As it should.
    pub valid: Arc<ServerConfig>,
    /// With a certificate that has expired.
    pub expired: Arc<ServerConfig>,
    /// With one of a CA that nobody knows.
    pub other_ca: Arc<ServerConfig>,
    /// With one for another name.
    pub other_name: Arc<ServerConfig>,
    /// The CA's certificate.
    pub ca_path: PathBuf,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new(key: KeyPair, now: DateTime<Utc>) -> Result<Authority, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        let name = "hostward mock backend CA";
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now - TimeDelta::days(1), now + TimeDelta::days(3650));
        let certificate = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Authority { issuer, certificate })
    }

    fn issue(
        &self,
        names: &[String],
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Leaf, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        let name = names.first().map_or("", String::as_str);
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_validity(&mut params, from, until);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { certificate, key })
    }
}

struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Leaf {
    fn config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ServerTls {
    /// Certificates for `names` (DNS names and addresses), of the CA in `STATE/tls`, made where there is none.
    pub fn open(state: &Path, names: &[String], now: DateTime<Utc>) -> Result<ServerTls, TlsError> {
        let directory = state.join("tls");
        let wrap = |source| TlsError::Certificate { directory: directory.clone(), source };
        file::make_private_dir(&directory)?;
        let (ca_path, key_path) = (directory.join("ca.pem"), directory.join("ca.key"));
        let known = ca_path.exists() && key_path.exists();
        let key = if known {
            KeyPair::from_pem(&file::read_text(&key_path)?).map_err(wrap)?
        } else {
            KeyPair::generate().map_err(wrap)?
        };
        let secret = key.serialize_pem();
        // The certificate in the file stays; what issues needs its name and key only, which are the same.
        let authority = Authority::new(key, now).map_err(wrap)?;
        if !known {
            file::replace(&key_path, secret.as_bytes(), Access::Owner)?;
            file::replace(&ca_path, authority.certificate.as_bytes(), Access::Everybody)?;
        }
        let stranger = KeyPair::generate().map_err(wrap)?;
        let stranger = Authority::new(stranger, now).map_err(wrap)?;
        let (yesterday, later) = (now - TimeDelta::days(1), now + TimeDelta::days(90));
        let elsewhere = ["elsewhere.invalid".to_owned()];
        let valid = authority.issue(names, yesterday, later).map_err(wrap)?;
        let expired =
            authority.issue(names, now - TimeDelta::days(30), now - TimeDelta::days(2)).map_err(wrap)?;
        let other_ca = stranger.issue(names, yesterday, later).map_err(wrap)?;
        let other_name = authority.issue(&elsewhere, yesterday, later).map_err(wrap)?;
        Ok(ServerTls {
            valid: valid.config()?,
            expired: expired.config()?,
            other_ca: other_ca.config()?,
            other_name: other_name.config()?,
            ca_path,
        })
    }
}

fn set_validity(params: &mut CertificateParams, from: DateTime<Utc>, until: DateTime<Utc>) {
    let day = |moment: DateTime<Utc>| (moment.year(), moment.month() as u8, moment.day() as u8);
    let (from, until) = (day(from), day(until));
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
}
