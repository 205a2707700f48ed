//! The golden bytes, and the host on which they were recorded.

use std::sync::Arc;

use crate::{Expected, Identity, Keys, Limits, Request, Rules, ServiceKey, SessionBind, UnixTime, request};

/// 2025-01-01 00:01:40 UTC, for which the certificates that are not part of a recording were made.
pub const NEW_YEAR: UnixTime = 1_735_689_700;

/// A text among the golden bytes.
macro_rules! text {
    ($name:expr) => {
        include_str!(concat!("../golden/", $name))
    };
}
/// A recorded message.
macro_rules! bytes {
    ($name:expr) => {
        include_bytes!(concat!("../golden/", $name, ".bin")).as_slice()
    };
}
pub(crate) use {bytes, text};

/// When the recording was made.
pub fn now() -> UnixTime {
    text!("now").trim().parse().unwrap()
}

/// The key of the recording.
pub fn key() -> ServiceKey {
    let hex = text!("user.seed").trim();
    let seed: Vec<u8> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    ServiceKey::of_seed(&seed)
}

/// The identity of the recording: for the principals root and deploy.
pub fn identity() -> Arc<Identity> {
    let authorities = Keys::of_lines(text!("user_ca.pub"));
    let principals = ["root".to_owned(), "deploy".to_owned()];
    let expected = Expected {
        principals: &principals,
        authorities: &authorities,
        limits: Some(Limits::BACKEND),
        now: now(),
    };
    Arc::new(key().certified(text!("user-cert.pub"), &expected).unwrap())
}

/// The host CA of the recording.
pub fn host_cas() -> Keys {
    Keys::of_known_hosts(&format!("@cert-authority * {}", text!("host_ca.pub")))
}

/// As it is by default.
pub fn rules(host_cas: &Keys) -> Rules<'_> {
    Rules { host_cas, require_hostbound: false, now: now() }
}

/// What binds a session.
pub fn bind(message: &[u8]) -> SessionBind<'_> {
    match request(message) {
        Request::SessionBind(bind) => bind,
        other => panic!("{other:?}"),
    }
}

/// Key and data of a request for a signature.
pub fn sign(message: &[u8]) -> (&[u8], &[u8]) {
    match request(message) {
        Request::Sign { key, data } => (key, data),
        other => panic!("{other:?}"),
    }
}
