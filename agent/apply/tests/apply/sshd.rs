//! What a pass does to the configuration of sshd, and to what is revoked.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use hostward_protocol::local::ApplyRequest;
use hostward_protocol::report::{Outcome, Report};
use serde_json::json;

use super::{DROP_IN, KRL, change, mode, with};
use crate::common::host::{Host, failures, report};
use crate::common::policy::{self, alice_and_bob};
use crate::common::repository::Repository;

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
    crate::common::host::script(
        &program,
        "case $* in *-u*) exit 255;; esac; exec /usr/bin/ssh-keygen \"$@\"",
    );
    assert_eq!(failures(&host.apply()), ["krl-not-compiled"]);
    assert_eq!(std::fs::read(&krl).unwrap(), before);
}
