//! Logins with a real ssh at a real sshd.

use std::process::Output;

use hostward_contract_tests::{JENKINS, SECOND, STRANGER, Service};

use crate::sshd::{HostKey, Sshd};

/// What clients that don't bind their requests to the host are told to be.
const UNBOUND: &[&str] = &["-o", "PubkeyAuthentication=unbound"];

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_bound_account_logs_in_and_the_other_side_knows_who_came() {
    let service = Service::start();
    let sshd = Sshd::start(&service, "web1", HostKey::Certified);
    for more in [&[][..], UNBOUND] {
        let output = sshd.ssh(service.jenkins(), more, "root", "echo in");
        assert_eq!(said(&output), "in\n", "{}{}", sshd.log(), service.host.log());
    }
    let log = sshd.log();
    assert!(log.contains("ID service:deploy@") && log.contains("uid=9 "), "{log}");
    for (uid, user) in [(STRANGER, "root"), (JENKINS, "nobody")] {
        let output = sshd.ssh(service.account(uid), &[], user, "echo in");
        assert!(said(&output).contains("Permission denied"), "{uid}: {}", said(&output));
    }
    assert_eq!(service.issued(), 1);
}

#[test]
fn what_is_unbound_does_not_get_in_again() {
    let service = Service::start();
    let sshd = Sshd::start(&service, "web1", HostKey::Certified);
    assert_eq!(said(&sshd.ssh(service.jenkins(), &[], "root", "echo in")), "in\n");
    service.bind(&[(SECOND, "deploy")]);
    let refused = sshd.ssh(service.jenkins(), &[], "root", "echo in");
    assert!(said(&refused).contains("Permission denied"), "{}", said(&refused));
    assert_eq!(said(&sshd.ssh(service.account(SECOND), &[], "root", "echo in")), "in\n");
}

#[test]
fn a_host_that_the_project_did_not_certify_gets_no_signature() {
    let service = Service::start();
    let sshd = Sshd::start(&service, "elsewhere", HostKey::Plain);
    // ssh knows its key, and says to the agent whose session it is.
    let refused = sshd.ssh(service.jenkins(), &[], "root", "echo in");
    assert!(said(&refused).contains("Permission denied"), "{}", said(&refused));
    assert!(service.host.log().contains("not certified by the project"), "{}", service.host.log());
}

#[test]
fn a_forwarded_agent_is_of_no_use() {
    let service = Service::start();
    let sshd = Sshd::start(&service, "web1", HostKey::Certified);
    // sshd forwards no agent for such a certificate; a client that forwards it otherwise says so to the agent.
    let output = sshd.ssh(service.jenkins(), &["-A"], "root", "ssh-add -l");
    assert!(said(&output).contains("Could not open a connection"), "{}", said(&output));
}

#[test]
fn the_operator_may_want_to_know_each_session() {
    let service = Service::start_with("[service]\nrequire_hostbound = true\n");
    let sshd = Sshd::start(&service, "web1", HostKey::Certified);
    assert_eq!(said(&sshd.ssh(service.jenkins(), &[], "root", "echo in")), "in\n");
    // A client that says nothing: by hand.
    let script = include_str!("sign.py");
    let output = service.jenkins().run("python3", &["-c", script, "root"]);
    assert_eq!(said(&output), "refused\n");
    assert!(service.host.log().contains("require_hostbound"), "{}", service.host.log());
}

#[test]
fn a_client_by_hand_gets_a_login_signed_and_nothing_else() {
    let service = Service::start();
    let by_hand = |arguments: &[&str]| {
        let script = include_str!("sign.py");
        said(&service.jenkins().run("python3", &[&["-c", script], arguments].concat()))
    };
    assert_eq!(by_hand(&["root"]), "signed\n");
    assert_eq!(by_hand(&["deploy"]), "signed\n");
    assert_eq!(by_hand(&["alice"]), "refused\n");
    assert_eq!(by_hand(&["root", "blob"]), "refused\n");
}

#[test]
fn proxycommand_carries_a_session_both_ways_and_ends_with_it() {
    let service = Service::start();
    let sshd = Sshd::start(&service, "web1", HostKey::Certified);
    service.jenkins().hostward(&["version"]);
    let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let program = service.host.dir().join("hostward");
    let way = format!("ProxyCommand={} proxycommand -- {name} {}", program.display(), sshd.port());
    let output = sshd.ssh(
        service.jenkins(),
        &["-o", &way],
        "root",
        "head -c 3000000 /dev/zero | wc -c; head -c 5000000 /dev/zero",
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.len(), "3000000\n".len() + 5_000_000);
}
