//! The enrollment token, from its place in /etc to its end, and what it makes the host believe.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::host::{AGENT, Host};
use common::policy::{self, bytes, only_alice};
use common::repository::Repository;
use hostward_protocol::local::{ApplyReply, ApplyRequest, EnrollmentOutcome, TokenState};
use hostward_protocol::report::{Finding, Responsible};
use serde_json::{Value, json};

const TOKEN: &str = "/etc/hostward/enrollment.token";
const TAKEN: &str = "/var/lib/hostward/private/enrollment.token";

fn token(repository: &Repository, project: &str) -> Value {
    json!({
        "url": "https://backend.example:8443", "project": project, "secret": "s3cret",
        "root_sha256": repository.sha256_of_root(1), "root_version": 1,
    })
}

fn put(host: &Host, token: &Value) {
    put_text(host, &URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).unwrap()));
}

fn put_text(host: &Host, text: &str) {
    let path = host.path(TOKEN);
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn read(host: &Host) -> TokenState {
    match host.ask(&ApplyRequest::ReadToken) {
        ApplyReply::Enrollment(state) => state,
        other => panic!("{other:?}"),
    }
}

fn unusable(host: &Host) -> Finding {
    match read(host) {
        TokenState::Unusable(finding) => {
            assert_eq!(finding.responsible, Responsible::Operator);
            assert!(!finding.mend.is_empty());
            finding
        }
        other => panic!("{other:?}"),
    }
}

fn finish(host: &Host, outcome: EnrollmentOutcome) {
    assert_eq!(host.ask(&ApplyRequest::FinishEnrollment { outcome }), ApplyReply::Ok);
}

fn enrolled() -> EnrollmentOutcome {
    EnrollmentOutcome::Enrolled { host_id: "h1".into() }
}

fn refused() -> EnrollmentOutcome {
    let reason = Finding {
        code: "token-expired".into(),
        subject: "token".into(),
        message: "expired".into(),
        responsible: Responsible::Operator,
        mend: "mint another".into(),
    };
    EnrollmentOutcome::Refused { reason }
}

#[test]
fn a_token_is_taken_handed_over_and_deleted() {
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    assert_eq!(read(&host), TokenState::Absent);
    put(&host, &token(&repository, policy::PROJECT));
    let ready = TokenState::Ready {
        url: "https://backend.example:8443".into(),
        project: policy::PROJECT.into(),
        secret: "s3cret".into(),
        root_version: Some(1),
    };
    assert_eq!(read(&host), ready);
    assert!(!host.path(TOKEN).exists(), "it is out of reach");
    let mode = std::fs::metadata(host.path(TAKEN)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    assert_eq!(read(&host), ready, "asked again, the same is answered");
    finish(&host, enrolled());
    assert!(!host.path(TAKEN).exists());
    assert_eq!(read(&host), TokenState::Absent);
    finish(&host, enrolled());
    host.offer(&repository);
    let report = host.admit();
    assert_eq!(report.admission, None);
    assert!(host.read("/var/lib/hostward/status.json").contains("\"trust\":\"token\""));
    let everything = format!("{}{report:?}", host.read("/var/lib/hostward/trust.json"));
    assert!(!everything.contains("s3cret"), "the secret is nowhere else");
}

#[test]
fn a_token_that_cannot_be_used_stays_and_says_why() {
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    let good = token(&repository, policy::PROJECT);
    let with = |member: &str, value: Value| {
        let mut token = good.clone();
        token[member] = value;
        token
    };
    let rows = [
        (with("url", json!("http://backend.example")), "token-url-not-https"),
        (with("url", json!("backend.example")), "token-url-not-https"),
        (with("url", json!("https://user:pw@backend.example")), "token-url-not-https"),
        (with("project", json!("")), "token-malformed"),
        (with("project", json!("a\nb")), "token-malformed"),
        (with("secret", json!("")), "token-malformed"),
        (with("secret", json!(7)), "token-malformed"),
        (with("root_sha256", json!("abc")), "token-malformed"),
        (with("root_version", json!(0)), "token-malformed"),
        (with("root_version", Value::Null), "token-malformed"),
    ];
    for (token, code) in rows {
        put(&host, &token);
        assert_eq!(unusable(&host).code, code, "{token}");
        assert!(host.path(TOKEN).exists() && !host.path(TAKEN).exists());
    }
    for text in ["", "not base64!", "e30", &"A".repeat(20_000)] {
        put_text(&host, text);
        assert_eq!(unusable(&host).code, "token-malformed");
    }
    let mut unpinned = good.clone();
    unpinned.as_object_mut().unwrap().retain(|key, _| !key.starts_with("root_"));
    put(&host, &unpinned);
    assert_eq!(unusable(&host).code, "no-root-of-trust");
    host.configure("[trust]\nproject = \"p-other\"\n");
    put(&host, &good);
    assert_eq!(unusable(&host).code, "token-project-mismatch");
    assert!(!host.path("/var/lib/hostward/trust.json").exists(), "the host is unchanged");
}

#[test]
fn a_token_that_others_could_have_read_or_made_is_refused() {
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    let path = host.path(TOKEN);
    put(&host, &token(&repository, policy::PROJECT));
    for mode in [0o640, 0o604, 0o620, 0o610] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(unusable(&host).code, "token-readable-by-others");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(AGENT), None).unwrap();
    assert_eq!(unusable(&host).code, "token-foreign-owner");
    chown(&path, Some(0), None).unwrap();
    let moved = host.path("/etc/hostward/elsewhere");
    std::fs::rename(&path, &moved).unwrap();
    symlink(&moved, &path).unwrap();
    assert_eq!(unusable(&host).code, "token-no-plain-file");
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&moved, &path).unwrap();
    assert_eq!(unusable(&host).code, "token-no-plain-file");
    std::fs::remove_file(&moved).unwrap();
    assert!(matches!(read(&host), TokenState::Ready { .. }), "mended, it is read");
}

#[test]
fn a_refused_token_is_deleted_and_leaves_no_trust() {
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    put(&host, &token(&repository, policy::PROJECT));
    assert!(matches!(read(&host), TokenState::Ready { .. }));
    finish(&host, refused());
    assert_eq!(read(&host), TokenState::Absent);
    host.offer(&repository);
    assert_eq!(host.admit().admission.unwrap().code, "not-enrolled");
}

#[test]
fn a_new_token_comes_before_one_that_was_taken() {
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    put(&host, &token(&repository, "p-one"));
    assert!(matches!(read(&host), TokenState::Ready { .. }));
    put(&host, &token(&repository, "p-two"));
    assert!(matches!(read(&host), TokenState::Ready { project, .. } if project == "p-two"));
}

#[test]
fn a_stronger_pin_of_the_operators_counts_more_than_the_tokens() {
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    host.pin(&repository, 1);
    put(&host, &token(&Repository::new(only_alice()), policy::PROJECT));
    assert!(matches!(read(&host), TokenState::Ready { .. }));
    finish(&host, enrolled());
    host.offer(&repository);
    assert_eq!(host.admit().admission, None);
}

#[test]
fn another_project_takes_over_once_its_first_policy_is_admitted() {
    let old = Repository::new(only_alice());
    let host = Host::unconfigured();
    put(&host, &token(&old, policy::PROJECT));
    assert!(matches!(read(&host), TokenState::Ready { .. }));
    finish(&host, enrolled());
    let mut old = old;
    old.version = 9;
    host.offer(&old);
    assert_eq!(host.admit().admission, None);

    let mut documents = policy::documents(&[policy::user("v1", "carol", policy::ALICE + 50)]);
    let project = json!({ "schema": "hostward/project/1", "id": "p-new" });
    documents.insert("project.json".into(), bytes(&project));
    let new = Repository::new(documents);
    put(&host, &token(&new, "p-new"));
    assert!(matches!(read(&host), TokenState::Ready { .. }));
    // Until the enrollment has succeeded, the old project is obeyed.
    old.version = 10;
    host.offer(&old);
    assert_eq!(host.admit().admission, None);
    finish(&host, enrolled());
    assert_eq!(host.names(), ["alice"]);
    host.empty_inbox();
    assert_eq!(host.admit().admission.unwrap().code, "inbox-empty");
    assert_eq!(host.apply().policy.unwrap().version, 10, "the old policy stays until there is a new one");
    host.offer(&new);
    let report = host.admit();
    assert_eq!(report.admission, None, "a lower version of another project is no rollback");
    assert_eq!(report.project.as_deref(), Some("p-new"));
    assert_eq!(host.names(), ["carol"]);
    host.empty_inbox();
    host.offer(&old);
    host.refuses("same-version-other-content");
}

#[test]
fn the_same_project_built_anew_takes_over_with_a_new_token() {
    let old = Repository::new(only_alice());
    let host = Host::unconfigured();
    for repository in [&old, &Repository::new(only_alice())] {
        put(&host, &token(repository, policy::PROJECT));
        assert!(matches!(read(&host), TokenState::Ready { .. }));
        finish(&host, enrolled());
        host.empty_inbox();
        host.offer(repository);
        assert_eq!(host.admit().admission, None);
    }
    host.empty_inbox();
    host.offer(&old);
    assert!(host.admit().admission.is_some());
}
