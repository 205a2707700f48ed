//! What a pass does to a host, and what it leaves alone.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use common::host::{Host, codes, failures, report};
use common::policy::{self, ALICE, BOB, alice_and_bob, bytes, documents, only_alice, user};
use common::repository::Repository;
use hostward_protocol::local::{ApplyReply, ApplyRequest};
use hostward_protocol::report::{Outcome, Report};
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
fn an_error_that_was_in_sshds_configuration_before_is_left_and_named() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    let main = "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nBroken yes\n";
    std::fs::write(host.path("/etc/ssh/sshd_config"), main).unwrap();
    // The stand-in looks at the first lines of files only.
    std::fs::write(host.path("/etc/ssh/sshd_config.d/50-x.conf"), "Broken yes\n").unwrap();
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(failures(&report), ["sshd-config-broken"], "{report:#?}");
    assert_eq!(host.read("/etc/ssh/sshd_config"), main);
    assert!(!host.path(DROP_IN).exists());
    assert!(host.names().is_empty(), "nobody is exposed before certificate-only login holds");
    assert!(!host.bus_calls().contains("Reload"), "nothing changed, nothing is reloaded");
    std::fs::remove_file(host.path("/etc/ssh/sshd_config.d/50-x.conf")).unwrap();
    std::fs::write(host.path("/etc/ssh/sshd_config"), main.replace("Broken", "#")).unwrap();
    assert!(host.apply().is_whole());
    assert_eq!(host.names(), ["alice", "bob"]);
}

#[test]
fn settings_that_do_not_take_effect_are_rolled_back() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    std::fs::write(host.path("/etc/ssh/overridden"), "AuthorizedPrincipalsCommand\n").unwrap();
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(failures(&report), ["sshd-settings-ineffective"], "{report:#?}");
    assert!(!host.path(DROP_IN).exists());
    let report = host.apply();
    assert_eq!(failures(&report), ["sshd-settings-ineffective"], "{report:#?}");
    assert!(!host.path(DROP_IN).exists());
    let skipped = |step: &&hostward_protocol::report::StepOutcome| {
        step.step == "reload sshd" && matches!(step.outcome, Outcome::Skipped { .. })
    };
    assert!(report.steps.iter().any(|step| skipped(&step)), "{report:#?}");
    std::fs::remove_file(host.path("/etc/ssh/overridden")).unwrap();
    assert!(host.apply().is_whole());
    assert!(host.path(DROP_IN).exists());
}

#[test]
fn a_main_file_without_the_directory_gets_a_block_and_loses_it_again() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    let main = "Port 22\nMatch User operator\n  X11Forwarding no";
    let path = host.path("/etc/ssh/sshd_config");
    std::fs::write(&path, main).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    host.offer(&repository);
    assert!(host.admit().is_whole());
    assert!(host.read("/etc/ssh/sshd_config").starts_with("# BEGIN hostward"));
    assert_eq!(mode(&host, "/etc/ssh/sshd_config"), 0o600);
    assert!(report(host.ask(&ApplyRequest::Unenroll)).is_whole());
    assert_eq!(host.read("/etc/ssh/sshd_config"), main);
}

#[test]
fn a_main_file_that_is_a_link_is_never_replaced_and_never_removed() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    let path = host.path("/etc/ssh/sshd_config");
    let managed_elsewhere = host.path("/etc/ssh/sshd_config.site");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&managed_elsewhere, "Port 22\n").unwrap();
    symlink("sshd_config.site", &path).unwrap();
    std::fs::write(host.path("/etc/ssh/overridden"), "AuthorizedPrincipalsCommand\n").unwrap();
    host.offer(&repository);
    for report in [host.admit(), host.apply()] {
        assert_eq!(failures(&report)[..1], ["sshd-main-not-edited"], "{report:#?}");
        assert_eq!(std::fs::read_link(&path).unwrap().to_str(), Some("sshd_config.site"));
        assert_eq!(std::fs::read_to_string(&managed_elsewhere).unwrap(), "Port 22\n");
    }
    assert!(host.names().is_empty(), "nobody is exposed before certificate-only login holds");
    std::fs::remove_file(host.path("/etc/ssh/overridden")).unwrap();
    std::fs::write(&managed_elsewhere, "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n").unwrap();
    let mended = host.apply();
    assert!(mended.is_whole(), "what the finding asks for is enough: {mended:#?}");
    assert_eq!(host.names(), ["alice", "bob"]);
    assert!(report(host.ask(&ApplyRequest::Unenroll)).is_whole());
    assert!(path.is_symlink() && path.exists());
}

#[test]
fn a_main_file_that_is_not_utf_8_is_left_byte_for_byte() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    let main = b"# f\xfcr alle\nPort 22\n";
    std::fs::write(host.path("/etc/ssh/sshd_config"), main).unwrap();
    host.offer(&repository);
    assert_eq!(failures(&host.admit()), ["sshd-main-not-edited"]);
    assert_eq!(std::fs::read(host.path("/etc/ssh/sshd_config")).unwrap(), main);
}

#[test]
fn what_the_operator_writes_into_the_main_file_meanwhile_stays() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::of(&repository);
    let path = host.path("/etc/ssh/sshd_config");
    std::fs::write(&path, "Port 22\n").unwrap();
    let sshd = host.path("/usr/sbin/sshd");
    let stand_in = std::fs::read_to_string(&sshd).unwrap();
    // Once the drop-in is there, the next configuration that is tested is the main file with the block.
    let edit = format!(
        "case $3 in */.sshd-*) [ -e {drop_in} ] && echo 'Port 2222' > {main};; esac",
        drop_in = host.path(DROP_IN).display(),
        main = path.display()
    );
    std::fs::write(&sshd, stand_in.replacen("#!/bin/sh\n", &format!("#!/bin/sh\n{edit}\n"), 1)).unwrap();
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(failures(&report), ["sshd-main-edited-meanwhile"], "{report:#?}");
    assert_eq!(host.read("/etc/ssh/sshd_config"), "Port 2222\n");
    std::fs::write(&sshd, stand_in).unwrap();
    assert!(host.apply().is_whole());
    assert!(host.read("/etc/ssh/sshd_config").ends_with("# END hostward\nPort 2222\n"));
}

#[test]
fn revoked_serials_key_ids_and_keys_are_in_the_list() {
    let mut repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let keygen =
        |arguments: &[&str]| Command::new("/usr/bin/ssh-keygen").arg("-q").args(arguments).output().unwrap();
    for key in ["ca", "lost", "kept"] {
        assert!(keygen(&["-t", "ed25519", "-N", "", "-f", &at(key)]).status.success());
    }
    let certify = |name: &str, id: &str, serial: &str| {
        std::fs::copy(at("kept.pub"), at(&format!("{name}.pub"))).unwrap();
        let out = keygen(&["-s", &at("ca"), "-I", id, "-z", serial, "-n", "x", &at(&format!("{name}.pub"))]);
        assert!(out.status.success(), "{out:?}");
        at(&format!("{name}-cert.pub"))
    };
    let certificates =
        [certify("by-serial", "a", "7"), certify("by-id", "jenkins", "8"), certify("good", "b", "9")];
    let line = |name: &str| std::fs::read_to_string(at(name)).unwrap().trim().to_owned();
    let revoked = with(alice_and_bob(), "ssh.json", |ssh| {
        ssh["user_cas"] = json!([policy::CA, line("ca.pub")]);
        ssh["revoked"] = json!({ "serials": [7], "key_ids": ["jenkins"], "keys": [line("lost.pub")] });
    });
    let report = change(&host, &mut repository, revoked);
    assert!(report.is_whole(), "{report:#?}");
    let krl = host.path(KRL);
    let is_revoked = |file: &str| {
        let out = keygen(&["-Q", "-f", krl.to_str().unwrap(), file]);
        out.status.code() == Some(1) && String::from_utf8_lossy(&out.stdout).contains("REVOKED")
    };
    assert!(is_revoked(&certificates[0]), "by serial");
    assert!(is_revoked(&certificates[1]), "by key id");
    assert!(is_revoked(&at("lost.pub")), "by key");
    assert!(!is_revoked(&certificates[2]));
    assert!(!is_revoked(&at("kept.pub")));
    assert!(host.apply().steps.is_empty(), "compiled once");
}

/// An ECDSA key as text whose point is not on the curve; ssh-keygen ends at such a line.
fn off_curve(seed: u8) -> String {
    use base64::Engine as _;
    let mut blob = Vec::new();
    let mut point = vec![seed; 65];
    point[0] = 4;
    for part in [b"ecdsa-sha2-nistp256".as_slice(), b"nistp256", &point] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    format!("ecdsa-sha2-nistp256 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}

#[test]
fn a_key_that_ssh_keygen_does_not_take_keeps_no_other_from_being_revoked() {
    let mut repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let keygen =
        |arguments: &[&str]| Command::new("/usr/bin/ssh-keygen").arg("-q").args(arguments).output().unwrap();
    let line = |name: &str| std::fs::read_to_string(at(name)).unwrap().trim().to_owned();
    for key in ["ca", "a", "b", "c", "kept"] {
        assert!(keygen(&["-t", "ed25519", "-N", "", "-f", &at(key)]).status.success());
    }
    std::fs::copy(at("kept.pub"), at("serial.pub")).unwrap();
    let signed = keygen(&["-s", &at("ca"), "-I", "x", "-z", "7", "-n", "x", &at("serial.pub")]);
    assert!(signed.status.success(), "{signed:?}");
    let revoked = with(alice_and_bob(), "ssh.json", |ssh| {
        ssh["user_cas"] = json!([off_curve(9), policy::CA, line("ca.pub")]);
        ssh["revoked"] = json!({
            "serials": [7],
            "keys": [off_curve(1), line("a.pub"), off_curve(2), line("b.pub"), line("c.pub")],
        });
    });
    let report = change(&host, &mut repository, revoked.clone());
    let krl = host.path(KRL);
    let is_revoked = |file: &str| {
        let out = keygen(&["-Q", "-f", krl.to_str().unwrap(), &at(file)]);
        out.status.code() == Some(1) && String::from_utf8_lossy(&out.stdout).contains("REVOKED")
    };
    for (file, expected) in
        [("a.pub", true), ("b.pub", true), ("c.pub", true), ("serial-cert.pub", true), ("kept.pub", false)]
    {
        assert_eq!(is_revoked(file), expected, "{file}");
    }
    assert!(report.is_whole(), "{report:#?}");
    let said = |report: &Report| {
        let not_in_force = |f: &&hostward_protocol::report::Finding| {
            f.code == "revocation-not-compiled" && f.message.contains("NOT IN FORCE")
        };
        report.warnings.iter().filter(not_in_force).count()
    };
    assert_eq!(said(&report), 3, "two keys and what is revoked of one CA: {report:#?}");
    assert_eq!(said(&host.apply()), 3, "it is said for as long as it is so");

    // A ssh-keygen that fails for another reason takes nothing out of force.
    let before = std::fs::read(&krl).unwrap();
    let program = host.path("/usr/bin/ssh-keygen");
    std::fs::remove_file(&program).unwrap();
    common::host::script(&program, "case $* in *-u*) exit 255;; esac; exec /usr/bin/ssh-keygen \"$@\"");
    assert_eq!(failures(&host.apply()), ["krl-not-compiled"]);
    assert_eq!(std::fs::read(&krl).unwrap(), before);
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
fn homes_are_archived_or_deleted_after_the_grace() {
    for (word, archived) in [("archive", true), ("delete", false)] {
        let removal = |documents| {
            with(documents, "project.json", |project| {
                project["settings"]["removal"] = json!({ "homes": word, "grace": 3600 });
            })
        };
        let mut repository = Repository::new(removal(alice_and_bob()));
        let host = Host::applied(&repository);
        let home = host.path("/home/bob");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("notes"), "of bob").unwrap();
        symlink("/etc", home.join("link")).unwrap();
        std::fs::create_dir_all(home.join("deep/er")).unwrap();
        chown(&home, Some(BOB), Some(BOB)).unwrap();
        assert!(change(&host, &mut repository, removal(only_alice())).is_whole());
        host.engine.rest();
        assert!(home.exists(), "the grace is not over");
        let later = Utc::now() + TimeDelta::hours(2);
        assert_eq!(failures(&host.apply_at(later)), Vec::<&str>::new());
        host.engine.rest();
        assert!(!home.exists());
        assert!(host.path("/etc/passwd").exists());
        let archives: Vec<_> = std::fs::read_dir(host.path("/var/lib/hostward/archive"))
            .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        assert_eq!(archives.len(), usize::from(archived));
        for archive in archives {
            assert_eq!(std::fs::metadata(&archive).unwrap().permissions().mode() & 0o7777, 0o600);
            let list = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
            let list = String::from_utf8_lossy(&list.stdout).into_owned();
            assert!(list.contains("./notes") && list.contains("./link\n"), "{list}");
            assert!(!list.contains("passwd"), "links are not followed: {list}");
        }
        let ledger = host.read("/var/lib/hostward/ledger.json");
        assert!(ledger.contains("\"home_settled\":true"), "{ledger}");
        let report = host.apply_at(later + TimeDelta::minutes(5));
        assert!(report.steps.iter().any(|step| step.step.contains("/home/bob")), "its outcome is reported");
    }
}

fn removal(documents: policy::Documents, word: &str) -> policy::Documents {
    with(documents, "project.json", |project| {
        project["settings"]["removal"] = json!({ "homes": word, "grace": 0 });
    })
}

/// A program that says `NAME-started` in the root, and goes on once `NAME-goes-on` is there.
fn held(host: &Host, path: &str) {
    let name = host.path(path.rsplit('/').next().unwrap());
    let name = name.display();
    std::fs::remove_file(host.path(path)).unwrap();
    common::host::script(
        &host.path(path),
        &format!(
            ": > {name}-started; while [ ! -e {name}-goes-on ]; do /bin/sleep 0.02; done; exec {path} \"$@\""
        ),
    );
}

fn await_file(path: &std::path::Path) {
    let begun = std::time::Instant::now();
    while !path.exists() {
        assert!(begun.elapsed().as_secs() < 60, "`{}` did not appear", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_home_whose_owner_is_let_in_again_while_it_is_packed_stays() {
    for leaves_again in [false, true] {
        let mut repository = Repository::new(removal(alice_and_bob(), "archive"));
        let host = Host::applied(&repository);
        let home = host.path("/home/bob");
        std::fs::create_dir(&home).unwrap();
        chown(&home, Some(BOB), Some(BOB)).unwrap();
        held(&host, "/bin/tar");
        change(&host, &mut repository, removal(only_alice(), "archive"));
        host.apply_at(Utc::now() + TimeDelta::hours(1));
        await_file(&host.path("tar-started"));
        change(&host, &mut repository, removal(alice_and_bob(), "archive"));
        assert_eq!(host.names(), ["alice", "bob"]);
        std::fs::write(home.join("new"), "since bob is back").unwrap();
        if leaves_again {
            change(&host, &mut repository, removal(only_alice(), "keep"));
        }
        std::fs::write(host.path("tar-goes-on"), "").unwrap();
        host.engine.rest();
        assert!(home.join("new").exists());
        let archives = std::fs::read_dir(host.path("/var/lib/hostward/archive")).unwrap();
        assert_eq!(archives.count(), 0, "an archive of what is in use helps nobody");
        let report = host.apply();
        let skipped = |step: &hostward_protocol::report::StepOutcome| {
            step.step.contains("/home/bob") && matches!(step.outcome, Outcome::Skipped { .. })
        };
        assert!(report.steps.iter().any(skipped), "{report:#?}");
    }
}

#[test]
fn a_home_that_is_being_deleted_is_not_in_the_way_of_its_owner() {
    let mut repository = Repository::new(removal(alice_and_bob(), "delete"));
    let host = Host::applied(&repository);
    let home = host.path("/home/bob");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(BOB), Some(BOB)).unwrap();
    held(&host, "/bin/rm");
    change(&host, &mut repository, removal(only_alice(), "delete"));
    host.apply_at(Utc::now() + TimeDelta::hours(1));
    await_file(&host.path("rm-started"));
    assert!(!home.exists());
    change(&host, &mut repository, removal(alice_and_bob(), "delete"));
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("new"), "since bob is back").unwrap();
    std::fs::write(host.path("rm-goes-on"), "").unwrap();
    host.engine.rest();
    assert!(home.join("new").exists());
    assert_eq!(std::fs::read_dir(host.path("/home")).unwrap().count(), 1, "the old one is gone");
}

/// A file system of this size over a directory.
struct Small(std::path::PathBuf);

impl Small {
    fn over(directory: &std::path::Path, size: &str) -> Small {
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(directory).status();
        assert!(mounted.unwrap().success());
        Small(directory.into())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn an_archive_for_which_there_is_no_room_is_not_begun_and_not_tried_again_at_once() {
    const TAKEN: &str = "/var/lib/hostward/archive";
    // With no room beside the margin; and with some, but less than what a wrong estimate promised.
    for (size, wrong) in [("200m", false), ("260m", true)] {
        let mut repository = Repository::new(removal(alice_and_bob(), "archive"));
        let host = Host::applied(&repository);
        let home = host.path("/home/bob");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("large"), vec![7; 8 << 20]).unwrap();
        chown(&home, Some(BOB), Some(BOB)).unwrap();
        std::fs::create_dir_all(host.path(TAKEN)).unwrap();
        let _small = Small::over(&host.path(TAKEN), size);
        std::fs::write(host.path(TAKEN).join(".old-1-x.tar.new"), "of a process that was killed").unwrap();
        if wrong {
            std::fs::remove_file(host.path("/usr/bin/du")).unwrap();
            common::host::script(&host.path("/usr/bin/du"), "echo 1");
        }
        change(&host, &mut repository, removal(only_alice(), "archive"));
        let later = Utc::now() + TimeDelta::hours(1);
        let begun = |report: &Report| {
            let is_step = |step: &&hostward_protocol::report::StepOutcome| matches!(&step.outcome, Outcome::Done { detail } if detail.contains("begun"));
            report.steps.iter().any(|step| is_step(&step))
        };
        assert!(begun(&host.apply_at(later)));
        host.engine.rest();
        assert!(home.join("large").exists());
        assert_eq!(std::fs::read_dir(host.path(TAKEN)).unwrap().count(), 0, "nothing is left of it");
        let report = host.apply_at(later + TimeDelta::minutes(5));
        assert_eq!(failures(&report), ["home-not-settled"], "{report:#?}");
        assert!(!begun(&report), "{report:#?}");
        assert!(format!("{report:?}").contains("MiB are free"), "{report:#?}");
        drop(_small);
        let report = host.apply_at(later + TimeDelta::hours(23));
        assert!(!begun(&report), "{report:#?}");
        assert!(begun(&host.apply_at(later + TimeDelta::hours(25))));
        host.engine.rest();
        assert!(!home.exists());
        assert_eq!(host.read("/var/lib/hostward/home-retries.json"), "{}");
        assert_eq!(std::fs::read_dir(host.path(TAKEN)).unwrap().count(), 1);
    }
}

#[test]
fn a_home_that_was_moved_aside_when_the_machine_stopped_is_deleted_later() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let aside = host.path("/home/.hostward-left-70099");
    std::fs::create_dir_all(aside.join("deep/er")).unwrap();
    host.apply();
    host.engine.rest();
    assert!(!aside.exists());
}

#[test]
fn a_home_that_is_not_the_leavers_stays() {
    let removal = |documents| {
        with(documents, "project.json", |project| {
            project["settings"]["removal"] = json!({ "homes": "delete", "grace": 0 });
        })
    };
    let mut repository = Repository::new(removal(alice_and_bob()));
    let host = Host::applied(&repository);
    let home = host.path("/home/bob");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(ALICE), None).unwrap();
    change(&host, &mut repository, removal(only_alice()));
    host.apply_at(Utc::now() + TimeDelta::hours(1));
    host.engine.rest();
    assert!(home.exists());
    std::fs::remove_dir(&home).unwrap();
    symlink(host.path("/etc"), &home).unwrap();
    host.apply_at(Utc::now() + TimeDelta::hours(1));
    host.engine.rest();
    assert!(host.path("/etc/passwd").exists());
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
