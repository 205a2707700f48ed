//! Host credentials: JWTs (EdDSA) that are good for one request.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hostward_protocol::api::Claims;
use hostward_protocol::problem::Code;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use crate::digest::sha256_base64url;

/// Seconds by which a credential's time may differ from the backend's.
pub const WINDOW: i64 = 60;

/// Why a credential does not do.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The kind of problem.
    pub code: Code,
    /// What is wrong with it.
    pub detail: String,
}

impl Refusal {
    fn invalid(detail: impl Into<String>) -> Refusal {
        Refusal { code: Code::CredentialInvalid, detail: detail.into() }
    }
}

/// The request that a credential comes with.
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Body.
    pub body: &'a [u8],
    /// Value of `Authorization`.
    pub authorization: Option<&'a str>,
}

/// A credential that was taken from a request and not verified yet.
pub struct Presented<'a> {
    token: &'a str,
    /// What it claims.
    pub claims: Claims,
}

/// Takes the credential from a request.
pub fn presented<'a>(request: &Request<'a>) -> Result<Presented<'a>, Refusal> {
    let authorization =
        request.authorization.ok_or_else(|| Refusal::invalid("the request has no Authorization header"))?;
    let token = authorization
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| Refusal::invalid("the Authorization header is not `Bearer` and a JWT"))?;
    let claims = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| Refusal::invalid("the credential is no JWT with the claims of a host"))?;
    Ok(Presented { token, claims })
}

/// Verifies credentials, each once.
pub struct Verifier {
    /// Origins by which this backend is known.
    origins: HashSet<String>,
    /// Credentials that were used, with the time after which they are refused anyway.
    used: HashMap<String, i64>,
}

impl Verifier {
    /// For a backend that is known by these origins.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Verifier {
        Verifier { origins: origins.into_iter().collect(), used: HashMap::new() }
    }

    /// Verifies a credential against the key that it should be signed by, the request and the time.
    pub fn verify(
        &mut self,
        presented: &Presented<'_>,
        key: &[u8],
        request: &Request<'_>,
        now: i64,
    ) -> Result<(), Refusal> {
        verify_signature(presented.token, key)?;
        let claims = &presented.claims;
        let off = claims.iat.saturating_sub(now);
        if off.unsigned_abs() > WINDOW.unsigned_abs() || claims.exp <= now.saturating_sub(WINDOW) {
            let detail = format!("the credential's time is off by {off} s, at most {WINDOW} s are accepted");
            return Err(Refusal { code: Code::ClockSkew, detail });
        }
        self.check_request(claims, request)?;
        self.used.retain(|_, until| *until >= now);
        let jti = format!("{} {}", claims.iss, claims.jti);
        if self.used.insert(jti, now + 2 * WINDOW).is_some() {
            return Err(Refusal::invalid("the credential was used before (`jti`)"));
        }
        Ok(())
    }

    fn check_request(&self, claims: &Claims, request: &Request<'_>) -> Result<(), Refusal> {
        if claims.sub != claims.iss {
            return Err(Refusal::invalid("`sub` is not `iss`"));
        }
        if !self.origins.contains(&claims.aud) {
            let detail = format!("`aud` is not this backend: {:?}", claims.aud);
            return Err(Refusal::invalid(detail));
        }
        if claims.htm != request.method {
            return Err(Refusal::invalid("`htm` is not the request's method"));
        }
        if claims.htu.strip_prefix(claims.aud.as_str()) != Some(request.path) {
            return Err(Refusal::invalid("`htu` is not the request's URL"));
        }
        if claims.bh != sha256_base64url(request.body) {
            return Err(Refusal::invalid("`bh` is not the hash of the request's body"));
        }
        Ok(())
    }
}

fn verify_signature(token: &str, key: &[u8]) -> Result<(), Refusal> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_ed_der(key);
    match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal::invalid(format!("the credential's signature does not verify: {error}"))),
    }
}

/// The thumbprint that stands for a host which has no id yet.
pub fn thumbprint(key: &[u8]) -> String {
    format!("key:{}", sha256_base64url(key))
}

/// The 32 bytes of a public key in base64url.
pub fn public_key(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
