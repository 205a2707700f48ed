//! What a pass does to a host, and what it leaves alone.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod homes;
mod sshd;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use common::host::{Host, codes, failures, report};
use common::policy::{self, ALICE, BOB, alice_and_bob, bytes, documents, only_alice, user};
use common::repository::Repository;
use hostward_protocol::local::{ApplyReply, ApplyRequest};
use hostward_protocol::report::Report;
use serde_json::{Value, json};

const SUDOERS: &str = "/etc/sudoers.d/hostward";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-hostward.conf";
const CA: &str = "/var/lib/hostward/ssh/user_ca.pub";
const KRL: &str = "/var/lib/hostward/ssh/revoked.krl";
const MANAGED: [(&str, u32); 4] = [(SUDOERS, 0o440), (DROP_IN, 0o644), (CA, 0o644), (KRL, 0o644)];

/// Publishes changed documents as the next version and has them applied.
fn change(host: &Host, repository: &mut Repository, documents: policy::Documents) -> Report {
    repository.version += 1;
    repository.documents = documents;
    host.offer(repository);
    host.admit()
}

fn with(mut documents: policy::Documents, name: &str, edit: impl FnOnce(&mut Value)) -> policy::Documents {
    let mut value: Value = serde_json::from_slice(&documents[name]).unwrap();
    edit(&mut value);
    documents.insert(name.into(), bytes(&value));
    documents
}

fn visudo(host: &Host) -> bool {
    Command::new(host.path("/usr/sbin/visudo")).arg("-c").output().unwrap().status.success()
}

fn mode(host: &Host, path: &str) -> u32 {
    std::fs::metadata(host.path(path)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_first_pass_puts_everything_in_place() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    host.offer(&repository);
    let report = host.admit();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(report.users, 2);
    for (path, expected) in MANAGED {
        assert_eq!(mode(&host, path), expected, "{path}");
    }
    assert!(host.read(SUDOERS).contains("/usr/bin/id \"\""), "{}", host.read(SUDOERS));
    assert!(visudo(&host));
    assert!(host.read(CA).starts_with("ssh-ed25519 "));
    assert_eq!(host.read(KRL), "", "nothing is revoked");
    let alice = &host.users()[0];
    assert_eq!((alice.uid, alice.home.as_str(), alice.shell.as_str()), (ALICE, "/home/alice", "/bin/bash"));
    assert!(host.bus_calls().contains("ReloadOrTryRestartUnit ss ssh.service replace"));
    assert_eq!(mode(&host, "/var/lib/hostward/status.json"), 0o644);
    for private in ["report.json", "ledger.json", "store/committed.json"] {
        assert_eq!(mode(&host, &format!("/var/lib/hostward/{private}")), 0o600, "{private}");
    }
    let again = host.apply();
    assert!(again.steps.is_empty() && again.drift.is_empty(), "{again:#?}");
}

#[test]
fn whoever_leaves_loses_account_and_sudo_and_is_remembered() {
    let mut repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let report = change(&host, &mut repository, only_alice());
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(host.names(), ["alice"]);
    let ledger: Value = serde_json::from_str(&host.read("/var/lib/hostward/ledger.json")).unwrap();
    assert_eq!(ledger["people"][BOB.to_string()]["id"], "u2");
    assert!(ledger["people"][BOB.to_string()]["left"].is_string());
    // The number comes back as another person.
    let other = documents(&[user("u1", "alice", ALICE), user("u9", "mallory", BOB)]);
    let report = change(&host, &mut repository, other);
    assert_eq!(report.refusals.len(), 1, "{report:#?}");
    assert_eq!(host.names(), ["alice"]);
}

#[test]
fn whatever_was_changed_by_hand_is_repaired_and_reported() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let before: Vec<_> = MANAGED.iter().map(|(path, _)| host.read(path)).collect();
    let damages: [fn(&std::path::Path); 6] = [
        |path| std::fs::write(path, "something else\n").unwrap(),
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap(),
        |path| chown(path, Some(7), Some(7)).unwrap(),
        |path| {
            std::fs::remove_file(path).unwrap();
            symlink("/etc/hostname", path).unwrap();
        },
        |path| std::fs::hard_link(path, path.with_file_name(".second")).unwrap(),
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        for ((path, expected), content) in MANAGED.into_iter().zip(&before) {
            damage(&host.path(path));
            let report = host.apply();
            assert_eq!(failures(&report), Vec::<&str>::new(), "damage {n} of {path}: {report:#?}");
            assert!(!report.drift.is_empty(), "damage {n} of {path} is reported");
            assert_eq!(&host.read(path), content, "damage {n} of {path}");
            let metadata = std::fs::symlink_metadata(host.path(path)).unwrap();
            assert!(metadata.is_file() && metadata.nlink() == 1 && metadata.uid() == 0);
            assert_eq!(mode(&host, path), expected);
            assert!(host.apply().drift.is_empty(), "once");
            let _ = std::fs::remove_file(host.path(path).with_file_name(".second"));
        }
    }
}

#[test]
fn a_damaged_database_is_replaced() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let path = host.path("/var/lib/misc/hostward.db");
    let whole = std::fs::read(&path).unwrap();
    for end in [0, 10, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..end]).unwrap();
        let report = host.apply();
        assert_eq!(failures(&report), Vec::<&str>::new());
        assert!(!report.drift.is_empty());
        assert_eq!(host.names(), ["alice", "bob"]);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(!host.apply().drift.is_empty());
    assert_eq!(host.names(), ["alice", "bob"]);
}

#[test]
fn a_plan_is_printed_and_changes_nothing() {
    let mut repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    std::fs::write(host.path(SUDOERS), "# mine\n").unwrap();
    let ApplyReply::Text { text, json } = host.ask(&ApplyRequest::Plan) else { panic!("no text") };
    assert!(text.contains("replace /etc/sudoers.d/hostward"), "{text}");
    assert_eq!(json["steps"][0]["step"]["kind"], "write-file", "{json:#}");
    assert_eq!(host.read(SUDOERS), "# mine\n");
    let ApplyReply::Text { text, json } = host.ask(&ApplyRequest::Explain { user: "alice".into() }) else {
        panic!("no text")
    };
    assert!(text.starts_with("alice can log in"), "{text}");
    assert!(text.contains("/usr/bin/id") && text.contains("`restart`"), "{text}");
    assert_eq!(json["login"], true);
    change(&host, &mut repository, only_alice());
    let ApplyReply::Text { text, .. } = host.ask(&ApplyRequest::Explain { user: "bob".into() }) else {
        panic!("no text")
    };
    assert!(text.starts_with("bob cannot log in"), "{text}");
    assert!(matches!(
        Host::of(&repository).ask(&ApplyRequest::Explain { user: "x".into() }),
        ApplyReply::Failed(_)
    ));
}

#[test]
fn a_foreign_broken_sudoers_file_stops_nothing_and_is_named() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    std::fs::write(host.path("/etc/sudoers.d/broken"), "this is no rule at all\n").unwrap();
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(failures(&report), Vec::<&str>::new(), "{report:#?}");
    assert_eq!(codes(&report.warnings), ["sudoers-foreign-error"]);
    assert!(report.warnings[0].message.contains("sudoers.d/broken"), "{:?}", report.warnings);
    assert!(host.path(SUDOERS).exists());
    assert_eq!(codes(&host.apply().warnings), ["sudoers-foreign-error"], "as long as it is there");
    std::fs::remove_file(host.path("/etc/sudoers.d/broken")).unwrap();
    assert!(host.apply().warnings.is_empty());
}

/// Alias definitions as hostward's own file has them.
fn aliases(host: &Host) -> String {
    let own = host.read(SUDOERS);
    let aliases: Vec<&str> = own.lines().filter(|line| line.contains("_Alias ")).collect();
    assert!(!aliases.is_empty(), "{own}");
    aliases.join("\n") + "\n"
}

#[test]
fn an_alias_that_another_file_defines_keeps_our_rules_out_and_sudo_working() {
    let with_alias = || {
        with(alice_and_bob(), "entitlements.json", |entitlements| {
            entitlements["entitlements"][0]["env_keep"] = json!(["PROXY_HOST"]);
        })
    };
    let mut repository = Repository::new(with_alias());
    let host = Host::applied(&repository);
    let aliases = aliases(&host);
    // It came after our rules: sudo is spoilt until the next pass takes them out.
    std::fs::write(host.path("/etc/sudoers.d/zz-theirs"), &aliases).unwrap();
    assert!(!visudo(&host), "the clash is one");
    let report = host.apply();
    assert!(codes(&report.warnings).contains(&"sudoers-clash"), "{report:#?}");
    assert!(visudo(&host), "sudo works for everybody else");
    assert!(!host.path(SUDOERS).exists());
    // It is there before our rules come.
    let report = change(&host, &mut repository, with_alias());
    assert_eq!(failures(&report), ["sudoers-clash"], "{report:#?}");
    assert!(visudo(&host));
    assert!(!host.path(SUDOERS).exists());
    std::fs::remove_file(host.path("/etc/sudoers.d/zz-theirs")).unwrap();
    assert!(host.apply().is_whole());
    assert!(host.path(SUDOERS).exists() && visudo(&host));
}
#[test]
fn unenrolling_leaves_nothing_but_homes() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let home = host.path("/home/alice");
    std::fs::create_dir(&home).unwrap();
    let main = host.read("/etc/ssh/sshd_config");
    for _ in 0..2 {
        let report = report(host.ask(&ApplyRequest::Unenroll));
        assert!(report.is_whole(), "{report:#?}");
        for (path, _) in MANAGED {
            assert!(!host.path(path).exists(), "{path}");
        }
        assert!(!host.path("/var/lib/misc/hostward.db").exists());
        let left: Vec<_> = std::fs::read_dir(host.path("/var/lib/hostward"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        // The package's own, which the agent watches.
        assert_eq!(left, ["ssh"]);
        assert_eq!(std::fs::read_dir(host.path("/var/lib/hostward/ssh")).unwrap().count(), 0);
    }
    assert_eq!(host.read("/etc/ssh/sshd_config"), main);
    assert!(home.exists());
}

#[test]
fn a_time_window_opens_and_closes_by_the_clock() {
    let now: DateTime<Utc> = Utc::now();
    let window = with(alice_and_bob(), "grants-00.json", |grants| {
        grants["grants"][0]["from"] = json!(now + TimeDelta::hours(1));
        grants["grants"][0]["until"] = json!(now + TimeDelta::hours(2));
    });
    let repository = Repository::new(window);
    let host = Host::of(&repository);
    host.offer(&repository);
    assert!(host.admit_at(now).is_whole());
    assert!(host.names().is_empty());
    let first = (now + TimeDelta::hours(1)).timestamp() + 1;
    let calls = host.bus_calls();
    assert!(calls.contains(&format!("--unit=hostward-window-{first}")), "{calls}");
    assert!(host.apply_at(now + TimeDelta::minutes(61)).is_whole());
    assert_eq!(host.names(), ["alice", "bob"]);
    let calls = host.bus_calls();
    assert!(calls.contains(&format!("StopUnit ss hostward-window-{first}.timer replace")), "{calls}");
    assert!(host.apply_at(now + TimeDelta::minutes(121)).is_whole());
    assert!(host.names().is_empty());
}

#[test]
fn what_root_cannot_read_changes_nothing() {
    let mut repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let rows = [
        ("/etc/hostward/hostward.toml", "nonsense = ", "configuration-invalid"),
        ("/var/lib/hostward/ledger.json", "{\"people\": 7}", "ledger-damaged"),
        ("/etc/passwd", "", "host-not-observed"),
    ];
    repository.version = 2;
    repository.documents = only_alice();
    for (path, text, code) in rows {
        let before = std::fs::read(host.path(path)).unwrap();
        if text.is_empty() {
            std::fs::remove_file(host.path(path)).unwrap();
        } else {
            std::fs::write(host.path(path), text).unwrap();
        }
        let report = host.apply();
        assert_eq!(failures(&report), [code], "{report:#?}");
        assert_eq!(host.names(), ["alice", "bob"]);
        assert_eq!(report.policy.map(|policy| policy.version), Some(1), "what is in force is told");
        assert_eq!(report.users, 2);
        std::fs::write(host.path(path), before).unwrap();
    }
    std::fs::write(host.path("/var/lib/hostward/trust.json"), "{").unwrap();
    host.offer(&repository);
    host.refuses("trust-damaged");
    let report = host.apply();
    assert_eq!((report.users, report.policy.map(|policy| policy.version)), (2, Some(1)));
    std::fs::write(host.path("/var/lib/hostward/store/committed.json"), "{").unwrap();
    let report = host.apply();
    assert_eq!((report.users, report.policy.map(|policy| policy.version)), (2, Some(1)));
}

#[test]
fn what_is_in_force_is_repaired_also_while_trust_cannot_be_told() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let trust = host.path("/var/lib/hostward/trust.json");
    std::fs::write(&trust, "{\"schema\":\"hostward/trust/1\"}").unwrap();
    std::fs::set_permissions(&trust, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::write(host.path(DROP_IN), "PasswordAuthentication yes\n").unwrap();
    chown(host.path(SUDOERS), Some(1000), None).unwrap();
    let report = host.apply();
    let finding = report.admission.as_ref().expect("a finding");
    assert_eq!(finding.code, "trust-damaged");
    assert!(finding.mend.contains("chmod 600"), "{finding:?}");
    assert_eq!(codes(&report.drift), ["managed-file-attributes", "managed-file-changed"], "{report:#?}");
    assert!(!host.read(DROP_IN).contains("PasswordAuthentication yes"));
    assert_eq!(std::fs::metadata(host.path(SUDOERS)).unwrap().uid(), 0);
}

#[test]
fn directories_of_roots_state_are_given_back_to_root() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let loose = ["/var/lib/hostward", "/var/lib/hostward/store", "/var/lib/hostward/ssh"];
    for path in loose {
        std::fs::set_permissions(host.path(path), std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    chown(host.path("/var/lib/hostward/private"), Some(1000), Some(1000)).unwrap();
    let ApplyReply::Text { text, .. } = host.ask(&ApplyRequest::Plan) else { panic!("no plan") };
    assert!(text.contains("restore owner and mode of /var/lib/hostward/store\n"), "{text}");
    assert_eq!(mode(&host, "/var/lib/hostward/store"), 0o777, "a plan changes nothing");
    let report = host.apply();
    assert!(report.is_whole(), "{report:#?}");
    let drift: Vec<&str> = report.drift.iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(
        drift,
        [
            "/var/lib/hostward",
            "/var/lib/hostward/private",
            "/var/lib/hostward/store",
            "/var/lib/hostward/ssh"
        ]
    );
    assert_eq!(loose.map(|path| mode(&host, path)), [0o755, 0o700, 0o755]);
    assert_eq!(std::fs::metadata(host.path("/var/lib/hostward/private")).unwrap().uid(), 0);
    assert!(host.apply().drift.is_empty());
}

#[test]
fn without_nss_sshd_is_not_blamed_for_knowing_nobody() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    std::fs::write(host.path("/etc/nsswitch.conf"), "passwd: files\ngroup: files hostward\n").unwrap();
    std::fs::write(host.path("/etc/ssh/overridden"), "TrustedUserCAKeys\n").unwrap();
    std::fs::write(host.path(DROP_IN), "PasswordAuthentication yes\n").unwrap();
    let report = host.apply();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(codes(&report.warnings), ["nsswitch-lacks-hostward"], "{report:#?}");
    assert!(report.warnings[0].message.contains("passwd, shadow"), "{report:#?}");
    assert!(!host.read(DROP_IN).contains("PasswordAuthentication yes"));
}

#[test]
fn nscd_forgets_at_each_change() {
    let mut repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    std::fs::create_dir_all(host.path("/run/nscd")).unwrap();
    std::fs::write(host.path("/run/nscd/socket"), "").unwrap();
    let calls = host.path("/calls");
    common::host::script(&host.path("/usr/sbin/nscd"), &format!("echo nscd \"$@\" >> {}", calls.display()));
    host.offer(&repository);
    assert!(host.admit().is_whole());
    assert!(host.bus_calls().contains("nscd -i passwd\nnscd -i group\n"), "{}", host.bus_calls());
    std::fs::remove_file(&calls).unwrap();
    assert!(change(&host, &mut repository, only_alice()).is_whole());
    assert!(host.bus_calls().contains("nscd -i passwd\nnscd -i group\n"), "{}", host.bus_calls());
}
