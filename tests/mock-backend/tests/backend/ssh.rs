//! Certificates of the project's CA.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use hostward_mock_backend::ssh::{Ca, Certificate, certificate_path, random_serial, sign};
use hostward_protocol::document::{self, Ssh};
use ssh_key::certificate::CertType;
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey};

use crate::support::Bench;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn write_key(directory: &Path) -> std::path::PathBuf {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&rand::random());
    let key = PrivateKey::from(pair);
    let path = directory.join("id_ed25519.pub");
    std::fs::write(&path, key.public_key().to_openssh().unwrap()).unwrap();
    std::fs::write(directory.join("id_ed25519"), key.to_openssh(LineEnding::LF).unwrap()).unwrap();
    path
}

fn certificate() -> Certificate {
    Certificate {
        key_id: "alice".into(),
        serial: 7,
        principals: vec!["alice".into()],
        valid_after: now() - 60,
        valid_before: now() + 180,
        host: false,
        critical_options: vec![("force-command".into(), "/bin/true".into())],
        extensions: vec![("permit-pty".into(), String::new())],
    }
}

fn fingerprint(line: &str) -> ssh_key::Fingerprint {
    PublicKey::from_openssh(line).unwrap().fingerprint(HashAlg::Sha256)
}

#[test]
fn certificates_say_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let key = write_key(directory.path());
    let line = sign(directory.path(), Ca::User, &key, &certificate()).unwrap();
    let signed = ssh_key::Certificate::from_openssh(&line).unwrap();
    let ca = fingerprint(&Ca::User.public_line(directory.path()).unwrap());
    signed.validate_at(now(), &[ca]).unwrap();
    signed.validate_at(now() + 3600, &[ca]).unwrap_err();
    let other = fingerprint(&Ca::Other.public_line(directory.path()).unwrap());
    signed.validate_at(now(), &[other]).unwrap_err();
    assert_eq!((signed.key_id(), signed.serial()), ("alice", 7));
    assert_eq!(signed.cert_type(), CertType::User);
    assert_eq!(signed.valid_principals(), ["alice"]);
    assert_eq!(signed.critical_options().get("force-command").unwrap(), "/bin/true");
    assert!(signed.extensions().contains_key("permit-pty"));
    assert_eq!(certificate_path(&key), directory.path().join("id_ed25519-cert.pub"));
    assert!(random_serial() > u64::from(u32::MAX));
}

#[test]
fn hostile_certificates_can_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let key = write_key(directory.path());
    let make = |ca, change: fn(&mut Certificate)| {
        let mut wanted = certificate();
        change(&mut wanted);
        let line = sign(directory.path(), ca, &key, &wanted).unwrap();
        ssh_key::Certificate::from_openssh(&line).unwrap()
    };
    assert_eq!(make(Ca::User, |c| c.host = true).cert_type(), CertType::Host);
    assert!(make(Ca::User, |c| c.principals.clear()).valid_principals().is_empty());
    let early = make(Ca::User, |c| c.valid_after += 120);
    assert!(early.valid_after() > now());
    let ca = fingerprint(&Ca::User.public_line(directory.path()).unwrap());
    early.validate_at(now(), &[ca]).unwrap_err();
    make(Ca::Other, |_| {}).validate_at(now(), &[ca]).unwrap_err();
    let odd = make(Ca::User, |c| c.principals = vec!["root".into(), "*".into(), String::new()]);
    assert_eq!(odd.valid_principals().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_has_the_cas_and_what_is_revoked() {
    let bench = Bench::start().await;
    let published = || {
        let policy = bench.client().policy(true).unwrap();
        let ssh = policy.targets.into_iter().find(|target| target.name == "ssh.json").unwrap();
        document::parse::<Ssh>(ssh.content.unwrap().as_bytes()).unwrap()
    };
    let first = published();
    let ca = Ca::User.public_line(&bench.state()).unwrap();
    assert_eq!(first.user_cas[0].shaped(), Some(&ca));
    assert_ne!(first.host_cas[0], first.user_cas[0]);
    let revocations = hostward_mock_backend::publisher::Revocations {
        serials: vec![7, 8],
        key_ids: vec!["mallory".into()],
        keys: vec!["ssh-ed25519 AAAA".into()],
    };
    bench.client().revoke(revocations, false).unwrap();
    let revoked = published().revoked;
    assert_eq!(revoked.serials.iter().filter_map(|s| s.shaped()).collect::<Vec<_>>(), [&7, &8]);
    assert_eq!(revoked.key_ids.len(), 1);
    assert_eq!(revoked.keys.len(), 1);
    let undo = hostward_mock_backend::publisher::Revocations { serials: vec![7], ..Default::default() };
    bench.client().revoke(undo, true).unwrap();
    let bench = bench.restart().await;
    let policy = bench.client().policy(true).unwrap();
    let ssh = policy.targets.into_iter().find(|target| target.name == "ssh.json").unwrap();
    let ssh: Ssh = document::parse(ssh.content.unwrap().as_bytes()).unwrap();
    assert_eq!(ssh.revoked.serials.iter().filter_map(|s| s.shaped()).collect::<Vec<_>>(), [&8]);
}
