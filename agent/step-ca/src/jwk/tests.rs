use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaSigningAlgorithm, KeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn ec(crv: &str, signing: &'static EcdsaSigningAlgorithm) -> (Value, Vec<u8>) {
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let (x, y) = public[1..].split_at((public.len() - 1) / 2);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let d = pair.private_key().as_be_bytes().unwrap();
    (json!({"kty": "EC", "crv": crv, "x": text(x), "y": text(y), "d": text(d.as_ref())}), public)
}

fn ed25519() -> (Value, Vec<u8>) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let seed = pair.seed().unwrap().as_be_bytes().unwrap();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    (json!({"kty": "OKP", "crv": "Ed25519", "x": text(&public), "d": text(seed.as_ref())}), public)
}

fn read(jwk: &Value) -> Result<SigningKey, JwkError> {
    SigningKey::from_jwk(jwk.to_string().as_bytes())
}

#[test]
fn each_kind_signs_as_its_alg_says() {
    type Kind = ((Value, Vec<u8>), &'static str, &'static dyn VerificationAlgorithm);
    let kinds: [Kind; 4] = [
        (ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING), "ES256", &ECDSA_P256_SHA256_FIXED),
        (ec("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING), "ES384", &ECDSA_P384_SHA384_FIXED),
        (ec("P-521", &ECDSA_P521_SHA512_FIXED_SIGNING), "ES512", &ECDSA_P521_SHA512_FIXED),
        (ed25519(), "EdDSA", &ED25519),
    ];
    for ((jwk, public), alg, verification) in kinds {
        let key = read(&jwk).unwrap();
        assert_eq!(key.alg(), alg);
        let signature = key.sign(b"message").unwrap();
        UnparsedPublicKey::new(verification, public).verify(b"message", &signature).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({alg})"));
    }
}

#[test]
fn what_is_no_key_is_refused_and_not_told() {
    let (good, _) = ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING);
    let (other, _) = ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING);
    let with = |member: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[member] = value;
        read(&jwk).unwrap_err()
    };
    assert_eq!(with("d", other["d"].clone()), JwkError::Inconsistent);
    assert_eq!(with("y", other["y"].clone()), JwkError::Inconsistent);
    assert_eq!(with("d", json!(URL_SAFE_NO_PAD.encode([0; 32]))), JwkError::Inconsistent);
    assert_eq!(with("d", json!("AAAA")), JwkError::Malformed);
    assert_eq!(with("d", json!(null)), JwkError::Malformed);
    assert_eq!(with("d", json!("secret!")), JwkError::Malformed);
    assert_eq!(with("crv", json!("P-384")), JwkError::Malformed);
    assert_eq!(with("crv", json!("secp256k1")), JwkError::Unsupported("EC secp256k1".into()));
    assert_eq!(with("kty", json!("RSA")), JwkError::Unsupported("RSA P-256".into()));
    for text in ["", "null", "[]", "{}", "\"\""] {
        assert_eq!(SigningKey::from_jwk(text.as_bytes()).unwrap_err(), JwkError::Malformed);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in any::<Vec<u8>>()) {
        prop_assert!(SigningKey::from_jwk(&bytes).is_err());
    }

    #[test]
    fn any_members_are_read(
        kty in "EC|OKP|RSA|oct", crv in "P-256|P-384|P-521|Ed25519|X25519",
        x in "[A-Za-z0-9_-]{43}", y in "[A-Za-z0-9_-]{43}", d in "[A-Za-z0-9_-]{43}",
    ) {
        let jwk = json!({"kty": kty, "crv": crv, "x": x, "y": y, "d": d});
        prop_assert!(read(&jwk).is_err());
    }
}
