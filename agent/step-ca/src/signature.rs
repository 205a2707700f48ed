//! Whether a CA signed something: the signatures of SSH certificates (PROTOCOL.certkeys of OpenSSH; RFC 5656, 8332, 8709).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, Signature};

/// Whether `signature` is one of `key` over `message`. Kinds of keys that no CA should have are not believed: DSA, RSA
/// below 2048 bits or with SHA-1, keys on tokens.
pub fn verifies(key: &KeyData, message: &[u8], signature: &Signature) -> bool {
    let bytes = signature.as_bytes();
    match (key, signature.algorithm()) {
        (KeyData::Ed25519(key), Algorithm::Ed25519) => {
            UnparsedPublicKey::new(&ED25519, key.as_ref()).verify(message, bytes).is_ok()
        }
        (KeyData::Ecdsa(key), Algorithm::Ecdsa { curve }) if key.curve() == curve => {
            let (algorithm, len) = match curve {
                EcdsaCurve::NistP256 => (&ECDSA_P256_SHA256_FIXED, 32),
                EcdsaCurve::NistP384 => (&ECDSA_P384_SHA384_FIXED, 48),
                EcdsaCurve::NistP521 => (&ECDSA_P521_SHA512_FIXED, 66),
            };
            fixed(bytes, len).is_some_and(|fixed| {
                UnparsedPublicKey::new(algorithm, key.as_sec1_bytes()).verify(message, &fixed).is_ok()
            })
        }
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(hash) }) => {
            let parameters = match hash {
                HashAlg::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                HashAlg::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                _ => return false,
            };
            match (key.n.as_positive_bytes(), key.e.as_positive_bytes()) {
                (Some(n), Some(e)) => {
                    RsaPublicKeyComponents { n, e }.verify(parameters, message, bytes).is_ok()
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// `r` and `s` as numbers of `len` bytes each, from two mpints (RFC 5656 section 3.1.2).
fn fixed(mut bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut fixed = Vec::with_capacity(2 * len);
    for _ in 0..2 {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        fixed.resize(fixed.len() + len.checked_sub(number.len())?, 0);
        fixed.extend_from_slice(number);
        bytes = rest;
    }
    bytes.is_empty().then_some(fixed)
}
