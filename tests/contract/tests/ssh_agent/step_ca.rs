//! Two issuers on one host: the backend for accounts that the policy binds, a real step-ca for those of the operator.

use std::os::unix::fs::PermissionsExt;

use hostward_contract_tests::{JENKINS, SECOND, STRANGER, Service, until};
use hostward_protocol::service::{Answer, Query};
use hostward_step_ca_tests::{Ca, PASSWORD, jwk};
use serde_json::json;

fn configuration(ca: &Ca) -> String {
    let Ca { url, root_fingerprint, .. } = ca;
    format!(
        "[step_ca]\nurl = \"{url}\"\nroot_fingerprint = \"{root_fingerprint}\"\nprovisioner = \"hostward\"\n"
    )
}

/// [`JENKINS`] stands for the backend's `deploy`, [`SECOND`] for `backup` of the step-ca.
fn bind(service: &Service, backup: &[&str]) {
    let hosts = json!({"by": "step-ca", "hosts": ["web?", "!web9"]});
    let text = json!({"schema": "hostward/bound-services/1", "services": [
        {"uid": JENKINS, "user": "deploy", "principals": ["deploy", "root"]},
        {"uid": SECOND, "user": "backup", "principals": backup, "issuer": hosts},
    ]});
    service.host.put_ssh("services.json", &text.to_string());
}

fn resolve(service: &Service, uid: u32, name: &str) -> Result<String, String> {
    match service.account(uid).ask(&Query::Resolve { name: name.into() }) {
        Answer::Resolved { user, route } => Ok(format!("{user}@{}", route[0].address)),
        Answer::Refused(finding) => Err(finding.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_account_has_its_issuer_and_neither_issuer_needs_the_other() {
    let mut ca = Ca::start();
    let service = Service::start_with(&configuration(&ca));
    bind(&service, &["backup"]);
    assert_eq!(service.account(SECOND).certificates(), Vec::<String>::new());
    assert_eq!(service.account(SECOND).problem().as_deref(), Some("step-ca-no-password"));
    assert_eq!(service.jenkins().certificates().len(), 1);

    let credentials = service.host.dir().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("step-ca-password"), format!("{PASSWORD}\n")).unwrap();
    let mut service = service.restarted_with(&[("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())]);
    // It is asked before anybody waits for it.
    service.host.until_status("the step-ca's answer", |status| {
        status.step_ca.as_ref().is_some_and(|step_ca| step_ca.asked && step_ca.problem.is_none())
    });
    let known_hosts = service.host.dir().join("step-ca/known_hosts");
    let text = std::fs::read_to_string(&known_hosts).unwrap();
    assert!(text.lines().nth(1).unwrap().starts_with("@cert-authority * ecdsa-sha2-nistp256 "), "{text}");
    assert_eq!(known_hosts.metadata().unwrap().permissions().mode() & 0o777, 0o644);

    let listed = service.account(SECOND).certificates();
    assert_eq!(listed.len(), 1);
    assert_eq!(service.account(SECOND).certificates(), listed, "reused");
    assert_eq!(service.issued(), 1, "the backend knows of jenkins' alone");
    let issuers = |events: &[hostward_events::Record]| -> Vec<_> {
        let of = |event: &hostward_events::Record| event.data["unmapped"]["issuer"].clone();
        events.iter().filter(|event| event.kind.ends_with("certificate.issued")).map(of).collect()
    };
    let events =
        until("the event", || Some(service.host.events()).filter(|events| issuers(events).len() == 2));
    assert_eq!(issuers(&events), ["backend", "step-ca"]);
    let event = service.host.until_event("certificate.issued");
    assert_eq!(event.data["unmapped"]["principals"], json!(["backup"]));
    let log = service.host.log();
    assert!(log.contains("permit more than service accounts need (permit-X11-forwarding, "), "{log}");

    // Whose hosts are whose.
    assert_eq!(resolve(&service, SECOND, "web1"), Ok("backup@web1".into()));
    assert_eq!(resolve(&service, SECOND, "web9"), Err("target-not-selected".into()));
    assert_eq!(resolve(&service, JENKINS, "web1"), Err("target-unknown".into()));
    assert_eq!(resolve(&service, STRANGER, "web1"), Err("service-not-bound".into()));
    let by_hand = |user: &str| {
        let output = service.account(SECOND).run("python3", &["-c", include_str!("sign.py"), user]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!((by_hand("backup"), by_hand("root")), ("signed\n".into(), "refused\n".into()));

    // Another binding starts from nothing.
    ca.stop();
    bind(&service, &["backup", "more"]);
    assert_eq!(service.account(SECOND).certificates(), Vec::<String>::new());
    assert_eq!(service.account(SECOND).problem().as_deref(), Some("step-ca-down"));
    assert_eq!(service.jenkins().certificates().len(), 1, "the backend has no part in it");
    service.backend.stop();
    ca.restart(vec![jwk(json!({}))]);
    until("a certificate of the step-ca", || {
        Some(service.account(SECOND).certificates()).filter(|listed| listed.len() == 1)
    });
}
