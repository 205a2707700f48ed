//! Certificates for the host's own keys: when they are asked for, and what goes before root.

use hostward_contract_tests::{Backend, Host, until};
use ssh_key::Certificate;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNIIhm0F2SGChPWeu03FhwNRRGp5Gb7CGoPB2pnmgUx";
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHk3UFRKlz3Lg7dxXWKzFN7tXO3VYhZpfcKeCb8M5Ox";
const ENDPOINT: &str = "path=host-certificates";

fn with_key(host: &Host, key: &str) {
    std::fs::write(host.etc_ssh("ssh_host_ed25519_key.pub"), format!("{key} root@web1\n"))
        .expect("cannot write the key");
}

fn offered(host: &Host) -> Vec<Certificate> {
    let text = std::fs::read_to_string(host.state("inbox/host-certificates")).unwrap_or_default();
    text.lines().filter_map(|line| Certificate::from_openssh(line).ok()).collect()
}

/// Waits until the backend has signed so many, and root was asked to look at the last.
fn until_signed(backend: &Backend, host: &Host, count: usize) -> Certificate {
    let serial = until(&format!("{count} certificates"), || {
        let issued = backend.client().certificates().expect("no backend");
        issued.get(count - 1).map(|issued| issued.serial)
    });
    let certificate = until("the certificate in the inbox", || {
        offered(host).into_iter().find(|certificate| certificate.serial() == serial)
    });
    let before = host.root.admissions().len();
    until("root to look at it", || {
        let all = host.root.admissions();
        let seen = all.last().is_some_and(|admission| admission.files.contains("host-certificates"));
        (seen && all.len() >= before).then_some(())
    });
    certificate
}

#[test]
fn they_come_after_the_enrollment_and_again_when_keys_or_names_change() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    with_key(&host, KEY);
    let agent = host.enroll(&backend);
    let id = host.until_enrolled();
    let first = until_signed(&backend, &host, 1);
    assert_eq!(first.valid_principals()[0], id);
    assert!(first.valid_before() - first.valid_after() > 6 * 86_400);

    // Nothing changed: a restart, a new policy and a reload ask for nothing.
    drop(agent);
    let agent = host.start();
    host.root.until_accepted(backend.add_user("carol", 70003));
    assert_eq!(offered(&host).len(), 1, "a policy sweeps no certificates away");

    host.configure(&format!("[backend]\nca_file = {:?}\n[host]\nalt_names = [\"www\"]\n", backend.ca()));
    let second = until_signed(&backend, &host, 2);
    assert!(second.valid_principals().contains(&"www".to_owned()), "{:?}", second.valid_principals());
    with_key(&host, OTHER_KEY);
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    let third = until_signed(&backend, &host, 3);
    assert_ne!(third.public_key(), second.public_key());
    assert_eq!(backend.client().certificates().unwrap().len(), 3);
}

#[test]
fn they_are_renewed_at_half_of_their_life() {
    let backend = Backend::start();
    // A minute in the past counts too: half of it is over after two seconds.
    backend.add_to_team("[ssh]\nhost_validity = \"64s\"");
    let host = Host::new(&backend);
    with_key(&host, KEY);
    let _agent = host.enroll(&backend);
    let first = until_signed(&backend, &host, 1);
    let second = until_signed(&backend, &host, 2);
    assert!(second.valid_before() > first.valid_before());
}

#[test]
fn a_backend_that_fails_is_asked_again_and_one_that_signs_none_is_left_alone() {
    let backend = Backend::start();
    backend.fault("status", &["code=503", "retry-after=1", ENDPOINT, "count=1"]);
    let host = Host::new(&backend);
    with_key(&host, KEY);
    let agent = host.enroll(&backend);
    until_signed(&backend, &host, 1);
    drop(agent);

    backend.add_to_team("[ssh]\nsign_nothing = true");
    let other = Host::new(&backend);
    with_key(&other, OTHER_KEY);
    let _agent = other.enroll(&backend);
    let status = other.until_status("enrolled", |status| status.last_contact.is_some());
    assert_eq!(status.problem, None);
    assert!(offered(&other).is_empty());
}

#[test]
fn a_host_without_sshd_asks_for_none() {
    let backend = Backend::start();
    let (host, _agent) = Host::enrolled(&backend);
    host.root.until_accepted(backend.add_user("carol", 70003));
    assert!(backend.client().certificates().unwrap().is_empty());
    assert!(!host.state("inbox/host-certificates").exists());
}

#[test]
fn useless_ones_go_before_root_too_and_are_not_asked_for_without_end() {
    let backend = Backend::start();
    backend.fault("wrong-certificate", &["flaw=expired", ENDPOINT]);
    let host = Host::new(&backend);
    with_key(&host, KEY);
    let _agent = host.enroll(&backend);
    until_signed(&backend, &host, 1);
    host.root.until_accepted(backend.add_user("carol", 70003));
    assert_eq!(backend.client().certificates().unwrap().len(), 1);
}

#[test]
fn leaving_takes_them_away() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    with_key(&host, KEY);
    let agent = host.enroll(&backend);
    until_signed(&backend, &host, 1);
    agent.ask(&hostward_protocol::local::AgentRequest::Forget);
    assert!(!host.state("inbox/host-certificates").exists());
    assert!(!host.state("certified.json").exists());
}
