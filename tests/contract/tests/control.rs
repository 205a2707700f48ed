//! The service: what root may ask of it, signals, its end.

use std::time::{Duration, Instant};

use hostward_contract_tests::{Backend, Host, until};
use hostward_protocol::local::{AgentReply, AgentRequest, EnrollmentState, Listed};
use nix::sys::signal::Signal;

fn failure(reply: AgentReply) -> String {
    match reply {
        AgentReply::Failed(finding) => finding.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sync_answers_when_what_came_is_in_force() {
    let backend = Backend::start();
    backend.fault("no-wait", &[]);
    let host = Host::new(&backend);
    host.configure(&format!("[backend]\nca_file = {:?}\n[tuf]\ninterval = \"1h\"\n", backend.ca()));
    let agent = host.enroll(&backend);
    // A first answer that nobody held is followed by a poll at once, which may see what is published next.
    assert_eq!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { report: None });
    let version = backend.add_user("carol", 70003);
    let AgentReply::Synced { report: Some(report) } = agent.ask(&AgentRequest::Sync) else {
        panic!("no report; log:\n{}", host.log());
    };
    assert_eq!(report.policy.unwrap().version, version);
    assert_eq!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { report: None });
}

#[test]
fn sync_says_why_it_cannot() {
    let mut backend = Backend::start();
    let host = Host::new(&backend);
    let agent = host.start();
    assert_eq!(failure(agent.ask(&AgentRequest::Sync)), "not-enrolled");
    host.root.hand_out(&backend.token());
    host.until_enrolled();
    host.root.until_accepted(backend.version());
    backend.stop();
    // The connection that was open broke off; a new one is refused.
    host.until_status("the backend is down", |s| s.problem.is_some());
    assert_eq!(failure(agent.ask(&AgentRequest::Sync)), "backend-connection-refused");
    backend.start_again();
    assert!(matches!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { .. }));
    host.root.set_deaf(true);
    backend.add_user("carol", 70003);
    assert_eq!(failure(agent.ask(&AgentRequest::Sync)), "apply-unreachable");
}

#[test]
fn several_may_ask_at_a_time() {
    let backend = Backend::start();
    let (_host, agent) = Host::enrolled(&backend);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| agent.ask(&AgentRequest::Sync))).collect();
        for reply in asked {
            assert!(matches!(reply.join().unwrap(), AgentReply::Synced { .. }));
        }
    });
}

#[test]
fn unenroll_tells_the_backend_and_forgets() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let before = host.root.admissions().len();
    assert_eq!(agent.ask(&AgentRequest::Unenroll), AgentReply::Unenrolled { told_backend: Ok(()) });
    assert!(backend.client().hosts().unwrap().is_empty());
    let left = |dir: &str| std::fs::read_dir(host.state(dir)).unwrap().count();
    assert_eq!((left("identity"), left("inbox")), (0, 0));
    assert!(!host.state("accepted.json").exists());
    host.until_status("awaiting a token", |s| s.enrollment == EnrollmentState::AwaitingToken);
    for request in [AgentRequest::Unenroll, AgentRequest::Forget] {
        let nobody = AgentReply::Forgotten { listed: None };
        assert_eq!(agent.ask(&request), nobody, "there is no backend to be told");
    }
    assert_eq!(failure(agent.ask(&AgentRequest::Sync)), "not-enrolled");
    assert_eq!(host.root.admissions().len(), before);

    host.root.hand_out(&backend.token());
    host.until_enrolled();
    host.root.until_admissions(before + 1);
}

#[test]
fn unenroll_forgets_although_the_backend_cannot_be_told() {
    let mut backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    backend.stop();
    host.until_status("the backend is down", |s| s.problem.is_some());
    let AgentReply::Unenrolled { told_backend: Err(finding) } = agent.ask(&AgentRequest::Unenroll) else {
        panic!("the backend is down");
    };
    assert_eq!(finding.code, "backend-connection-refused");
    assert_eq!(std::fs::read_dir(host.state("identity")).unwrap().count(), 0);
}

#[test]
fn forgetting_tells_nobody_and_says_what_the_backend_goes_on_listing() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let host_id = host.until_enrolled();
    let listed = Some(Listed { url: format!("{}/", backend.url()), host_id: host_id.clone() });
    assert_eq!(agent.ask(&AgentRequest::Forget), AgentReply::Forgotten { listed });
    assert_eq!(backend.client().hosts().unwrap()[0].host.id, host_id);
    let left = |dir: &str| std::fs::read_dir(host.state(dir)).unwrap().count();
    assert_eq!((left("identity"), left("inbox")), (0, 0));
    assert!(!host.state("accepted.json").exists());
    host.until_status("awaiting a token", |s| s.enrollment == EnrollmentState::AwaitingToken);
}

#[test]
fn forgetting_does_not_wait_for_a_backend_that_is_being_told() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    backend.fault("delay", &["ms=20000"]);
    std::thread::scope(|scope| {
        let telling = scope.spawn(|| agent.ask(&AgentRequest::Unenroll));
        host.until_status("no policy is followed any more", |s| s.polling.is_none());
        assert!(matches!(agent.ask(&AgentRequest::Forget), AgentReply::Forgotten { listed: Some(_) }));
        assert!(matches!(telling.join().unwrap(), AgentReply::Forgotten { listed: Some(_) }));
    });
}

#[test]
fn it_stops_at_once_although_a_poll_is_held() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    host.until_status("polling", |s| s.polling.is_some());
    let start = Instant::now();
    assert!(agent.stop().success());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let parts = std::fs::read_dir(host.state("inbox")).unwrap().flatten();
    assert_eq!(parts.filter(|e| e.file_name().to_string_lossy().starts_with('.')).count(), 0);
}

#[test]
fn a_broken_configuration_is_told_and_the_one_before_stays() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let good = std::fs::read_to_string(host.etc("hostward.toml")).unwrap();
    host.configure("[backend]\nca_fiel = \"x\"\n");
    agent.signal(Signal::SIGHUP);
    until("the mistake", || host.log().contains("ca_fiel").then_some(()));
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    assert!(agent.stop().success());

    let mut agent = host.start();
    let ended = until("the agent to give up", || agent.ended());
    assert!(!ended.success());
    host.configure(&good);
    let _agent = host.start();
    let version = backend.add_user("dave", 70004);
    host.root.until_accepted(version);
}

#[test]
fn a_service_manager_is_told_when_it_is_ready_and_that_it_lives() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    let path = host.dir().join("notify.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    host.root.hand_out(&backend.token());
    let agent = host.start_with(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !(heard.contains("READY=1")
        && heard.contains("STATUS=enrolled as")
        && heard.matches("WATCHDOG=1").count() >= 3)
    {
        let length = socket.recv(&mut buffer).expect("not told");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        heard.push('\n');
    }
    assert!(agent.stop().success());
    while !heard.contains("STOPPING=1") {
        let length = socket.recv(&mut buffer).expect("not told");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}
