//! The host's key and the credentials that it signs.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hostward_protocol::api::Claims;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use zeroize::Zeroizing;

use crate::random;

/// How long a credential is good for, in seconds.
const LIFETIME: i64 = 60;

/// An Ed25519 key. Its private half leaves neither this process nor its file.
pub struct HostKey {
    signing: EncodingKey,
    public: Vec<u8>,
    thumbprint: String,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({})", self.thumbprint)
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system cannot make one.
    #[error("no key can be made")]
    Generate,
    /// Not an Ed25519 key in PKCS #8.
    #[error("not an Ed25519 private key")]
    Malformed,
    /// Another key than the one that `host.json` names.
    #[error("not the key that the host enrolled with")]
    Other,
    /// Signing failed.
    #[error("cannot sign a host credential: {0}")]
    Sign(jsonwebtoken::errors::Error),
}

/// The request that a credential is for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// Origin of the backend.
    pub audience: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// Full URL without fragment.
    pub url: &'a str,
    /// The body as sent.
    pub body: &'a [u8],
    /// The backend's time.
    pub now: DateTime<Utc>,
}

impl HostKey {
    /// A new key, and what to keep of it.
    pub fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
        let document = pair.to_pkcs8v1().map_err(|_| KeyError::Generate)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok((Self::of(&pair, &pkcs8), pkcs8))
    }

    /// The key with this thumbprint.
    pub fn from_pkcs8(pkcs8: &[u8], thumbprint: &str) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Malformed)?;
        let key = Self::of(&pair, pkcs8);
        if key.thumbprint == thumbprint { Ok(key) } else { Err(KeyError::Other) }
    }

    fn of(pair: &Ed25519KeyPair, pkcs8: &[u8]) -> Self {
        let public = pair.public_key().as_ref().to_vec();
        HostKey { signing: EncodingKey::from_ed_der(pkcs8), thumbprint: sha256_base64url(&public), public }
    }

    /// The 32 public bytes, base64url.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.public)
    }

    /// base64url SHA-256 of the public bytes.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// What the host is called before it has an id.
    pub fn name(&self) -> String {
        format!("key:{}", self.thumbprint)
    }

    /// A credential of `issuer` for one request, as [`Claims`] describes it.
    pub fn credential(&self, issuer: &str, purpose: Purpose<'_>) -> Result<String, KeyError> {
        let iat = purpose.now.timestamp();
        let claims = Claims {
            iss: issuer.into(),
            sub: issuer.into(),
            aud: purpose.audience.into(),
            htm: purpose.method.into(),
            htu: purpose.url.into(),
            bh: sha256_base64url(purpose.body),
            iat,
            exp: iat + LIFETIME,
            jti: random::id(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.signing).map_err(KeyError::Sign)
    }
}

/// base64url SHA-256.
pub fn sha256_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_bound_to_its_request() {
        let (key, pkcs8) = HostKey::generate().unwrap();
        let again = HostKey::from_pkcs8(&pkcs8, key.thumbprint()).unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let purpose = Purpose {
            audience: "https://backend.example",
            method: "POST",
            url: "https://backend.example/v1/enroll",
            body: b"{}",
            now,
        };
        let token = again.credential(&key.name(), purpose).unwrap();
        let mut validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["https://backend.example"]);
        validation.validate_exp = false;
        let public = jsonwebtoken::DecodingKey::from_ed_der(&key.public);
        let claims = jsonwebtoken::decode::<Claims>(&token, &public, &validation).unwrap().claims;
        assert_eq!(claims.iss, key.name());
        assert_eq!(claims.sub, claims.iss);
        assert_eq!((claims.iat, claims.exp), (1_700_000_000, 1_700_000_060));
        assert_eq!(claims.htu, "https://backend.example/v1/enroll");
        assert_eq!(claims.bh, "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o");
        let other = again.credential(&key.name(), purpose).unwrap();
        assert_ne!(token, other);
    }

    #[test]
    fn another_key_is_refused() {
        let (key, _) = HostKey::generate().unwrap();
        let (_, other) = HostKey::generate().unwrap();
        assert!(matches!(HostKey::from_pkcs8(&other, key.thumbprint()), Err(KeyError::Other)));
        assert!(matches!(HostKey::from_pkcs8(b"x", key.thumbprint()), Err(KeyError::Malformed)));
        assert!(!format!("{key:?}").contains("EncodingKey"));
    }
}
