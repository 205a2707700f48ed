//! The one-time token with which a provisioner asks for one certificate: a JWT (RFC 7519).

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hostward_config::Fingerprint;
use reqwest::Url;
use serde::Serialize;

use crate::provisioner::Provisioner;

/// How long the CA may take to see it, as `step` has it. The CA takes each once.
const LIFETIME: i64 = 300;

/// What is asked for: the same in the token and beside it.
#[derive(Clone, Debug, Serialize)]
pub struct Options<'a> {
    #[serde(rename = "certType")]
    pub kind: &'static str,
    #[serde(rename = "keyID")]
    pub key_id: &'a str,
    pub principals: &'a [String],
    #[serde(rename = "validAfter")]
    pub valid_after: &'static str,
    /// A duration as Go writes it.
    #[serde(rename = "validBefore")]
    pub valid_before: String,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: String,
    sub: &'a str,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    sha: Fingerprint,
    step: Step<'a>,
}

#[derive(Serialize)]
struct Step<'a> {
    ssh: &'a Options<'a>,
}

/// A token for one request. `None` where the system gives no random numbers.
pub fn token(
    provisioner: &Provisioner,
    base: &Url,
    root: Fingerprint,
    options: &Options<'_>,
    now: DateTime<Utc>,
) -> Option<String> {
    let now = now.timestamp();
    let header = Header { alg: provisioner.key.alg(), kid: &provisioner.kid, typ: "JWT" };
    let claims = Claims {
        iss: &provisioner.name,
        // The long form of the path, whichever is used.
        aud: base.join("1.0/ssh/sign").ok()?.to_string(),
        sub: options.key_id,
        jti: random_hex()?,
        iat: now,
        nbf: now,
        exp: now + LIFETIME,
        sha: root,
        step: Step { ssh: options },
    };
    let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
    let mut token = part(serde_json::to_vec(&header).ok()?);
    token.push('.');
    token.push_str(&part(serde_json::to_vec(&claims).ok()?));
    let signature = provisioner.key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&part(signature));
    Some(token)
}

fn random_hex() -> Option<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    let mut text = String::new();
    bytes.iter().try_for_each(|byte| write!(text, "{byte:02x}")).ok()?;
    Some(text)
}
