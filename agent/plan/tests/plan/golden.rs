//! Plans as a person reads them, held against `tests/golden/*.txt`. With `UPDATE_GOLDEN=1` the files are written anew.

use std::path::PathBuf;

use chrono::TimeDelta;
use hostward_plan::facts::{DatabaseFact, ManagedFile, OwnDirectory, SudoDialect};
use hostward_plan::{Desired, Plan, Step, unenroll};
use hostward_protocol::report::Finding;
use serde_json::json;

use crate::certificates::{Wanted, offer};
use crate::model;
use crate::world::{CA_1, CA_2, World, group, user};

fn check(name: &str, world: &World) {
    let desired = world.desired();
    check_text(name, &text(&world.plan(), &desired));
}

fn check_text(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, text, "\n{} differs; after a look at it, UPDATE_GOLDEN=1", path.display());
}

/// The plan, the content that its steps write, and what was found.
fn text(plan: &Plan, desired: &Desired) -> String {
    let mut text = plan.to_string();
    for planned in &plan.steps {
        let content = match &planned.step {
            Step::WriteFile { content, .. } => String::from_utf8(content.clone()).unwrap(),
            Step::EditSshdMain { content } => content.clone(),
            Step::WriteKrl { spec, .. } => format!("{}{}", spec.per_ca, spec.keys),
            _ => continue,
        };
        text.push_str(&format!("\n--- {} {}\n{content}", planned.direction, planned.step));
    }
    let mut find = |title: &str, findings: &[Finding]| {
        if !findings.is_empty() {
            text.push_str(&format!("\n=== {title}\n"));
        }
        for finding in findings {
            text.push_str(&format!(
                "{} [{:?}] {}: {}\n    mend: {}\n",
                finding.code, finding.responsible, finding.subject, finding.message, finding.mend
            ));
        }
    };
    find("refused", &desired.refusals);
    find("warnings", &desired.warnings);
    if !plan.leaving.is_empty() {
        text.push_str(&format!("\nleaving: {:?}\n", plan.leaving));
    }
    if let Some(next) = plan.next_change {
        text.push_str(&format!("\nnext change: {next}\n"));
    }
    text
}

#[test]
fn first_installation() {
    check("first-installation", &World::new());
}

#[test]
fn nothing_to_do() {
    check("nothing-to-do", &World::new().settled());
}

#[test]
fn someone_leaves() {
    let mut world = World::new().settled();
    world.facts.running.extend([70001, 70002]);
    *world.group_mut("g10") = group("g10", "ops", 70100, &["u1"]);
    check("someone-leaves", &world);
}

#[test]
fn someone_joins() {
    let mut world = World::new().settled();
    *world.group_mut("g10") = group("g10", "ops", 70100, &["u1", "u2", "u3"]);
    check("someone-joins", &world);
}

#[test]
fn one_leaves_and_one_joins() {
    let mut world = World::new().settled();
    world.facts.running.insert(70002);
    *world.group_mut("g10") = group("g10", "ops", 70100, &["u1", "u3"]);
    world.entitlements[0]["commands"][1] = json!({"executable": "/usr/bin/id", "arguments": "none"});
    check("one-leaves-and-one-joins", &world);
}

#[test]
fn the_last_one_leaves() {
    let mut world = World::new().settled();
    world.grants.clear();
    check("the-last-one-leaves", &world);
}

#[test]
fn a_person_is_renamed() {
    let mut world = World::new().settled();
    world.user_mut("u1")["name"] = json!("alicia");
    world.user_mut("u1")["gecos"] = json!("Alicia");
    check("a-person-is-renamed", &world);
}

#[test]
fn subordinate_ids() {
    let mut world = World::new();
    world.user_mut("u1")["subids"] = json!([{"start": 600_000_000, "count": 65_536}]);
    world.settle();
    world.user_mut("u1")["subids"] = json!([{"start": 600_100_000, "count": 65_536}]);
    world.user_mut("u2")["subids"] = json!([{"start": 600_000_000, "count": 65_536}]);
    check("subordinate-ids", &world);
}

#[test]
fn a_uid_changes() {
    let mut world = World::new().settled();
    world.facts.running.insert(70001);
    world.user_mut("u1")["uid"] = json!(70009);
    check("a-uid-changes", &world);
}

#[test]
fn revocation() {
    let mut world = World::new().settled();
    world.ssh["revoked"] = json!({"serials": [7, 8, 12], "key_ids": ["laptop of bob"], "keys": [CA_2]});
    check("revocation", &world);
}

#[test]
fn a_ca_is_replaced() {
    let mut world = World::new();
    world.ssh["revoked"] = json!({"serials": [7]});
    world.settle();
    world.ssh["user_cas"] = json!([CA_2]);
    check("a-ca-is-replaced", &world);
    world.ssh["user_cas"] = json!([CA_1, CA_2]);
    check("a-ca-is-added", &world);
}

#[test]
fn no_ca_is_acceptable() {
    let mut world = World::new().settled();
    world.ssh["user_cas"] = json!(["ssh-dss AAAA"]);
    check("no-ca-is-acceptable", &world);
}

#[test]
fn drift() {
    let mut world = World::new().settled();
    let sudoers = world.facts.files.get_mut(&ManagedFile::Sudoers).unwrap();
    sudoers.content.extend(b"mallory ALL=(ALL) NOPASSWD: ALL\n");
    world.facts.files.get_mut(&ManagedFile::SshdDropIn).unwrap().attributes_ok = false;
    world.facts.files.get_mut(&ManagedFile::Krl).unwrap().content.truncate(3);
    world.facts.files.remove(&ManagedFile::UserCa);
    world.facts.database = DatabaseFact::Damaged("its checksum is wrong".into());
    world.facts.loose_directories.insert(OwnDirectory::Store);
    check("drift", &world);
}

#[test]
fn too_long_offline() {
    let mut world = World::new().settled();
    world.pass(TimeDelta::days(32));
    check("offline-kept", &world);
    world.config.policy.on_stale = hostward_config::OnStale::Lock;
    world.facts.running.insert(70001);
    world.settings["certificate_only"] = json!(false);
    check("offline-locked", &world);
}

#[test]
fn a_time_window() {
    let mut world = World::new();
    world.grants[0]["from"] = json!("2027-01-01T00:00:00Z");
    world.grants[0]["until"] = json!("2027-02-01T00:00:00Z");
    check("a-time-window", &world);
    world.settle();
    world.facts.running.insert(70002);
    world.pass(TimeDelta::days(30));
    check("a-time-window-ended", &world);
}

#[test]
fn a_main_file_without_the_directory() {
    let mut world = World::new();
    let sshd = world.facts.sshd.as_mut().unwrap();
    sshd.main = "PasswordAuthentication no\nMatch User git\n    X11Forwarding no".into();
    sshd.includes_directory = false;
    sshd.restricts_logins = true;
    check("a-main-file-without-the-directory", &world);
    let original = world.facts.sshd.clone().unwrap().main;
    world.settle();

    let sshd = world.facts.sshd.as_mut().unwrap();
    sshd.main = sshd.main.replace("# END hostward\n", "");
    check("a-block-edited-by-hand", &world);
    let sshd = world.facts.sshd.as_mut().unwrap();
    sshd.main.clone_from(&original);
    assert_eq!(world.plan().drift.len(), 1, "a block taken out by hand is drift");

    world.settle();
    world.facts.sshd.as_mut().unwrap().includes_directory = true;
    world.settle();
    assert_eq!(world.facts.sshd.unwrap().main, original);
}

#[test]
fn other_logins_allowed_too() {
    let mut world = World::new();
    world.settings["certificate_only"] = json!(false);
    world.facts.sudo = vec![SudoDialect::Sudo, SudoDialect::SudoRs];
    check("other-logins-allowed-too", &world);
}

#[test]
fn sudo_says_how_commands_end() {
    let mut world = World::new();
    world.facts.sudo_logs_exit = true;
    check("sudo-says-how-commands-end", &world);
    world.settle();
}

#[test]
fn the_operator_turns_things_off() {
    let mut world = World::new().settled();
    world.config.sshd.manage = false;
    world.config.sudo.manage = false;
    check("the-operator-turns-things-off", &world);
    world.settle();
}

#[test]
fn a_kill_before_the_reload() {
    let mut world = World::new();
    let plan = world.plan();
    model::remember(&plan, &mut world.facts);
    let reload = plan.steps.iter().position(|planned| planned.step == Step::ReloadSshd).unwrap();
    plan.steps[..reload].iter().for_each(|planned| model::take(planned, &mut world.facts));
    check("a-kill-before-the-reload", &world);
    world.settle();
}

/// The ledger is written last: without it the files are as the plan left them, which nobody is to be blamed for.
#[test]
fn a_kill_before_the_ledger() {
    let mut world = World::new().settled();
    world.user_mut("u2")["status"] = json!("suspended");
    world.entitlements[0]["commands"] = json!([{ "executable": "/usr/bin/true" }]);
    let plan = world.plan();
    assert!(!plan.steps.is_empty());
    model::take_all(&plan, &mut world.facts);
    world.facts.ledger = plan.ledger_before;
    let next = world.plan();
    assert_eq!((next.steps, next.drift), (Vec::new(), Vec::new()));
    world.facts.ledger = next.ledger_before;

    let sudoers = world.facts.files.get_mut(&ManagedFile::Sudoers).unwrap();
    sudoers.content.extend_from_slice(b"ALL ALL=(ALL) ALL\n");
    assert_eq!(world.plan().drift.len(), 1, "what somebody does to it afterwards is drift");
}

#[test]
fn a_local_user_appears() {
    let mut world = World::new();
    world.settings["removal"] = json!({"homes": "delete", "grace": 0});
    world.settle();
    let mut local = world.facts.local_users[5].clone();
    local.name = "bob".into();
    local.uid = 70002;
    local.home = "/home/bob".into();
    world.facts.local_users.push(local);
    world.facts.running.insert(70002);
    world.facts.homes.insert(70002, "/home/bob".into());
    check("a-local-user-appears", &world);
}

#[test]
fn local_groups() {
    let mut world = World::new();
    world.config.accounts.allow_local_groups = vec!["video".into(), "absent".into()];
    world.grants[0]["local_groups"] = json!(["video", "sudo", "absent"]);
    world.facts.hostward_users = None;
    check("local-groups", &world);
}

#[test]
fn homes() {
    let mut world = World::new();
    world.settings["removal"] = json!({"homes": "archive", "grace": 3600});
    world.settle();
    world.grants[0]["login"] = json!(false);
    world.settle();
    world.facts.homes.insert(70001, "/home/alice".into());
    world.facts.homes.insert(70002, "/home/elsewhere".into());
    check("homes-before-grace", &world);
    world.pass(TimeDelta::hours(1));
    check("homes-after-grace", &world);
    world.settle();
}

#[test]
fn environment() {
    let mut world = World::new();
    world.entitlements[0]["env_keep"] = json!(["HTTP_PROXY", "LD_PRELOAD"]);
    world.entitlements[0]["run_as"] = json!({"user": "www-data", "group": "adm"});
    world.entitlements[0]["commands"][1] = json!({"raw": "ALL"});
    check("environment", &world);
}

#[test]
fn leaving_the_project() {
    let mut world = World::new().with_service();
    offer(&mut world, vec![Wanted::default().sign()]);
    world.settle();
    world.facts.running.extend([70002, 70003]);
    let plan = unenroll(&Desired::default(), &world.facts, world.now);
    check_text("unenroll", &text(&plan, &Desired::default()));
    model::take_all(&plan, &mut world.facts);
    assert_eq!(unenroll(&Desired::default(), &world.facts, world.now).steps, []);
    assert!(world.facts.files.is_empty());
}

#[test]
fn a_project_in_full() {
    let mut world = World::new();
    world.users.push(json!({"id": "u4", "name": "dave", "uid": 70004, "gid": 70100, "gecos": "Dave D", "home": "/home/dd",
        "shell": "/usr/bin/zsh", "principals": ["dave@example.com", "dave"], "expires": "2027-02-01T00:00:00Z"}));
    world.users.push(user("u5", "docker", 70005));
    world.groups.push(group("g12", "devs", 70102, &["u4", "u5", "u1", "gone"]));
    world.grants.push(json!({"id": "r3", "group": "g12", "login": true, "entitlements": ["web", "missing"]}));
    world.grants.push(json!({"id": "r4", "group": "g12", "hosts": "role=web", "login": true}));
    check("a-project-in-full", &world);
}

#[test]
fn services() {
    let mut world = World::new().with_service();
    check("services", &world);
    world.settle();
    world.services = vec![json!({"id": "s2", "user": "u9", "uid": 113})];
    world.ssh["host_cas"] = json!([CA_2]);
    check("services-change", &world);
    world.settle();
    world.facts.files.get_mut(&ManagedFile::Services).unwrap().attributes_ok = false;
    world.facts.files.remove(&ManagedFile::ClientConfig);
    check("services-drift", &world);
    world.settle();
    world.services.clear();
    check("services-end", &world);
    world.settle();
}

#[test]
fn host_certificates() {
    let mut world = World::new();
    offer(&mut world, vec![Wanted::default().sign()]);
    check("host-certificate", &world);
    world.settle();
    offer(&mut world, vec![Wanted { until: 48, ..Wanted::default() }.sign()]);
    check("host-certificate-renewed", &world);
    world.settle();
    world.pass(TimeDelta::hours(48));
    check("host-certificate-over", &world);
    world.settle();
}
