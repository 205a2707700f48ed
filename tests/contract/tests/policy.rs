//! Following the policy: polls, what is fetched, what goes before root, and what a bad repository does not do.

use std::time::{Duration, Instant};

use hostward_contract_tests::{Admission, Agent, Backend, Host, until};
use hostward_mock_backend::keys::Role;
use hostward_protocol::local::{AgentReply, AgentRequest};

fn config(backend: &Backend, more: &str) -> String {
    format!("[backend]\nca_file = {:?}\n{more}", backend.ca())
}

fn enrolled_with(backend: &Backend, more: &str) -> (Host, Agent) {
    let host = Host::new(backend);
    host.configure(&config(backend, more));
    let agent = host.enroll(backend);
    (host, agent)
}

/// A poll that would come by itself only after the test.
const RARELY: &str = "[tuf]\ninterval = \"1h\"\n";
/// A server that answers at once is asked every second.
const OFTEN: &str = "[tuf]\ninterval = \"1s\"\n";

/// A new user is an entry of one shard of the users, and one of the groups for the user's own.
fn only_accounts(admission: &Admission) -> bool {
    let documents = admission.documents();
    let is_account = |name: &&str| name.starts_with("users-") || name.starts_with("groups-");
    (1..=2).contains(&documents.len()) && documents.iter().all(is_account)
}

#[test]
fn a_change_arrives_while_the_server_holds_the_poll() {
    let backend = Backend::start();
    let (host, _agent) = enrolled_with(&backend, RARELY);
    let status = host.until_status("polling", |s| s.polling.is_some());
    assert_eq!(status.polling, Some(("long-poll".into(), 240)));
    for n in 0..3 {
        let start = Instant::now();
        let version = backend.add_user(&format!("user{n}"), 70010 + n);
        let admission = host.root.until_accepted(version);
        // The budget is held by a benchmark; here it only must not be the interval's doing.
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(only_accounts(&admission), "only what changed: {admission:?}");
    }
}

#[test]
fn a_server_that_holds_nothing_is_asked_at_the_interval() {
    let backend = Backend::start();
    backend.fault("no-wait", &[]);
    let (host, _agent) = enrolled_with(&backend, OFTEN);
    host.until_status("polling", |s| s.polling == Some(("interval".into(), 1)));
    let before = host.root.admissions().len();
    let version = backend.add_user("carol", 70003);
    let start = Instant::now();
    host.root.until_accepted(version);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(host.root.admissions().len(), before + 1, "what is unchanged does not go before root");
}

#[test]
fn what_is_unchanged_does_not_go_before_root() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    let before = host.root.admissions().len();
    for _ in 0..3 {
        assert_eq!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { report: None });
    }
    assert_eq!(host.root.admissions().len(), before);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    until("what was accepted", || host.state("accepted.json").exists().then_some(()));
    assert!(agent.stop().success());
    let before = host.root.admissions().len();

    let agent = host.start();
    assert_eq!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { report: None });
    assert_eq!(host.root.admissions().len(), before, "root has it already");
    let version = backend.add_user("carol", 70003);
    let admission = host.root.until_accepted(version);
    assert!(only_accounts(&admission), "only what changed: {admission:?}");
}

#[test]
fn a_change_made_while_the_agent_was_down_is_fetched() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    agent.kill();
    let version = backend.add_user("carol", 70003);
    let _agent = host.start();
    host.root.until_accepted(version);
}

#[test]
fn a_transport_that_fails_in_the_middle_is_tried_again() {
    let backend = Backend::start();
    let (host, _agent) = enrolled_with(&backend, RARELY);
    for (n, (fault, part)) in [
        ("cut", "timestamp.json"),
        ("cut", "snapshot.json"),
        ("cut", ".root.json"),
        ("cut", "targets/"),
        ("close", "targets.json"),
        ("status", "targets/"),
    ]
    .into_iter()
    .enumerate()
    {
        backend.fault(fault, &[&format!("path={part}"), "count=1"]);
        let version = backend.add_user(&format!("user{n}"), 70010 + n as u32);
        let admission = host.root.until_accepted(version);
        assert!(admission.files.contains("timestamp.json"));
        backend.mend(fault);
    }
    assert!(host.root.admissions().iter().all(|a| a.accepted), "nothing half-fetched went before root");
    host.until_status("no problem", |s| s.problem.is_none());
}

#[test]
fn retry_after_of_the_repository_is_honoured() {
    let backend = Backend::start();
    backend.fault("no-wait", &[]);
    let (host, _agent) = enrolled_with(&backend, OFTEN);
    backend.fault("status", &["code=503", "retry-after=4", "count=1", "path=timestamp.json"]);
    host.until_problem("backend-failing");
    let start = Instant::now();
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    assert!(start.elapsed() >= Duration::from_secs(3), "came back after {:?}", start.elapsed());
}

#[test]
fn endless_bodies_are_cut_off() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    for (n, part) in ["timestamp.json", "snapshot.json"].into_iter().enumerate() {
        backend.fault("endless", &[&format!("path={part}")]);
        // A poll that was held before would be answered as it was to be then.
        backend.client().disconnect().unwrap();
        let version = backend.add_user(&format!("user{n}"), 70010 + n as u32);
        host.until_problem("backend-answer-too-long");
        assert!(agent.resident_kib() < 64 << 10, "{} KiB", agent.resident_kib());
        backend.mend("endless");
        assert!(matches!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { .. }));
        host.root.until_accepted(version);
    }
}

#[test]
fn wrong_targets_stay_out_of_the_inbox_and_root_says_what_that_means() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    for (n, (fault, said)) in
        [("missing-target", "is missing"), ("cut-target", "is shorter"), ("long-target", "is longer")]
            .into_iter()
            .enumerate()
    {
        backend.fault(fault, &[]);
        let before = host.root.admissions().len();
        let version = backend.add_user(&format!("user{n}"), 70010 + n as u32);
        let admission = host.root.until_admissions(before + 1).pop().unwrap();
        assert!(!admission.accepted);
        assert!(!admission.documents().iter().any(|n| n.starts_with("users-")), "{admission:?}");
        until(said, || host.log().contains(said).then_some(()));
        let reply = agent.ask(&AgentRequest::Sync);
        let AgentReply::Synced { report: Some(report) } = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(report.admission.as_ref().map(|f| f.code.as_str()), Some("target-missing"));
        until("the backend to hear of it", || {
            let reports = backend.client().reports(None).unwrap();
            reports.iter().any(|r| r.report.admission.is_some()).then_some(())
        });
        backend.mend(fault);
        host.root.until_accepted(version);
    }
}

#[test]
fn what_root_refuses_is_not_put_before_it_again_and_again() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, OFTEN);
    host.root.refuse(Some("the signature is wrong"));
    let before = host.root.admissions().len();
    let version = backend.add_user("mallory", 70009);
    host.root.until_admissions(before + 1);
    until("the log", || host.log().contains("the signature is wrong").then_some(()));
    // A poll that finds nothing new is answered, so several have passed.
    backend.fault("no-wait", &[]);
    backend.client().disconnect().unwrap();
    host.until_status("polling", |s| s.polling == Some(("interval".into(), 1)));
    assert_eq!(host.root.admissions().len(), before + 1);

    // Whoever asks gets an answer of root's.
    let AgentReply::Synced { report: Some(report) } = agent.ask(&AgentRequest::Sync) else {
        panic!("no report");
    };
    assert!(report.admission.is_some());
    assert_eq!(host.root.admissions().len(), before + 2);

    host.root.refuse(None);
    assert!(matches!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { report: Some(_) }));
    host.root.until_accepted(version);
}

#[test]
fn root_gets_everything_again_when_it_lost_it() {
    let backend = Backend::start();
    let (host, _agent) = enrolled_with(&backend, RARELY);
    let all = host.root.admissions()[0].documents().len();
    let count = host.root.admissions().len();
    host.root.lose_store();
    let admissions = host.root.until_admissions(count + 1);
    let last = admissions.last().unwrap();
    assert!(last.accepted);
    assert_eq!(last.documents().len(), all);

    // It says nothing, and misses documents when a new version comes.
    host.root.lose_documents();
    let version = backend.add_user("carol", 70003);
    let admission = host.root.until_accepted(version);
    assert_eq!(admission.documents().len(), all);
}

#[test]
fn root_gets_the_chain_from_its_pin_when_it_was_pinned_anew() {
    let backend = Backend::start();
    let (host, _agent) = enrolled_with(&backend, RARELY);
    backend.client().rotate_root(&[Role::Root], 2).unwrap();
    host.root.until_accepted(backend.version());
    host.root.demand_root(1);
    let version = backend.add_user("carol", 70003);
    let admission = host.root.until_accepted(version);
    let roots = admission.files.iter().filter(|n| n.ends_with(".root.json")).count();
    assert_eq!(roots, 3, "{admission:?}");
}

#[test]
fn root_may_be_away_when_a_version_comes() {
    let backend = Backend::start();
    let (host, _agent) = enrolled_with(&backend, RARELY);
    host.root.set_deaf(true);
    let version = backend.add_user("carol", 70003);
    host.until_problem("apply-unreachable");
    host.root.set_deaf(false);
    host.root.until_accepted(version);
    host.until_status("no problem", |s| s.problem.is_none());
}

#[test]
fn rotated_roots_come_along() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    assert!(host.root.admissions()[0].files.contains("1.root.json"), "the pinned one comes first");
    let newest = backend.client().rotate_root(&[Role::Root], 3).unwrap();
    assert_eq!(newest, 4);
    let version = backend.version();
    let admission = host.root.until_accepted(version);
    let roots: Vec<_> = admission.files.iter().filter(|n| n.ends_with(".root.json")).collect();
    assert_eq!(roots, ["2.root.json", "3.root.json", "4.root.json"]);

    // After a restart it goes on from the newest that root accepted.
    agent.kill();
    let newest = backend.client().rotate_root(&[Role::Root], 1).unwrap();
    let _agent = host.start();
    let admission = host.root.until_accepted(backend.version());
    let roots: Vec<_> = admission.files.iter().filter(|n| n.ends_with(".root.json")).collect();
    assert_eq!(roots, [&format!("{newest}.root.json")]);
}

#[test]
fn host_credentials_go_to_the_repository_only_where_the_operator_says_so() {
    let backend = Backend::start_with(|options| options.repository_auth = true);
    let host = Host::new(&backend);
    host.root.hand_out(&backend.token());
    let agent = host.start();
    host.until_enrolled();
    host.until_problem("credential-invalid");
    assert!(host.root.admissions().is_empty());
    agent.stop();
    host.configure(&config(&backend, "[tuf]\nauth = \"host\"\n"));
    let _agent = host.start();
    host.root.until_accepted(backend.version());
}

#[test]
fn a_host_that_the_backend_forgot_obeys_what_it_has() {
    let backend = Backend::start();
    let (host, _agent) = enrolled_with(&backend, RARELY);
    let id = host.until_enrolled();
    until("a report", || backend.client().reports(Some(&id)).unwrap().pop());
    backend.client().remove_host(&id).unwrap();
    backend.add_user("carol", 70003);
    let status = host.until_problem("host-unknown");
    assert!(status.problem.unwrap().mend.contains("token"));
    assert_eq!(host.until_enrolled(), id);
    let status = host.until_status("rare polls", |s| s.polling == Some(("interval".into(), 300)));
    assert!(status.next_attempt.is_some());

    host.root.hand_out(&backend.token());
    host.until_status("a new id", |s| {
        s.problem.is_none() && s.polling.as_ref().is_some_and(|p| p.0 == "long-poll")
    });
    assert_ne!(host.until_enrolled(), id);
}

#[test]
fn reports_are_delivered_once_and_after_what_root_did_by_itself() {
    let backend = Backend::start();
    let (host, _agent) = enrolled_with(&backend, RARELY);
    let id = host.until_enrolled();
    let reports = || backend.client().reports(Some(&id)).unwrap();
    until("the first report", || reports().pop());

    // The answer is lost: the same report comes again, and counts once.
    backend.fault("cut", &["path=report", "count=1"]);
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    until("the second report", || (reports().len() == 2).then_some(()));
    host.until_status("no problem", |s| s.problem.is_none());

    let before = host.root.admissions().len();
    host.root.apply_by_itself(chrono::TimeDelta::seconds(30));
    host.root.until_admissions(before + 1);
    until("the third report", || (reports().len() == 3).then_some(()));
    assert_eq!(reports().len(), 3);
}

#[test]
fn what_root_did_while_the_agent_was_away_is_told_at_its_start() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    let reports = || backend.client().reports(None).unwrap().len();
    until("the first report", || (reports() == 1).then_some(()));
    agent.stop();
    let before = host.root.admissions().len();
    host.root.apply_by_itself(chrono::TimeDelta::seconds(30));
    let _agent = host.start();
    host.root.until_admissions(before + 1);
    until("the second report", || (reports() == 2).then_some(()));
}

#[test]
fn what_the_host_says_of_itself_is_told_when_it_changes() {
    let backend = Backend::start();
    let (host, agent) = enrolled_with(&backend, RARELY);
    let named = || backend.client().hosts().unwrap()[0].host.info.canonical_name.clone();
    assert_eq!(named(), None);
    agent.stop();
    host.configure(&config(&backend, "[host]\ncanonical_name = \"web-1\"\n"));
    let _agent = host.start();
    until("the name", || named().filter(|name| name == "web-1"));
}
