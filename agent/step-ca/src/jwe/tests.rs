use proptest::prelude::*;

use super::*;

/// From a step-ca: its 100,000 rounds of 2022, the password `pw`, and one key.
const REAL: &str = "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjdHkiOiJqd2sranNvbiIsImVuYyI6IkEyNTZHQ00iLCJwMmMiOjEwMDAwMCwicDJzIjoiY3lISElITllEOUtILVpKOFpkOHhldyJ9.APOxyOLTYrXXv3_ePESKkqZXt9AaTipt2FsY89vb5r9QdCvUz7LCig.fHOW-6nP2vqn9BrJ.cxnh7EZcScEPK6NE4ibQy0ZCOnyfoHi4oqHtMbL9eKqjyWZqdGf6kuO15ixnkiYInmGsbFHnddUoCmReZX0Hqp9TINcMC-0NXZ-0uYeIWsQ8lSxNFDXmO2_ldTZdRSL8VS3HKGqqJzQQByPTmBVUCI6xUv0ZfZGVDBhgnURKepFqR2mO_hW9SDzYAFwE7u0IKXxe6wO6-NioP5_m8RxZAODRaVB21Bd_B_BMef8fL85JO4J8ZEpyyNJct_cWA8xjY-Vsf2mgyqaznpxDS0rGRv5H43UkeUBCv5HauyjiMumzVyzCwr7eMv6yCZGk3_PAZIuyVltMa14oQoDUPaM.mMlPegOlKXBxR1UbmrUMuQ";

/// A JWE made by the other way round, of `content` under `password`.
fn seal(header: &str, content: &[u8], password: &[u8]) -> String {
    let parsed: Header = serde_json::from_str(header).unwrap();
    let scheme = parsed.scheme().unwrap();
    let salt = [parsed.alg.as_bytes(), &[0], &URL_SAFE_NO_PAD.decode(&parsed.p2s).unwrap()].concat();
    let mut kek = vec![0; scheme.wrap_len];
    pbkdf2::derive(scheme.derive, NonZeroU32::new(parsed.p2c).unwrap(), &salt, password, &mut kek);
    let key = vec![7; scheme.content.key_len()];
    let mut wrapped = vec![0; key.len() + 8];
    AesKek::new(scheme.wrap, &kek).unwrap().wrap(&key, &mut wrapped).unwrap();
    let protected = URL_SAFE_NO_PAD.encode(header);
    let mut sealed = content.to_vec();
    let tag = LessSafeKey::new(UnboundKey::new(scheme.content, &key).unwrap())
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key([3; NONCE_LEN]),
            Aad::from(protected.as_bytes()),
            &mut sealed,
        )
        .unwrap();
    let parts = [wrapped, vec![3; NONCE_LEN], sealed, tag.as_ref().to_vec()];
    parts.iter().fold(protected, |text, part| format!("{text}.{}", URL_SAFE_NO_PAD.encode(part)))
}

fn header(alg: &str, enc: &str, rounds: u32, more: &str) -> String {
    format!(r#"{{"alg":"{alg}","enc":"{enc}","p2c":{rounds},"p2s":"AAECAwQFBgcICQoLDA0ODw"{more}}}"#)
}

fn good() -> String {
    header("PBES2-HS256+A128KW", "A256GCM", 1_000, "")
}

#[test]
fn what_a_step_ca_made_is_opened() {
    let jwk = open(REAL, b"pw").unwrap();
    let text = str::from_utf8(&jwk).unwrap();
    assert!(text.contains("\"kty\":\"EC\"") && text.contains("8Vf_L5Z2NwatbCoej568Aa4jqqRixbHecI__mOdL7bY"));
    assert!(crate::jwk::SigningKey::from_jwk(&jwk).is_ok());
    assert_eq!(open(REAL, b"pw2"), Err(JweError::WrongPassword));
    assert_eq!(open(REAL, b""), Err(JweError::WrongPassword));
}

/// RFC 7517, appendix C: another implementation's numbers, up to its content encryption, which is not one of ours.
#[test]
fn the_key_of_rfc_7517_is_unwrapped() {
    let salt = [217, 96, 147, 112, 150, 117, 70, 247, 127, 8, 155, 137, 174, 42, 80, 215];
    let wrapped = [
        78, 186, 151, 59, 11, 141, 81, 240, 213, 245, 83, 211, 53, 188, 134, 188, 66, 125, 36, 200, 222, 124,
        5, 103, 249, 52, 117, 184, 140, 81, 246, 158, 161, 177, 20, 33, 245, 57, 59, 4,
    ];
    let content_key = [
        111, 27, 25, 52, 66, 29, 20, 78, 92, 176, 56, 240, 65, 208, 82, 112, 161, 131, 36, 55, 202, 236, 185,
        172, 129, 23, 153, 194, 195, 48, 253, 182,
    ];
    let header: Header = serde_json::from_str(&header("PBES2-HS256+A128KW", "A256GCM", 4096, "")).unwrap();
    let scheme = header.scheme().unwrap();
    let password = "Thus from my lips, by yours, my sin is purged.".as_bytes();
    let opened = unwrap(&scheme, &header, &salt, &wrapped, password).unwrap();
    assert_eq!(&opened[..], content_key);
}

#[test]
fn each_way_that_is_accepted_opens() {
    for alg in ["PBES2-HS256+A128KW", "PBES2-HS512+A256KW"] {
        for enc in ["A128GCM", "A256GCM"] {
            let jwe = seal(&header(alg, enc, 1_000, ""), b"content", b"password");
            assert_eq!(open(&jwe, b"password").unwrap()[..], b"content"[..], "{alg} {enc}");
            assert_eq!(open(&jwe, b"Password"), Err(JweError::WrongPassword), "{alg} {enc}");
        }
    }
    // A `cty`, and what else a header says that changes nothing.
    assert!(
        open(
            &seal(&header("PBES2-HS256+A128KW", "A128GCM", 1_000, r#","cty":"x","kid":"y""#), b"", b"p"),
            b"p"
        )
        .is_ok()
    );
}

#[test]
fn what_costs_too_much_or_is_not_known_is_refused_before_it_is_done() {
    let (_, rest) = REAL.split_once('.').unwrap();
    for header in [
        header("PBES2-HS256+A128KW", "A256GCM", 1_000_001, ""),
        header("PBES2-HS256+A128KW", "A256GCM", u32::MAX, ""),
        header("PBES2-HS256+A128KW", "A256GCM", 0, ""),
        header("PBES2-HS256+A128KW", "A256GCM", 1, ""),
        header("PBES2-HS384+A192KW", "A256GCM", 1_000, ""),
        header("dir", "A256GCM", 1_000, ""),
        header("PBES2-HS256+A128KW", "A128CBC-HS256", 1_000, ""),
        header("PBES2-HS256+A128KW", "A256GCM", 1_000, r#","zip":"DEF""#),
        header("PBES2-HS256+A128KW", "A256GCM", 1_000, r#","crit":["exp"]"#),
        good().replace("AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBg"),
    ] {
        let jwe = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(&header));
        assert!(matches!(open(&jwe, b"pw"), Err(JweError::Unsupported(_))), "{header}");
    }
    for header in ["", "[]", "{}", r#"{"alg":"PBES2-HS256+A128KW"}"#, &header("A", "B", 1, r#","alg":"C""#)] {
        let jwe = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        assert!(matches!(open(&jwe, b"pw"), Err(JweError::Malformed(_))), "{header}");
    }
}

#[test]
fn parts_that_are_missing_too_many_or_of_another_length_are_refused() {
    let jwe = seal(&good(), b"content", b"password");
    let parts: Vec<&str> = jwe.split('.').collect();
    for count in 0..5 {
        assert!(
            matches!(open(&parts[..count].join("."), b"password"), Err(JweError::Malformed(_))),
            "{count}"
        );
    }
    assert!(matches!(open(&format!("{jwe}."), b"password"), Err(JweError::Malformed(_))));
    for part in [0, 1, 2, 4] {
        for text in ["", "!", "AAAA", "AA=="] {
            let mut changed = parts.clone();
            changed[part] = text;
            assert!(
                matches!(open(&changed.join("."), b"password"), Err(JweError::Malformed(_))),
                "{part} {text}"
            );
        }
    }
    let mut changed = parts;
    changed[3] = "AAAA";
    assert_eq!(open(&changed.join("."), b"password"), Err(JweError::Damaged));
}

proptest! {
    #[test]
    fn any_text_is_refused(text in "[A-Za-z0-9_.=-]{0,200}") {
        prop_assert!(open(&text, b"password").is_err());
    }

    #[test]
    fn any_header_is_read(header in any::<Vec<u8>>(), rest in "(\\.[A-Za-z0-9_-]{0,60}){4}") {
        let jwe = URL_SAFE_NO_PAD.encode(header) + &rest;
        prop_assert!(open(&jwe, b"password").is_err());
    }

    /// What opens is what was sealed: with one character changed nothing else comes out.
    #[test]
    fn one_changed_character_is_noticed(content in any::<Vec<u8>>(), place in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]") {
        let jwe = seal(&good(), &content, b"password");
        prop_assert_eq!(&open(&jwe, b"password").unwrap()[..], &content[..]);
        let place = place.index(jwe.len());
        let changed = format!("{}{to}{}", &jwe[..place], &jwe[place + 1..]);
        prop_assume!(changed != jwe);
        prop_assert!(open(&changed, b"password").is_err());
    }
}
