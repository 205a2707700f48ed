//! Enrolling: what works, and what is refused how.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use hostward_contract_tests::{Backend, Host, until};
use hostward_protocol::local::{
    AgentReply, AgentRequest, AgentStatus, EnrollmentOutcome, EnrollmentState, TokenState,
};
use hostward_protocol::report::{Finding, Responsible};
use nix::sys::signal::Signal;

const HOUR: Duration = Duration::from_secs(3600);

fn altered(token: &TokenState, change: impl FnOnce(&mut String, &mut String, &mut String)) -> TokenState {
    let TokenState::Ready { url, project, secret, root_version } = token.clone() else {
        panic!("no token");
    };
    let (mut url, mut project, mut secret) = (url, project, secret);
    change(&mut url, &mut project, &mut secret);
    TokenState::Ready { url, project, secret, root_version }
}

fn secret(token: &TokenState) -> &str {
    match token {
        TokenState::Ready { secret, .. } => secret,
        _ => panic!("no token"),
    }
}

#[test]
fn a_token_makes_a_host() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    let token = backend.token();
    host.root.hand_out(&token);
    let _agent = host.start();

    let id = host.until_enrolled();
    host.root.until_accepted(backend.version());
    until("root to be told", || host.root.outcomes().pop());
    assert_eq!(host.root.outcomes(), [EnrollmentOutcome::Enrolled { host_id: id.clone() }]);
    let hosts = backend.client().hosts().unwrap();
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].host.id, id);
    assert!(!hosts[0].host.info.hostname.is_empty());
    assert_eq!(hosts[0].host.info.machine.len(), 64);
    let machine_id = std::fs::read_to_string("/etc/machine-id").unwrap();
    assert!(!hosts[0].host.info.machine.contains(machine_id.trim()));

    for (path, mode) in [("identity", 0o700), ("identity/host.json", 0o600), ("inbox", 0o700)] {
        let found = std::fs::metadata(host.state(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
    let everything =
        std::process::Command::new("grep").args(["-rlF", secret(&token)]).arg(host.dir()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&everything.stdout), "", "the secret was written somewhere");
}

#[test]
fn a_token_that_appears_later_is_noticed() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    let _agent = host.start();
    host.until_status("awaiting a token", |s| s.enrollment == EnrollmentState::AwaitingToken);
    until("root asked once", || (host.root.token_reads() > 0).then_some(()));
    let reads = host.root.token_reads();
    host.root.hand_out(&backend.token());
    host.until_enrolled();
    assert_eq!(reads, 1, "it asked again and again");
}

#[test]
fn what_the_backend_refuses_for_good_is_not_tried_again() {
    let backend = Backend::start();
    let other = Host::new(&backend);
    let used = backend.token();
    other.root.hand_out(&used);
    let _other = other.start();
    other.until_enrolled();

    let good = backend.token();
    let cases = [
        (altered(&good, |_, _, secret| *secret = "wrong".into()), "token-unknown"),
        (backend.token_for(1, Duration::ZERO), "token-expired"),
        (used, "token-exhausted"),
        (altered(&good, |_, project, _| *project = "globex".into()), "project-mismatch"),
        (altered(&good, |url, _, _| *url = url.replace("https", "http")), "backend-url-unusable"),
    ];
    let host = Host::new(&backend);
    let _agent = host.start();
    for (count, (token, code)) in cases.iter().enumerate() {
        host.root.hand_out(token);
        let status = host.until_refused(code);
        let EnrollmentState::Refused { reason } = status.enrollment else {
            panic!("not refused");
        };
        assert!(!reason.mend.is_empty() && reason.message.len() > 20, "{reason:?}");
        assert_eq!(reason.responsible, Responsible::Operator);
        assert!(host.log().contains(&reason.message));
        until("root to be told", || {
            let outcomes = host.root.outcomes();
            assert!(outcomes.len() <= count + 1, "{outcomes:?}");
            (outcomes.len() == count + 1).then_some(())
        });
        assert!(matches!(host.root.outcomes().last(), Some(EnrollmentOutcome::Refused { .. })));
        assert!(host.root.admissions().is_empty());
    }
    assert_eq!(backend.client().hosts().unwrap().len(), 1);
    host.root.hand_out(&good);
    host.until_enrolled();
}

#[test]
fn a_refusal_is_still_told_after_a_restart() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    host.root.hand_out(&backend.token_for(1, Duration::ZERO));
    let agent = host.start();
    host.until_refused("token-expired");
    until("root to be told", || host.root.outcomes().pop());
    assert!(agent.stop().success());
    let reads = host.root.token_reads();
    let _agent = host.start();
    until("the agent to ask", || (host.root.token_reads() > reads).then_some(()));
    host.until_refused("token-expired");
}

#[test]
fn a_token_that_root_cannot_use_is_told_and_looked_at_again_when_it_changes() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    let reason = Finding {
        code: "token-readable-by-others".into(),
        subject: "/etc/hostward/enrollment.token".into(),
        message: "the enrollment token has mode 0644".into(),
        responsible: Responsible::Operator,
        mend: "chmod 0600".into(),
    };
    host.root.hand_out(&TokenState::Unusable(reason.clone()));
    let _agent = host.start();
    let status = host.until_refused("token-readable-by-others");
    let token = status.token.expect("it is told of the token too");
    assert_eq!((&token.finding, token.next_attempt), (&reason, None));
    assert_eq!(host.log().matches(&reason.message).count(), 1, "{}", host.log());
    assert!(!host.log().contains("cannot be used: the enrollment token"), "{}", host.log());
    assert!(host.root.outcomes().is_empty(), "it may be mended, so root keeps it");

    // The same mistake once more is found once more: whoever put the token there waits for it.
    host.root.hand_out(&TokenState::Unusable(reason.clone()));
    host.until_status("looked at again", |s| s.token.as_ref().is_some_and(|t| t.at > token.at));

    host.root.hand_out(&backend.token());
    host.until_enrolled();
}

#[test]
fn a_backend_that_is_down_is_tried_until_it_is_up() {
    let mut backend = Backend::start();
    let host = Host::new(&backend);
    host.root.hand_out(&backend.token());
    backend.stop();
    let _agent = host.start();
    let status = host.until_problem("backend-connection-refused");
    assert_eq!(status.enrollment, EnrollmentState::Enrolling { url: backend.url() });
    assert!(status.next_attempt.is_some());
    let token = status.token.unwrap();
    assert_eq!(token.finding.code, "backend-connection-refused");
    assert_eq!(token.next_attempt, status.next_attempt);
    backend.start_again();
    host.until_enrolled();
    host.until_status("no problem any more", |s| s.problem.is_none() && s.token.is_none());
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    let token = altered(&backend.token(), |url, _, _| *url = "https://backend.invalid".into());
    host.root.hand_out(&token);
    let _agent = host.start();
    let status = host.until_problem("backend-name-unknown");
    assert!(status.problem.unwrap().message.contains("backend.invalid"));
    assert!(host.root.outcomes().is_empty());
}

#[test]
fn a_certificate_that_does_not_verify_is_told_and_seen_when_it_is_mended() {
    let backend = Backend::start();
    for (fault, code) in [
        ("tls-expired", "backend-certificate-expired"),
        ("tls-other-ca", "backend-certificate-unknown-issuer"),
        ("tls-other-name", "backend-certificate-wrong-name"),
    ] {
        let host = Host::new(&backend);
        backend.fault(fault, &[]);
        host.root.hand_out(&backend.token());
        let agent = host.start();
        let status = host.until_problem(code);
        let problem = status.problem.unwrap();
        if fault == "tls-expired" {
            let year = chrono::Utc::now().format("clock says %Y").to_string();
            assert!(problem.message.contains(&year), "{problem:?}");
        }
        assert!(host.root.outcomes().is_empty(), "the token is kept");
        backend.mend(fault);
        agent.signal(Signal::SIGHUP);
        host.until_enrolled();
    }
}

#[test]
fn a_private_ca_needs_to_be_named_and_readable() {
    let backend = Backend::start();
    let host = Host::bare();
    host.root.hand_out(&backend.token());
    let agent = host.start();
    host.until_problem("backend-certificate-unknown-issuer");

    let ca = host.etc("ca.pem");
    // Nobody has to say that the configuration changed.
    host.configure(&format!("[backend]\nca_file = {ca:?}\n"));
    host.until_problem("ca-file-unusable");
    std::fs::write(&ca, "not a certificate").unwrap();
    agent.signal(Signal::SIGHUP);
    let status =
        host.until_status("no PEM", |s| s.problem.as_ref().is_some_and(|p| p.message.contains("PEM")));
    assert_eq!(status.problem.unwrap().code, "ca-file-unusable");
    std::fs::copy(backend.ca(), &ca).unwrap();
    agent.signal(Signal::SIGHUP);
    host.until_enrolled();
}

#[test]
fn retry_after_is_honoured() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    backend.fault("status", &["code=429", "retry-after=3", "count=1", "path=/v1/enroll"]);
    host.root.hand_out(&backend.token());
    let start = Instant::now();
    let _agent = host.start();
    host.until_problem("backend-busy");
    host.until_enrolled();
    assert!(start.elapsed() >= Duration::from_secs(3), "tried again after {:?}", start.elapsed());
}

#[test]
fn answers_that_are_not_the_api_do_not_use_up_the_token() {
    let backend = Backend::start();
    for (fault, arguments, code) in [
        ("garbage", &["path=/v1/enroll"][..], "backend-not-hostward"),
        ("endless", &["path=/v1/enroll"], "backend-answer-too-long"),
        ("status", &["code=404", "path=/v1/enroll"], "backend-refused"),
        ("status", &["code=503", "path=/v1/enroll"], "backend-failing"),
        ("close", &["path=/v1/enroll"], "backend-broke-off"),
        ("cut", &["path=/v1/enroll"], "backend-broke-off"),
        ("unauthorized", &["path=/v1/enroll"], "credential-invalid"),
    ] {
        let host = Host::new(&backend);
        backend.fault(fault, arguments);
        host.root.hand_out(&backend.token());
        let agent = host.start();
        host.until_problem(code);
        assert!(host.root.outcomes().is_empty(), "{fault}");
        backend.mend(fault);
        agent.signal(Signal::SIGHUP);
        host.until_enrolled();
    }
}

#[test]
fn an_answer_that_was_lost_does_not_use_up_the_token() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    // The backend enrolls the host, and the answer breaks off.
    backend.fault("cut", &["path=/v1/enroll"]);
    host.root.hand_out(&backend.token());
    let agent = host.start();
    host.until_problem("backend-broke-off");
    agent.kill();
    backend.mend("cut");
    assert_eq!(backend.client().hosts().unwrap().len(), 1);
    let _agent = host.start();
    let id = host.until_enrolled();
    let hosts = backend.client().hosts().unwrap();
    assert_eq!(hosts.len(), 1, "one token, one host");
    assert_eq!(hosts[0].host.id, id);
}

#[test]
fn redirects_are_not_followed_and_get_no_credential() {
    let backend = Backend::start();
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = format!("to=https://{}/", elsewhere.local_addr().unwrap());
    let host = Host::new(&backend);
    backend.fault("redirect", &[&to]);
    host.root.hand_out(&backend.token());
    let agent = host.start();
    host.until_problem("backend-redirects");
    backend.mend("redirect");
    agent.signal(Signal::SIGHUP);
    host.until_enrolled();
    host.root.until_accepted(backend.version());

    backend.fault("redirect", &[&to]);
    backend.client().disconnect().unwrap();
    host.until_problem("backend-redirects");
    assert!(elsewhere.accept().is_err(), "somebody connected to where the redirect points");
}

#[test]
fn a_clock_that_is_off_is_told_and_allowed_for() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    backend.fault("clock", &["offset=90000"]);
    host.root.hand_out(&backend.token_for(1, HOUR * 48));
    let _agent = host.start();
    host.until_enrolled();
    let status = host.until_status("the offset", |s| s.clock_offset.is_some());
    let offset = status.clock_offset.unwrap();
    assert!((89_990..=90_010).contains(&offset), "{offset}");
    assert!(host.log().contains("clock"), "{}", host.log());
}

#[test]
fn root_may_be_late() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    host.root.set_deaf(true);
    host.root.hand_out(&backend.token());
    let _agent = host.start();
    host.until_problem("apply-unreachable");
    host.root.set_deaf(false);
    host.until_enrolled();
    host.root.until_accepted(backend.version());
}

#[test]
fn a_clone_does_not_use_the_identity_and_enrolls_as_another_host() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let original = host.until_enrolled();
    until("what was accepted", || host.state("accepted.json").exists().then_some(()));
    agent.stop();
    let file = host.state("identity/host.json");
    let mut identity: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    identity["machine"] = "of another machine".into();
    let kept = serde_json::to_vec(&identity).unwrap();
    std::fs::write(&file, &kept).unwrap();

    let reports = backend.client().reports(Some(&original)).unwrap().len();
    let admissions = host.root.admissions().len();
    let _agent = host.start();
    let clone = EnrollmentState::Clone { host_id: original.clone() };
    host.until_status("a clone", |s| s.enrollment == clone);
    assert_eq!(std::fs::read(&file).unwrap(), kept, "the identity is kept aside");

    assert!(host.log().contains("a copy of"), "{}", host.log());

    // A token of no use changes nothing.
    host.root.hand_out(&backend.token_for(1, Duration::ZERO));
    let status = host.until_problem("token-expired");
    assert_eq!(status.enrollment, clone);
    assert_eq!(std::fs::read(&file).unwrap(), kept, "the identity is kept aside");
    assert_eq!(backend.client().reports(Some(&original)).unwrap().len(), reports);
    assert_eq!(host.root.admissions().len(), admissions);

    host.root.hand_out(&backend.token());
    let id = host.until_enrolled();
    assert_ne!(id, original);
    let keys = std::fs::read_dir(host.state("identity"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "p8"))
        .count();
    assert_eq!(keys, 1, "the old key is gone");

    // Root has this version already. It is put before it nevertheless: the backend waits for the new host's report.
    let again = host.root.until_admissions(admissions + 1);
    assert!(!again[admissions].documents().is_empty(), "everything anew: {again:?}");
    until("the new host's report", || backend.client().reports(Some(&id)).unwrap().pop());
}

#[test]
fn a_damaged_identity_is_told_and_kept_until_the_host_is_enrolled_anew() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let before = host.until_enrolled();
    agent.stop();
    let file = host.state("identity/host.json");
    std::fs::write(&file, "{").unwrap();
    let agent = host.start();
    let is_damaged = |s: &AgentStatus| matches!(&s.enrollment, EnrollmentState::Damaged { reason } if reason.message.contains("host.json"));
    host.until_status("damage", is_damaged);
    let reads = host.root.token_reads();
    agent.signal(Signal::SIGHUP);
    until("root asked for a token", || (host.root.token_reads() > reads).then_some(()));
    host.until_status("damage is not forgotten", is_damaged);

    host.root.hand_out(&backend.token_for(1, Duration::ZERO));
    let status = host.until_problem("token-expired");
    assert!(is_damaged(&status), "{status:?}");
    let keys = || {
        let files = std::fs::read_dir(host.state("identity")).unwrap().flatten();
        files.filter(|e| e.path().extension().is_some_and(|e| e == "p8")).count()
    };
    assert!(keys() > 0, "the key is kept: somebody may restore host.json");

    host.root.hand_out(&backend.token());
    assert_ne!(host.until_enrolled(), before);
    assert_eq!(keys(), 1);
}

#[test]
fn a_damaged_identity_can_be_left_and_the_backend_is_said_not_to_know() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    agent.stop();
    std::fs::write(host.state("identity/host.json"), "{").unwrap();
    let agent = host.start();
    let AgentReply::Unenrolled { told_backend: Err(finding) } = agent.ask(&AgentRequest::Unenroll) else {
        panic!("it cannot be told without an identity");
    };
    assert_eq!(finding.code, "identity-damaged");
    assert_eq!(std::fs::read_dir(host.state("identity")).unwrap().count(), 0);
}

#[test]
fn a_problem_with_the_repository_does_not_hide_what_is_wrong_with_a_token() {
    let backend = Backend::start();
    let (host, _agent) = Host::enrolled(&backend);
    backend.fault("status", &["code=503", "path=/tuf"]);
    backend.client().disconnect().unwrap();
    host.until_problem("backend-failing");
    host.root.hand_out(&backend.token_for(1, Duration::ZERO));
    let status = host.until_status("the token's finding", |s| s.token.is_some());
    assert_eq!(status.token.unwrap().finding.code, "token-expired");
    assert_eq!(status.problem.unwrap().code, "backend-failing");
}

#[test]
fn another_token_makes_another_host_of_it() {
    let backend = Backend::start();
    let (host, _agent) = Host::enrolled(&backend);
    let before = host.until_enrolled();
    host.root.hand_out(&backend.token_for(1, Duration::ZERO));
    let status = host.until_problem("token-expired");
    assert!(matches!(status.enrollment, EnrollmentState::Enrolled { .. }), "it stays what it was");
    host.root.hand_out(&backend.token());
    host.until_status(
        "another id",
        |s| matches!(&s.enrollment, EnrollmentState::Enrolled { host_id, .. } if *host_id != before),
    );
    host.until_status("no problem", |s| s.problem.is_none());
}
