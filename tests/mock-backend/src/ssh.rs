//! The project's SSH certificate authorities. Certificates are signed with the files alone, so that it
//! works while the backend is stopped, as it does with a CA that is a service of its own.

use std::path::{Path, PathBuf};

use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use crate::digest::random;
use crate::file::{self, Access, FileError};

/// Why a CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is no key.
    #[error("`{}` is no SSH key", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ssh_key::Error,
    },
    /// What should be signed cannot be.
    #[error("cannot make the certificate")]
    Sign(#[source] ssh_key::Error),
    /// A key cannot be made.
    #[error("cannot make the key of a CA")]
    Generate(#[source] ssh_key::Error),
}

/// Which CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ca {
    /// The one that hosts trust for users.
    #[default]
    User,
    /// The one that clients trust for hosts.
    Host,
    /// One that nobody trusts.
    Other,
}

impl Ca {
    fn path(self, state: &Path) -> PathBuf {
        let name = match self {
            Ca::User => "user_ca",
            Ca::Host => "host_ca",
            Ca::Other => "other_ca",
        };
        state.join("ssh").join(name)
    }

    /// Its public key as a line; made where there is none.
    pub fn public_line(self, state: &Path) -> Result<String, SshError> {
        let key = self.private_key(state)?;
        key.public_key().to_openssh().map_err(SshError::Generate)
    }

    fn private_key(self, state: &Path) -> Result<PrivateKey, SshError> {
        let path = self.path(state);
        if path.exists() {
            let read = PrivateKey::from_openssh(file::read(&path)?);
            return read.map_err(|source| SshError::NotAKey { path, source });
        }
        let pair = Ed25519Keypair::from_seed(&random());
        let mut key = PrivateKey::from(pair);
        key.set_comment(format!("hostward mock {self:?} CA").to_lowercase());
        file::make_private_dir(&state.join("ssh"))?;
        let public = key.public_key().to_openssh().map_err(SshError::Generate)?;
        let secret = key.to_openssh(LineEnding::LF).map_err(SshError::Generate)?;
        file::replace(&path.with_extension("pub"), (public + "\n").as_bytes(), Access::Everybody)?;
        file::replace(&path, secret.as_bytes(), Access::Owner)?;
        Ok(key)
    }
}

/// What a certificate says. Nothing is checked: hostile certificates are wanted too.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Who it is for, in logs.
    pub key_id: String,
    /// Serial number.
    pub serial: u64,
    /// Names it is good for; empty for none.
    pub principals: Vec<String>,
    /// Seconds since the epoch from which it is good.
    pub valid_after: u64,
    /// Seconds since the epoch at which it is no longer good.
    pub valid_before: u64,
    /// Whether it is for a host.
    pub host: bool,
    /// Critical options, such as `force-command`.
    pub critical_options: Vec<(String, String)>,
    /// Extensions, such as `permit-pty`.
    pub extensions: Vec<(String, String)>,
}

/// What `ssh-keygen -s` allows by default.
pub const DEFAULT_EXTENSIONS: [&str; 5] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

/// A random serial number; never one of the small ones that tests give by hand.
pub fn random_serial() -> u64 {
    u64::from_be_bytes(random()) >> 1 | 1 << 40
}

/// Signs a public key; returns the line of a `-cert.pub` file.
pub fn sign(state: &Path, ca: Ca, public_key: &Path, certificate: &Certificate) -> Result<String, SshError> {
    let text = file::read_text(public_key)?;
    let key = PublicKey::from_openssh(&text)
        .map_err(|source| SshError::NotAKey { path: public_key.to_owned(), source })?;
    sign_key(state, ca, &key, certificate)
}

/// The same for a key that is in no file.
pub fn sign_key(
    state: &Path,
    ca: Ca,
    key: &PublicKey,
    certificate: &Certificate,
) -> Result<String, SshError> {
    let signer = ca.private_key(state)?;
    build(key, &signer, certificate).map_err(SshError::Sign)
}

/// A public key that nobody has the private half of.
pub fn strange_key() -> PublicKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&random())).public_key().clone()
}

fn build(key: &PublicKey, signer: &PrivateKey, certificate: &Certificate) -> Result<String, ssh_key::Error> {
    let nonce: [u8; 32] = random();
    let mut builder =
        Builder::new(nonce, key.key_data().clone(), certificate.valid_after, certificate.valid_before)?;
    builder.serial(certificate.serial)?;
    builder.key_id(certificate.key_id.as_str())?;
    builder.cert_type(if certificate.host { CertType::Host } else { CertType::User })?;
    if certificate.principals.is_empty() {
        builder.all_principals_valid()?;
    }
    for principal in &certificate.principals {
        builder.valid_principal(principal.as_str())?;
    }
    for (name, value) in &certificate.critical_options {
        builder.critical_option(name.as_str(), value.as_str())?;
    }
    for (name, value) in &certificate.extensions {
        builder.extension(name.as_str(), value.as_str())?;
    }
    builder.comment(key.comment())?;
    builder.sign(signer)?.to_openssh()
}

/// Where `ssh` looks for the certificate of a public key file: `id_ed25519.pub` gives `id_ed25519-cert.pub`.
pub fn certificate_path(public_key: &Path) -> PathBuf {
    let name = public_key.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".pub").unwrap_or(&name);
    public_key.with_file_name(format!("{stem}-cert.pub"))
}
