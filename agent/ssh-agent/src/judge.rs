//! The one decision: whether something is signed.

use std::sync::Arc;

use crate::UnixTime;
use crate::certificate::CertificateError;
use crate::identity::Identity;
use crate::keys::Keys;
use crate::session::{BindError, Session, certified};
use crate::userauth::{Userauth, UserauthError};

/// By what it is decided, besides what was asked.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Who may certify hosts.
    pub host_cas: &'a Keys,
    /// Whether clients that do not say for which session they ask are refused.
    pub require_hostbound: bool,
    /// This host's time.
    pub now: UnixTime,
}

/// The decision.
#[must_use]
#[derive(Debug)]
pub enum Verdict<'a> {
    /// It may be signed.
    Sign(Permission<'a>),
    /// It may not.
    Refuse(Refusal),
}

/// That one thing may be signed, once, by one identity.
#[must_use]
#[derive(Debug)]
pub struct Permission<'a> {
    identity: &'a Identity,
    data: &'a [u8],
    user: &'a str,
}

/// Why nothing is signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The connection said what is not served.
    #[error(transparent)]
    Session(#[from] BindError),
    /// None of the asker's own.
    #[error("the key is not one of this account's, or not any more")]
    Key,
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Anything but a login.
    #[error(transparent)]
    NoLogin(#[from] UserauthError),
    /// A login with another key than the one that is to sign.
    #[error("the login is with another key")]
    OtherKey,
    /// A login as somebody else.
    #[error("the login is as a user whom the certificate does not name")]
    User,
    /// A login of another session than the one that the client said.
    #[error("the login is for another session than this connection's")]
    OtherSession,
    /// A login at a host that is not the project's.
    #[error("the other host's key is not certified by the project: {0}")]
    HostKey(CertificateError),
    /// The operator wants to know the session.
    #[error("the client does not say for which session it asks, which [service] require_hostbound wants")]
    NotBound,
}

/// Decides whether `key`, which must be one of `identities`, signs `data` over a connection with this `session`.
pub fn judge<'a>(
    identities: &'a [Arc<Identity>],
    session: &Session,
    key: &[u8],
    data: &'a [u8],
    rules: &Rules<'_>,
) -> Verdict<'a> {
    match permit(identities, session, key, data, rules) {
        Ok(permission) => Verdict::Sign(permission),
        Err(refusal) => Verdict::Refuse(refusal),
    }
}

fn permit<'a>(
    identities: &'a [Arc<Identity>],
    session: &Session,
    key: &[u8],
    data: &'a [u8],
    rules: &Rules<'_>,
) -> Result<Permission<'a>, Refusal> {
    if let Some(error) = session.refused() {
        return Err(error.clone().into());
    }
    let identity = identities.iter().find(|identity| identity.is_called(key)).ok_or(Refusal::Key)?;
    if identity.left(rules.now) == 0 {
        return Err(Refusal::Expired);
    }
    let login = Userauth::read(data)?;
    if !identity.is_of(login.algorithm, login.key) {
        return Err(Refusal::OtherKey);
    }
    if !identity.principals().iter().any(|principal| principal == login.user) {
        return Err(Refusal::User);
    }
    match session.bound() {
        Some((id, host_key)) => {
            if id != login.session_id || login.host_key.is_some_and(|key| key != host_key) {
                return Err(Refusal::OtherSession);
            }
        }
        None if rules.require_hostbound => return Err(Refusal::NotBound),
        None => {
            if let Some(host_key) = login.host_key {
                certified(host_key, rules.host_cas, rules.now).map_err(Refusal::HostKey)?;
            }
        }
    }
    Ok(Permission { identity, data, user: login.user })
}

impl<'a> Permission<'a> {
    /// The login name on the other side.
    pub fn user(&self) -> &'a str {
        self.user
    }

    /// Whose key signs.
    pub fn identity(&self) -> &'a Identity {
        self.identity
    }

    pub(crate) fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The signature, as the agent protocol wants it.
    pub fn sign(self) -> Vec<u8> {
        self.identity.sign(&self)
    }
}
