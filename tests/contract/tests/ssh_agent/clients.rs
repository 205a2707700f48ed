//! What clients see that are no logins.

use hostward_contract_tests::{JENKINS, SECOND, STRANGER, Service, within};
use std::time::Duration;

#[test]
fn ssh_add_lists_one_certificate_for_whom_is_bound_and_nothing_for_others() {
    let service = Service::start();
    let listed = service.jenkins().certificates();
    let [line] = listed.as_slice() else { panic!("{listed:?}") };
    assert!(line.starts_with("ssh-ed25519-cert-v01@openssh.com "), "{line}");
    let file = service.host.dir().join("id-cert.pub");
    std::fs::write(&file, line).unwrap();
    let shown = service.account(0).run("ssh-keygen", &["-L", "-f", file.to_str().unwrap()]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("service:deploy@") && shown.contains("uid=9\""), "{shown}");
    let words: Vec<&str> = shown.split_whitespace().collect();
    let extensions = words.iter().skip_while(|word| **word != "Extensions:").skip(1);
    assert_eq!(extensions.collect::<Vec<_>>(), [&"permit-port-forwarding", &"permit-pty"]);
    assert_eq!(service.jenkins().certificates(), listed, "reused");
    assert_eq!(service.issued(), 1);
    // The same user, another account: another key.
    let other = service.account(SECOND).certificates();
    assert_eq!(other.len(), 1);
    assert_ne!(other, listed);
    assert_eq!(service.issued(), 2);
    // Root, the agent itself among it, and whoever is not bound.
    for uid in [0, STRANGER, 65_534] {
        let output = service.account(uid).run("ssh-add", &["-l"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(1) && said.contains("no identities"), "{uid}: {output:?}");
    }
    assert_eq!(service.issued(), 2, "nobody asked for them");
    let hint = service.backend.client().certificates().unwrap()[0].hint.clone().unwrap();
    assert!(hint.pid.is_some(), "{hint:?}");
}

#[test]
fn nothing_is_added_removed_or_locked() {
    let service = Service::start();
    let before = service.jenkins().certificates();
    let key = service.host.dir().join("key");
    let key = key.to_str().unwrap();
    let made = service.account(0).run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
    assert!(made.status.success());
    nix::unistd::chown(key, Some(JENKINS.into()), None).unwrap();
    for arguments in [&["-q", key][..], &["-q", "-t", "60", key], &["-D"], &["-d", &format!("{key}.pub")]] {
        let output = service.jenkins().run("ssh-add", arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
    }
    assert_eq!(service.jenkins().certificates(), before);
}

#[test]
fn files_are_not_signed() {
    let service = Service::start();
    let listed = service.jenkins().certificates();
    let (public, message) = (service.host.dir().join("id.pub"), service.host.dir().join("message"));
    std::fs::write(&public, &listed[0]).unwrap();
    std::fs::write(&message, "hello").unwrap();
    let (public, message) = (public.to_str().unwrap(), message.to_str().unwrap());
    let output = service.jenkins().run("ssh-keygen", &["-Y", "sign", "-f", public, "-n", "file", message]);
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("agent refused operation"), "{output:?}");
    within(Duration::from_secs(5), "a line in the log", || {
        service.host.log().contains("not signed for uid 9").then_some(())
    });
}

#[test]
fn each_certificate_is_written_down_with_who_asked() {
    let service = Service::start();
    service.jenkins().certificates();
    let log = service.host.log();
    let line = log.lines().find(|line| line.contains("issued to uid 9")).unwrap_or_else(|| panic!("{log}"));
    for part in
        ["hints: pid ", "of `deploy`", "key id `service:deploy@", "serial ", "principals `deploy,root`"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    let event = service.host.until_event("certificate.issued");
    assert_eq!(event.data["actor"]["user"]["uid"], "9");
    assert_eq!(event.data["actor"]["user"]["name"], "news", "the local account");
    assert!(event.data["actor"]["process"]["pid"].is_number());
    for (name, value) in [("issuer", "backend"), ("service_user", "deploy")] {
        assert_eq!(event.data["unmapped"][name], value);
    }
    service.backend.fault("wrong-certificate", &["flaw=other-ca"]);
    service.account(SECOND).certificates();
    let event = service.host.until_event("certificate.refused");
    assert_eq!(event.data["actor"]["user"]["uid"], "10");
    let log = service.host.log();
    let line =
        log.lines().find(|line| line.contains("not issued to uid 10")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("signed by an authority that the policy does not name"), "{line}");
}
