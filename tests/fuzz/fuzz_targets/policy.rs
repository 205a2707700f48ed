//! Any bytes as policy documents: what is accepted of them can always be planned and built.
#![no_main]

use chrono::DateTime;
use hostward_config::Config;
use hostward_plan::policy::Versions;
use hostward_plan::{Facts, Policy, plan, resolve};
use libfuzzer_sys::fuzz_target;

const DOCUMENTS: [(&str, &str); 6] = [
    ("project.json", r#"{"schema":"hostward/project/1","id":"acme","settings":{"empty":true}}"#),
    ("users-00.json", r#"{"schema":"hostward/users/1","users":[]}"#),
    ("groups-00.json", r#"{"schema":"hostward/groups/1","groups":[]}"#),
    ("grants-00.json", r#"{"schema":"hostward/grants/1","grants":[]}"#),
    ("entitlements.json", r#"{"schema":"hostward/entitlements/1","entitlements":[]}"#),
    ("ssh.json", r#"{"schema":"hostward/ssh/1"}"#),
];

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
    let versions = Versions { version: 1, root_version: 1, expires: now };
    let Ok(policy) = Policy::read(versions, documents, "acme") else { return };
    let mut facts = Facts { hostward_users: Some(990), ..Facts::default() };
    facts.shells.insert("/bin/bash".into());
    let config = Config::default();
    let desired = resolve(&policy, &config, &facts, now);
    for user in &desired.accounts.users {
        assert!(user.uid >= 1000 && user.name != "root", "{user:?}");
    }
    let plan = plan(&desired, &config, &facts, now);
    assert!(!plan.to_string().is_empty());
    hostward_accounts::build(&desired.accounts.users, &desired.accounts.groups, 1)
        .expect("what was accepted can be built");
});
