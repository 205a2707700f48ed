//! Which bindings hold on a host, and which certificates its sshd presents.

use chrono::TimeDelta;
use hostward_plan::Step;
use hostward_plan::facts::{HostKeyKind, ManagedFile, OfferedCertificates};
use hostward_plan::step::Direction;
use hostward_protocol::service::BoundServices;
use serde_json::json;
use ssh_key::certificate::CertType;

use crate::certificates::{self, Wanted, offer};
use crate::world::{CA_2, World};

fn bound(world: &World) -> Vec<(u32, String)> {
    let services = world.desired().services;
    let bound = services.map(|services| services.bound).unwrap_or_default();
    bound.into_iter().map(|service| (service.uid, service.user)).collect()
}

fn codes(world: &World) -> Vec<String> {
    let desired = world.desired();
    desired.refusals.into_iter().chain(desired.warnings).map(|finding| finding.code).collect()
}

#[test]
fn a_suspended_or_expired_user_is_not_bound_and_the_moment_is_known() {
    let mut world = World::new().with_service();
    assert_eq!(bound(&world), [(112, "deploy-bot".to_owned())]);
    world.user_mut("u9")["expires"] = json!(world.now + TimeDelta::hours(1));
    assert_eq!(bound(&world).len(), 1);
    assert_eq!(world.desired().next_change, Some(world.now + TimeDelta::hours(1)));
    world.pass(TimeDelta::hours(1));
    assert_eq!((bound(&world), codes(&world)), (vec![], vec!["service-user-expired".to_owned()]));
    world.user_mut("u9")["status"] = json!("suspended");
    assert_eq!((bound(&world), codes(&world)), (vec![], vec!["service-user-suspended".to_owned()]));
}

#[test]
fn a_binding_needs_no_account_and_holds_on_the_hosts_it_selects() {
    let mut world = World::new().with_service();
    world.services.push(json!({"id": "s2", "user": "u9", "hosts": "labels.role=db", "uid": 113}));
    world.services.push(json!({"id": "s3", "user": "u1", "uid": 1_000_650_000}));
    assert_eq!(bound(&world), [(112, "deploy-bot".to_owned()), (1_000_650_000, "alice".to_owned())]);
    let config = world.desired().services.unwrap().client_config;
    assert_eq!(config.matches("Match localuser").count(), 1, "{config}");
}

#[test]
fn nobody_is_bound_when_locked() {
    let mut world = World::new().with_service().settled();
    assert!(world.facts.files.contains_key(&ManagedFile::Services));
    world.config.policy.on_stale = hostward_config::OnStale::Lock;
    world.pass(TimeDelta::days(32));
    let plan = world.plan();
    for file in [ManagedFile::Services, ManagedFile::ClientConfig, ManagedFile::KnownHosts] {
        assert!(plan.steps.iter().any(|planned| planned.step == Step::RemoveFile { file }), "{plan}");
    }
}

/// The agent judges certificates by the user CAs, so that they are there without sshd too.
#[test]
fn a_client_without_sshd_has_the_cas() {
    let mut world = World::new().with_service();
    world.facts.sshd = None;
    world.settle();
    let files: Vec<_> = world.facts.files.keys().copied().filter(|f| *f != ManagedFile::Sudoers).collect();
    let expected =
        [ManagedFile::UserCa, ManagedFile::Services, ManagedFile::KnownHosts, ManagedFile::ClientConfig];
    assert_eq!(files, expected);
    world.services.clear();
    world.settle();
    assert!(!world.facts.files.contains_key(&ManagedFile::UserCa));
}

#[test]
fn a_damaged_file_binds_nobody_until_it_is_written_anew() {
    let mut world = World::new().with_service().settled();
    let fact = world.facts.files.get_mut(&ManagedFile::Services).unwrap();
    let whole = fact.content.clone();
    for content in
        [&b"{"[..], br#"{"schema":"x","services":[{"uid":113,"user":"root","principals":["root"]}]}"#]
    {
        world.facts.files.get_mut(&ManagedFile::Services).unwrap().content = content.to_vec();
        let plan = world.plan();
        let first = plan.steps.iter().find(|planned| planned.direction == Direction::Narrow).unwrap();
        let Step::WriteFile { file: ManagedFile::Services, content } = &first.step else {
            panic!("{plan}");
        };
        assert_eq!(serde_json::from_slice::<BoundServices>(content).unwrap().services, []);
        assert_eq!(plan.drift.len(), 1);
        world.settle();
        assert_eq!(world.facts.files[&ManagedFile::Services].content, whole);
    }
}

#[test]
fn revoked_keys_are_known_and_a_revoked_ca_is_none() {
    let mut world = World::new().with_service();
    world.ssh["host_cas"] = json!([certificates::ca(), CA_2]);
    world.ssh["revoked"] = json!({"keys": [CA_2]});
    let known = world.desired().services.unwrap().known_hosts;
    assert_eq!(
        known,
        format!(
            "# Managed by hostward: changes are undone.\n@cert-authority * {}\n@revoked * {CA_2}\n",
            certificates::ca()
        )
    );
}

fn presented(world: &World) -> Option<String> {
    world.desired().host_certificates.get(&HostKeyKind::Ed25519).cloned()
}

#[test]
fn certificates_that_are_not_of_the_policys_ca_for_this_host_are_refused() {
    let good = || Wanted::default().sign();
    let wanted = |change: fn(&mut Wanted)| {
        let mut wanted = Wanted::default();
        change(&mut wanted);
        wanted.sign()
    };
    let other_signature = {
        // The CA's name on the signature of another.
        let line = wanted(|w| w.ca = 3);
        let mut certificate: ssh_key::Certificate = line.parse().unwrap();
        let bytes = certificate.to_bytes().unwrap();
        let ca = |seed: u8| Wanted { ca: seed, ..Wanted::default() };
        let right: ssh_key::Certificate = ca(1).sign().parse().unwrap();
        let (mine, theirs) = (certificate.signature_key().clone(), right.signature_key().clone());
        let (mine, theirs) = (mine.ed25519().unwrap().0, theirs.ed25519().unwrap().0);
        let at = bytes.windows(32).rposition(|window| window == mine).unwrap();
        let mut bytes = bytes;
        bytes[at..at + 32].copy_from_slice(&theirs);
        certificate = ssh_key::Certificate::from_bytes(&bytes).unwrap();
        certificate.to_openssh().unwrap()
    };
    for (what, line) in [
        ("another CA", wanted(|w| w.ca = 3)),
        ("another key", wanted(|w| w.key = 4)),
        ("another's signature", other_signature),
        ("a user's", wanted(|w| w.kind = CertType::User)),
        ("over", wanted(|w| w.until = 0)),
        ("not begun", wanted(|w| w.from = 1)),
        ("for any host", wanted(|w| w.principals.clear())),
        ("a pattern", wanted(|w| w.principals.push("*"))),
        ("an option", wanted(|w| w.option = Some("force-command"))),
        ("two lines", format!("{}\n{}", good(), good())),
        ("a key", certificates::ca()),
        ("nothing", String::new()),
        ("one that never ends", FOR_EVER.into()),
        ("long", format!("{} {}", good(), "x".repeat(40_000))),
    ] {
        let mut world = World::new();
        offer(&mut world, vec![line]);
        assert_eq!(presented(&world), None, "{what}");
        assert_eq!(codes(&world), ["host-certificate-refused"], "{what}");
    }
    let mut world = World::new();
    offer(&mut world, vec![format!("{} a comment", good())]);
    let line = presented(&world).unwrap();
    assert_eq!((line.split(' ').count(), codes(&world)), (2, vec![]));
    world.ssh["revoked"] = json!({"keys": [certificates::ca()]});
    assert_eq!(presented(&world), None, "its CA is revoked");
    world.ssh["revoked"] = json!({});
    world.facts.offered_certificates = OfferedCertificates::Unreadable("it is a symbolic link".into());
    assert_eq!(codes(&world), ["host-certificate-refused"]);
}

#[test]
fn what_is_in_force_stays_until_something_better_comes() {
    let mut world = World::new();
    let line = |until| Wanted { until, ..Wanted::default() }.sign();
    offer(&mut world, vec![line(24)]);
    world.settle();
    let first = presented(&world).unwrap();
    world.facts.offered_certificates = OfferedCertificates::None;
    assert_eq!((world.plan().steps, presented(&world)), (vec![], Some(first.clone())), "nothing offered");
    offer(&mut world, vec![line(12)]);
    assert_eq!(presented(&world), Some(first.clone()), "one that ends before");
    assert_eq!(world.desired().next_change, Some(world.now + TimeDelta::hours(24)));
    offer(&mut world, vec![line(12), line(48)]);
    world.settle();
    assert_ne!(presented(&world), Some(first));
    world.pass(TimeDelta::hours(48));
    assert_eq!(presented(&world), None, "over");
    world.settle();
    assert!(!world.facts.files.contains_key(&ManagedFile::HostCertificate(HostKeyKind::Ed25519)));
}

#[test]
fn the_moment_is_known_at_which_a_certificate_begins() {
    let mut world = World::new();
    offer(&mut world, vec![Wanted { from: 2, ..Wanted::default() }.sign()]);
    assert_eq!(world.desired().next_change, Some(world.now + TimeDelta::hours(2)));
    world.pass(TimeDelta::hours(2));
    assert!(presented(&world).is_some());
}

#[test]
fn a_key_that_the_operator_certified_is_left_to_them() {
    let mut world = World::new();
    offer(&mut world, vec![Wanted::default().sign()]);
    let sshd = world.facts.sshd.as_mut().unwrap();
    sshd.operator_certificates =
        vec!["nonsense".into(), "ssh-rsa-cert-v01@openssh.com AAAA".into(), certificates::ca()];
    assert!(presented(&world).is_some(), "certificates of other keys");
    let sshd = world.facts.sshd.as_mut().unwrap();
    sshd.operator_certificates.push(Wanted { ca: 9, until: 0, ..Wanted::default() }.sign());
    assert_eq!((presented(&world), codes(&world)), (None, vec![]));
}

/// Of the host's key by the CA, made by `ssh-keygen -h -n web1` without a time.
const FOR_EVER: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIDhff5QEZ4t8U/XyB2172wjfVjIKDVxaqIZfG2rxVpslAAAAIIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOUAAAAAAAAAAAAAAACAAAACGhvc3Q6aC0xAAAACAAAAAR3ZWIxAAAAAAAAAAD//////////wAAAAAAAAAAAAAAAAAAADMAAAALc3NoLWVkMjU1MTkAAAAgiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1wAAABTAAAAC3NzaC1lZDI1NTE5AAAAQBcIJg+wZJpHariiTZSNuA+OUdEzlx5G4cVpeiYWxxjbp40hDu+mWYWhlkKSW1gK4DTscSneo1yWmkWVayiWrQQ=";
