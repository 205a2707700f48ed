//! The private key of a provisioner, from a JWK (RFC 7517, RFC 7518 section 6, RFC 8037).

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Not a JWK with a private part. What was read is a secret and is not told.
    #[error("it is no private JWK")]
    Malformed,
    /// A kind of key that is not used.
    #[error("it is a key of type {0}, and only EC and Ed25519 keys are used")]
    Unsupported(String),
    /// The parts are not those of one key.
    #[error("its private and public parts do not belong together")]
    Inconsistent,
}

/// Signs one-time tokens.
pub struct SigningKey {
    alg: &'static str,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Borrowed from the text, so that no copy of the secret is left behind; base64url needs no escapes.
#[derive(Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    crv: Option<&'a str>,
    x: Option<&'a str>,
    y: Option<&'a str>,
    d: Option<&'a str>,
}

impl SigningKey {
    /// The key in the text of a JWK.
    pub fn from_jwk(text: &[u8]) -> Result<Self, JwkError> {
        let jwk: Jwk<'_> = serde_json::from_slice(text).map_err(|_| JwkError::Malformed)?;
        let (alg, signing, len) = match (jwk.kty, jwk.crv.unwrap_or_default()) {
            ("EC", "P-256") => ("ES256", Some(&ECDSA_P256_SHA256_FIXED_SIGNING), 32),
            ("EC", "P-384") => ("ES384", Some(&ECDSA_P384_SHA384_FIXED_SIGNING), 48),
            ("EC", "P-521") => ("ES512", Some(&ECDSA_P521_SHA512_FIXED_SIGNING), 66),
            ("OKP", "Ed25519") => ("EdDSA", None, 32),
            (kty, crv) => return Err(JwkError::Unsupported(crate::text::quoted(&format!("{kty} {crv}")))),
        };
        let (d, x) = (octets(jwk.d, len)?, octets(jwk.x, len)?);
        let pair = match signing {
            Some(signing) => {
                let point = [&[4], &x[..], &octets(jwk.y, len)?[..]].concat();
                EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point).map(Pair::Ec)
            }
            None => Ed25519KeyPair::from_seed_and_public_key(&d, &x).map(Pair::Ed25519),
        };
        Ok(SigningKey { alg, pair: pair.map_err(|_| JwkError::Inconsistent)? })
    }

    /// `alg` of a JWS (RFC 7518 section 3.1) made with this key.
    pub fn alg(&self) -> &'static str {
        self.alg
    }

    /// A signature as a JWS has it. `None` where the system gives no random numbers.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Ec(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.try_sign(message).ok()?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.alg)
    }
}

/// A number of `len` bytes, base64url.
fn octets(text: Option<&str>, len: usize) -> Result<Zeroizing<Vec<u8>>, JwkError> {
    let text = text.ok_or(JwkError::Malformed)?;
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Malformed)?);
    if bytes.len() == len { Ok(bytes) } else { Err(JwkError::Malformed) }
}

#[cfg(test)]
mod tests;
