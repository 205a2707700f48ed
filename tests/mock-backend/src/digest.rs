//! SHA-256, as hex and base64url.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// SHA-256 of `bytes` in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// SHA-256 of `bytes` in base64url without padding.
pub(crate) fn sha256_base64url(bytes: &[u8]) -> String {
    base64url(digest(&SHA256, bytes).as_ref())
}

/// base64url without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    let pairs = bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]);
    pairs.collect()
}

/// `LEN` random bytes.
pub(crate) fn random<const LEN: usize>() -> [u8; LEN] {
    rand::random()
}
