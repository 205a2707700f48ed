//! For which SSH session a connection to the agent is used, as far as the client says: `session-bind@openssh.com`.

use ssh_key::public::KeyData;

use crate::certificate::{Certificate, CertificateError};
use crate::keys::Keys;
use crate::message::SessionBind;
use crate::{UnixTime, signature};

/// Why a session is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The connection is another host's.
    #[error("the agent is forwarded to another host")]
    Forwarded,
    /// One connection logs in once.
    #[error("the connection is bound to another session already")]
    Another,
    /// Without a certificate, or with one that does not count.
    #[error("the other host's key is not certified by the project: {0}")]
    HostKey(CertificateError),
    /// Somebody else's session.
    #[error("the session is not signed by the other host's key")]
    Signature,
}

/// What is known of the session of one connection.
#[derive(Clone, Debug, Default)]
pub struct Session(State);

#[derive(Clone, Debug, Default)]
enum State {
    /// The client said nothing of it: it is an old one, or another program.
    #[default]
    Unknown,
    Bound {
        id: Box<[u8]>,
        host_key: Box<[u8]>,
    },
    /// It said what is not served, and will not be for the rest of this connection.
    Refused(BindError),
}

impl Session {
    /// What the client says. After an error nothing is signed over this connection any more.
    pub fn bind(&mut self, bind: &SessionBind<'_>, host_cas: &Keys, now: UnixTime) -> Result<(), BindError> {
        let outcome = match &self.0 {
            State::Refused(error) => return Err(error.clone()),
            _ if bind.is_forwarding => Err(BindError::Forwarded),
            State::Bound { id, host_key } if **id == *bind.session_id && **host_key == *bind.host_key => {
                return Ok(());
            }
            State::Bound { .. } => Err(BindError::Another),
            State::Unknown => check(bind, host_cas, now),
        };
        self.0 = match &outcome {
            Ok(()) => State::Bound { id: bind.session_id.into(), host_key: bind.host_key.into() },
            Err(error) => State::Refused(error.clone()),
        };
        outcome
    }

    /// Why nothing is served here, where that is so.
    pub fn refused(&self) -> Option<&BindError> {
        match &self.0 {
            State::Refused(error) => Some(error),
            _ => None,
        }
    }

    /// Identifier and host key, once they are known.
    pub(crate) fn bound(&self) -> Option<(&[u8], &[u8])> {
        match &self.0 {
            State::Bound { id, host_key } => Some((id, host_key)),
            _ => None,
        }
    }
}

fn check(bind: &SessionBind<'_>, host_cas: &Keys, now: UnixTime) -> Result<(), BindError> {
    let key = certified(bind.host_key, host_cas, now).map_err(BindError::HostKey)?;
    if bind.session_id.is_empty() || !signature::is_valid(&key, bind.session_id, bind.signature) {
        return Err(BindError::Signature);
    }
    Ok(())
}

/// The key in a host's certificate, where one of the authorities signed it.
pub(crate) fn certified(
    host_key: &[u8],
    host_cas: &Keys,
    now: UnixTime,
) -> Result<KeyData, CertificateError> {
    let certificate = Certificate::read(host_key)?;
    certificate.check_host(host_cas, now)?;
    match certificate.critical_options.first() {
        // There are none for hosts.
        Some(option) => Err(CertificateError::CriticalOption(option.clone())),
        None => Ok(certificate.key),
    }
}
