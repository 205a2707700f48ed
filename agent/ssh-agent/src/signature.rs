//! Signatures of hosts and certificate authorities, checked.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use ssh_key::public::{EcdsaPublicKey, KeyData};

use crate::wire::{Malformed, Reader};

/// Whether `signature` (RFC 4253, section 6.6: the algorithm's name, then its bytes) is `key`'s over `message`. What
/// cannot be checked is not valid: keys of other kinds, RSA with SHA-1 or of less than 2048 bits.
pub(crate) fn is_valid(key: &KeyData, message: &[u8], signature: &[u8]) -> bool {
    let mut reader = Reader::new(signature);
    let read = (reader.text(), reader.string(), reader.end());
    let (Ok(algorithm), Ok(bytes), Ok(())) = read else {
        return false;
    };
    let verified = match (key, algorithm) {
        (KeyData::Ed25519(key), "ssh-ed25519") => {
            UnparsedPublicKey::new(&ED25519, key.as_ref()).verify(message, bytes)
        }
        (KeyData::Ecdsa(key), name) => {
            let (expected, verification, size): (_, &'static dyn VerificationAlgorithm, _) = match key {
                EcdsaPublicKey::NistP256(_) => ("ecdsa-sha2-nistp256", &ECDSA_P256_SHA256_FIXED, 32),
                EcdsaPublicKey::NistP384(_) => ("ecdsa-sha2-nistp384", &ECDSA_P384_SHA384_FIXED, 48),
                EcdsaPublicKey::NistP521(_) => ("ecdsa-sha2-nistp521", &ECDSA_P521_SHA512_FIXED, 66),
            };
            match fixed(bytes, size) {
                Ok(fixed) if name == expected => {
                    UnparsedPublicKey::new(verification, key.as_sec1_bytes()).verify(message, &fixed)
                }
                _ => return false,
            }
        }
        (KeyData::Rsa(key), name) => {
            let verification = match name {
                "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                _ => return false,
            };
            match (key.n.as_positive_bytes(), key.e.as_positive_bytes()) {
                (Some(n), Some(e)) => RsaPublicKeyComponents { n, e }.verify(verification, message, bytes),
                _ => return false,
            }
        }
        _ => return false,
    };
    verified.is_ok()
}

/// RFC 5656, section 3.1.2: two numbers, here each with the size of the curve's field.
fn fixed(bytes: &[u8], size: usize) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut out = vec![0; 2 * size];
    for half in out.chunks_exact_mut(size) {
        let number = reader.positive()?;
        let start = size.checked_sub(number.len()).ok_or(Malformed)?;
        half[start..].copy_from_slice(number);
    }
    reader.end()?;
    Ok(out)
}
