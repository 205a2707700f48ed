//! An SSH agent that serves the certificates of service users: what it is asked, and what it may sign.
//!
//! No I/O, no clock: bytes and the time come in, bytes and decisions go out. The one thing that this crate must never
//! do is sign what is not an SSH login of the asker's own service user. So a signature takes a [`Permission`], which
//! only [`judge()`] gives, and an [`Identity`] comes only of a certificate that was checked.
//!
//! The protocol is that of draft-ietf-sshm-ssh-agent, with `session-bind@openssh.com` of OpenSSH's `PROTOCOL.agent`.

mod certificate;
mod identity;
mod judge;
mod keys;
mod message;
mod session;
mod signature;
mod userauth;
mod wire;

pub use certificate::{Certificate, CertificateError};
pub use identity::{Expected, Identity, KeyError, Limits, ServiceKey};
pub use judge::{Permission, Refusal, Rules, Verdict, judge};
pub use keys::Keys;
pub use message::{MAX_FRAME, Request, SessionBind, reply, request};
pub use session::{BindError, Session};
pub use userauth::{Userauth, UserauthError};

/// Seconds since 1970, as certificates count.
pub type UnixTime = u64;

#[cfg(test)]
mod tests;
