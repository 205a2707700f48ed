//! The escrowed key of a provisioner: a compact JWE (RFC 7516) under a password (PBES2, RFC 7518 section 4.8).
//!
//! The header comes from the CA. What it may name is a short list, and what it may cost has a limit.

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap};
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

/// Rounds of PBKDF2 that are believed: RFC 7518 recommends at least 1,000; step-ca writes 600,000 (100,000 until 2023),
/// and its own library reads at most a million.
const ROUNDS: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;
/// The shortest salt that RFC 7518 allows, and the longest that is read.
const SALT: std::ops::RangeInclusive<usize> = 8..=256;

/// Why a JWE is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JweError {
    /// It does not have the form of one.
    #[error("it is no compact JWE: {0}")]
    Malformed(&'static str),
    /// It is made in a way that is not accepted.
    #[error("it is encrypted in a way that is not accepted: {0}")]
    Unsupported(String),
    /// The password opens it not.
    #[error("the password does not open it")]
    WrongPassword,
    /// The password is right and the content damaged.
    #[error("it is damaged")]
    Damaged,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    p2c: u32,
    p2s: String,
    zip: Option<String>,
    crit: Option<Vec<String>>,
}

/// What opens the content, by the header.
struct Scheme {
    derive: pbkdf2::Algorithm,
    wrap: &'static aws_lc_rs::key_wrap::AesBlockCipher,
    wrap_len: usize,
    content: &'static Algorithm,
}

impl Header {
    fn scheme(&self) -> Result<Scheme, JweError> {
        let unsupported = |what: &str| Err(JweError::Unsupported(crate::text::quoted(what)));
        let (derive, wrap, wrap_len) = match self.alg.as_str() {
            "PBES2-HS256+A128KW" => (pbkdf2::PBKDF2_HMAC_SHA256, &AES_128, 16),
            "PBES2-HS512+A256KW" => (pbkdf2::PBKDF2_HMAC_SHA512, &AES_256, 32),
            other => return unsupported(&format!("alg {other}")),
        };
        let content = match self.enc.as_str() {
            "A128GCM" => &AES_128_GCM,
            "A256GCM" => &AES_256_GCM,
            other => return unsupported(&format!("enc {other}")),
        };
        if self.zip.is_some() || self.crit.is_some() {
            return unsupported("it has extensions");
        }
        if !ROUNDS.contains(&self.p2c) {
            return unsupported(&format!("{} rounds of PBKDF2", self.p2c));
        }
        Ok(Scheme { derive, wrap, wrap_len, content })
    }
}

/// The content of `jwe`. Costs as much time as its header says: up to about a second; not for a thread that others wait for.
pub fn open(jwe: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, JweError> {
    let malformed = JweError::Malformed;
    let mut parts = jwe.trim_end().split('.');
    let mut part = || parts.next().ok_or(malformed("it has not five parts"));
    let (protected, wrapped, iv, content, tag) = (part()?, part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(malformed("it has not five parts"));
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed("a part is not base64url"));
    let header: Header = serde_json::from_slice(&decode(protected)?)
        .map_err(|_| malformed("its header is not one of PBES2"))?;
    let scheme = header.scheme()?;
    let salt = decode(&header.p2s)?;
    if !SALT.contains(&salt.len()) {
        return Err(JweError::Unsupported(format!("a salt of {} bytes", salt.len())));
    }

    let wrapped = decode(wrapped)?;
    let key_len = scheme.content.key_len();
    if wrapped.len() != key_len + 8 {
        return Err(malformed("its encrypted key has not the length of one"));
    }
    let content_key = unwrap(&scheme, &header, &salt, &wrapped, password)?;

    let iv: [u8; NONCE_LEN] = decode(iv)?.try_into().map_err(|_| malformed("its nonce has not 12 bytes"))?;
    let tag = decode(tag)?;
    if tag.len() != scheme.content.tag_len() {
        return Err(malformed("its tag has not 16 bytes"));
    }
    let mut buffer = Zeroizing::new(decode(content)?);
    buffer.extend_from_slice(&tag);
    let key = UnboundKey::new(scheme.content, &content_key).map_err(|_| JweError::Damaged)?;
    let len = LessSafeKey::new(key)
        .open_in_place(Nonce::assume_unique_for_key(iv), Aad::from(protected.as_bytes()), &mut buffer)
        .map_err(|_| JweError::Damaged)?
        .len();
    buffer.truncate(len);
    Ok(buffer)
}

/// The key that the content is encrypted with.
fn unwrap(
    scheme: &Scheme,
    header: &Header,
    salt: &[u8],
    wrapped: &[u8],
    password: &[u8],
) -> Result<Zeroizing<Vec<u8>>, JweError> {
    // RFC 7518, 4.8.1.1: UTF8(alg) || 0x00 || p2s.
    let salt = [header.alg.as_bytes(), &[0], salt].concat();
    let rounds = NonZeroU32::new(header.p2c).ok_or(JweError::Malformed("no rounds"))?;
    let mut key = Zeroizing::new([0_u8; 32]);
    let key = key.get_mut(..scheme.wrap_len).ok_or(JweError::Damaged)?;
    pbkdf2::derive(scheme.derive, rounds, &salt, password, key);
    let kek = AesKek::new(scheme.wrap, key).map_err(|_| JweError::Damaged);
    key.zeroize();
    let mut opened = Zeroizing::new(vec![0; wrapped.len()]);
    let len = kek?.unwrap(wrapped, &mut opened).map_err(|_| JweError::WrongPassword)?.len();
    opened.truncate(len);
    Ok(opened)
}

#[cfg(test)]
mod tests;
