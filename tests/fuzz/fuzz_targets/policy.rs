//! Any bytes as policy documents: what is accepted of them can always be planned and built.
#![no_main]

use chrono::DateTime;
use hostward_config::Config;
use hostward_plan::facts::{HostKeyKind, LocalUser, OfferedCertificates, SshdFacts};
use hostward_plan::policy::Versions;
use hostward_plan::{Facts, Policy, plan, resolve};
use libfuzzer_sys::fuzz_target;

const DOCUMENTS: [(&str, &str); 7] = [
    ("project.json", r#"{"schema":"hostward/project/1","id":"acme","settings":{"empty":true}}"#),
    ("users-00.json", r#"{"schema":"hostward/users/1","users":[]}"#),
    ("groups-00.json", r#"{"schema":"hostward/groups/1","groups":[]}"#),
    ("grants-00.json", r#"{"schema":"hostward/grants/1","grants":[]}"#),
    ("entitlements.json", r#"{"schema":"hostward/entitlements/1","entitlements":[]}"#),
    ("ssh.json", r#"{"schema":"hostward/ssh/1"}"#),
    ("services.json", r#"{"schema":"hostward/services/1","services":[]}"#),
];

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

fuzz_target!(|data: &[u8]| {
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
    // Documents are separated by a byte that JSON has no use for; one that is left out is an empty one.
    let mut given = data.split(|byte| *byte == 0);
    let documents: Vec<(&str, &[u8])> = DOCUMENTS
        .iter()
        .map(|(name, default)| match given.next() {
            Some(bytes) if !bytes.is_empty() => (*name, bytes),
            _ => (*name, default.as_bytes()),
        })
        .collect();
    // What is left is what the agent offers for this host's keys.
    let offered =
        given.next().map(|bytes| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect());
    let versions = Versions { version: 1, root_version: 1, expires: now };
    let Ok(policy) = Policy::read(versions, documents, "acme") else { return };
    let mut facts = Facts { hostward_users: Some(990), ..Facts::default() };
    facts.shells.insert("/bin/bash".into());
    facts.local_users.push(LocalUser { name: "jenkins".into(), uid: 112, gid: 112, home: "/".into() });
    facts.offered_certificates = offered.map_or(OfferedCertificates::None, OfferedCertificates::Lines);
    let host_keys = [(HostKeyKind::Ed25519, HOST_KEY.to_owned())].into();
    facts.sshd = Some(SshdFacts { host_keys, ..SshdFacts::default() });
    let config = Config::default();
    let desired = resolve(&policy, &config, &facts, now);
    for user in &desired.accounts.users {
        assert!(user.uid >= 1000 && user.name != "root", "{user:?}");
    }
    for service in desired.services.iter().flat_map(|services| &services.bound) {
        assert!(
            ![0, 65_534, 65_535, u32::MAX].contains(&service.uid) && service.user != "root",
            "{service:?}"
        );
    }
    let plan = plan(&desired, &config, &facts, now);
    assert!(!plan.to_string().is_empty());
    hostward_accounts::build(&desired.accounts.users, &desired.accounts.groups, 1)
        .expect("what was accepted can be built");
});
