//! What an SSH client has signed to log in: RFC 4252, section 7, and `publickey-hostbound-v00@openssh.com` of OpenSSH's
//! PROTOCOL, section 3.

use crate::wire::{Malformed, Reader};

const USERAUTH_REQUEST: u8 = 50;
const SERVICE: &str = "ssh-connection";
const PUBLIC_KEY: &str = "publickey";
const HOST_BOUND: &str = "publickey-hostbound-v00@openssh.com";
/// The longest hash of a key exchange has 64 bytes.
const MAX_SESSION_ID: usize = 128;

/// A login, as it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Userauth<'a> {
    /// The session's identifier.
    pub session_id: &'a [u8],
    /// The login name on the other side.
    pub user: &'a str,
    /// The algorithm's name.
    pub algorithm: &'a str,
    /// The public key or certificate.
    pub key: &'a [u8],
    /// The host's key, where the request is bound to one.
    pub host_key: Option<&'a [u8]>,
}

/// It is something else, which is never signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a request to log in over SSH with a public key")]
pub struct UserauthError;

impl<'a> Userauth<'a> {
    /// Reads what is to be signed: that and nothing else, to the last byte.
    pub fn read(data: &'a [u8]) -> Result<Self, UserauthError> {
        read(Reader::new(data)).map_err(|Malformed| UserauthError)
    }
}

fn read(mut data: Reader<'_>) -> Result<Userauth<'_>, Malformed> {
    let session_id = data.string()?;
    if session_id.is_empty() || session_id.len() > MAX_SESSION_ID || data.byte()? != USERAUTH_REQUEST {
        return Err(Malformed);
    }
    let user = data.text()?;
    if data.text()? != SERVICE {
        return Err(Malformed);
    }
    let is_bound = match data.text()? {
        PUBLIC_KEY => false,
        HOST_BOUND => true,
        _ => return Err(Malformed),
    };
    if !data.boolean()? {
        return Err(Malformed);
    }
    let (algorithm, key) = (data.text()?, data.string()?);
    let host_key = if is_bound { Some(data.string()?) } else { None };
    data.end()?;
    Ok(Userauth { session_id, user, algorithm, key, host_key })
}
