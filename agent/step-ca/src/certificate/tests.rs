use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// Certificates as ssh-keygen(1) signs them, in a directory.
struct Signer {
    directory: tempfile::TempDir,
}

impl Signer {
    /// With a CA of this kind of key, another CA, and a user's key.
    fn new(kind: &[&str]) -> Self {
        let signer = Signer { directory: tempfile::tempdir().unwrap() };
        for (name, kind) in
            [("ca", kind), ("other", &["ed25519"]), ("user", &["ed25519"]), ("stranger", &["ed25519"])]
        {
            signer.keygen(&[&["-q", "-N", "", "-f", name, "-t"], kind].concat());
        }
        signer
    }

    fn keygen(&self, arguments: &[&str]) {
        let keygen =
            Command::new("ssh-keygen").args(arguments).current_dir(self.directory.path()).output().unwrap();
        assert!(keygen.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&keygen.stderr));
    }

    fn key(&self, name: &str) -> PublicKey {
        PublicKey::read_openssh_file(&self.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(Path::new(name).with_extension("pub"))
    }

    /// Signs the user's key.
    fn sign(&self, arguments: &[&str]) -> Vec<u8> {
        self.keygen(&[&["-q", "-s", "ca", "-I", "id"], arguments, &["user.pub"]].concat());
        let line = std::fs::read_to_string(self.directory.path().join("user-cert.pub")).unwrap();
        STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap()
    }

    fn check(&self, wire: &[u8]) -> Result<Certificate, CertificateError> {
        let (key, principals) = (self.key("user"), ["deploy".to_owned(), "zone:a".to_owned()]);
        let wanted = Wanted { public_key: &key, key_id: "id", principals: &principals };
        check(wire, wanted, &[self.key("other"), self.key("ca")], 300, now())
    }
}

/// 2026-01-02 03:04:05 UTC
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_323_045, 0).unwrap()
}

/// Good from a minute before now on for four minutes more.
const TIME: [&str; 2] = ["-V", "20260102030305Z:20260102030805Z"];

fn good(more: &[&str]) -> Vec<&'static str> {
    let more: Vec<&'static str> =
        more.iter().map(|argument| &*String::leak((*argument).to_owned())).collect();
    [&TIME[..], &more[..]].concat()
}

#[test]
fn certificates_of_every_kind_of_ca_are_believed() {
    for kind in [
        &["ed25519"][..],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384"],
        &["ecdsa", "-b", "521"],
        &["rsa", "-b", "2048"],
        &["rsa", "-b", "3072"],
    ] {
        let signer = Signer::new(kind);
        let mut wires = vec![signer.sign(&good(&["-n", "deploy,zone:a"]))];
        if kind[0] == "rsa" {
            wires.push(signer.sign(&good(&["-n", "deploy,zone:a", "-t", "rsa-sha2-256"])));
        }
        for wire in wires {
            let certificate = signer.check(&wire).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            assert_eq!(certificate.valid_principals(), ["deploy", "zone:a"]);
            for index in (0..wire.len()).step_by(7) {
                let mut damaged = wire.clone();
                damaged[index] ^= 1;
                assert!(signer.check(&damaged).is_err(), "{kind:?}: byte {index} is not protected");
            }
        }
    }
}

#[test]
fn sha_1_is_not_believed() {
    let signer = Signer::new(&["rsa", "-b", "2048"]);
    let checked = signer.check(&signer.sign(&good(&["-n", "deploy", "-t", "ssh-rsa"])));
    assert_eq!(checked, Err(CertificateError::Malformed));
}

#[test]
fn what_was_not_asked_for_is_refused() {
    use CertificateError as E;
    let signer = Signer::new(&["ed25519"]);
    let refused = |arguments: &[&str]| signer.check(&signer.sign(arguments)).unwrap_err();
    assert!(signer.check(&signer.sign(&good(&["-n", "zone:a"]))).is_ok());
    assert_eq!(refused(&good(&["-n", "deploy", "-h"])), E::NotUser);
    assert_eq!(refused(&good(&[])), E::NoPrincipals);
    assert!(
        matches!(refused(&good(&["-n", "deploy,root"])), E::OtherPrincipals { got, .. } if got == ["deploy", "root"])
    );
    assert!(matches!(refused(&good(&["-n", "Deploy"])), E::OtherPrincipals { .. }));
    assert_eq!(refused(&good(&["-n", "deploy", "-O", "critical:x@y=1"])), E::CriticalOption("x@y".into()));
    assert!(signer.check(&signer.sign(&good(&["-n", "deploy", "-O", "source-address=127.0.0.1"]))).is_ok());

    let wire = signer.sign(&good(&["-n", "deploy"]));
    assert_eq!(signer.check(&wire[..wire.len() - 1]), Err(E::Malformed));
    assert_eq!(signer.check(&[&wire[..], &[0]].concat()), Err(E::Malformed));
    assert_eq!(signer.check(&signer.key("user").to_bytes().unwrap()), Err(E::Malformed));
    let (stranger, principals) = (signer.key("stranger"), ["deploy".to_owned()]);
    let wanted = Wanted { public_key: &stranger, key_id: "id", principals: &principals };
    assert_eq!(check(&wire, wanted, &[signer.key("ca")], 300, now()), Err(E::OtherKey));
    let user = signer.key("user");
    let wanted = Wanted { public_key: &user, ..wanted };
    let signed_by = signer.key("ca").fingerprint(Default::default()).to_string();
    for cas in [&[][..], &[signer.key("other")]] {
        assert_eq!(
            check(&wire, wanted, cas, 300, now()),
            Err(E::UnknownSigner { signer: signed_by.clone() })
        );
    }
}

#[test]
fn only_the_time_that_was_asked_for_will_do() {
    use CertificateError as E;
    let signer = Signer::new(&["ed25519"]);
    let checked = |time: &str| signer.check(&signer.sign(&["-n", "deploy", "-V", time])).map(|_| ());
    // To the second: good before its end, and from its start on.
    assert_eq!(checked("20260102030405Z:20260102030905Z"), Ok(()));
    assert_eq!(checked("20260102030305Z:20260102030406Z"), Ok(()));
    assert!(matches!(checked("20260102030305Z:20260102030405Z"), Err(E::NotNow { .. })));
    assert!(matches!(checked("20260102030406Z:20260102030905Z"), Err(E::NotNow { .. })));
    // A CA whose clock is ahead by up to a minute.
    assert_eq!(checked("20260102030305Z:20260102031005Z"), Ok(()));
    assert!(matches!(checked("20260102030305Z:20260102031006Z"), Err(E::TooLong { seconds: 300, .. })));
    let long = checked("20260102030305Z:99991231000000Z").unwrap_err();
    assert_eq!(
        long.to_string(),
        "the certificate is good until 9999-12-31 00:00:00 UTC, longer than the 300 s that were asked for"
    );
    // Times that never end are no times to the library.
    assert_eq!(checked("always:forever"), Err(E::Malformed));
}
