//! A backend that is down, slow, or gives certificates that are not what was asked for.

use std::time::{Duration, Instant};

use hostward_contract_tests::{HOMELESS, JENKINS, SECOND, STRANGER, Service, Tunnel, UNKNOWN, until, within};
use hostward_protocol::service::{Answer, Query};
use nix::sys::signal::Signal;

/// How long anybody may be made to wait.
const AT_MOST: Duration = Duration::from_secs(5);

fn resolve(service: &Service, name: &str) -> Result<Vec<String>, String> {
    match service.jenkins().ask(&Query::Resolve { name: name.into() }) {
        Answer::Resolved { route, .. } => Ok(route.into_iter().map(|hop| hop.hostname).collect()),
        Answer::Refused(finding) => Err(finding.code),
        other => panic!("{other:?}"),
    }
}

/// The host's own name: it is the only one that is enrolled, and `deploy` may log in everywhere.
fn own_name() -> String {
    nix::unistd::gethostname().expect("no name").into_string().expect("no UTF-8")
}

#[test]
fn what_is_there_is_used_while_the_backend_is_down() {
    let mut service = Service::start();
    let listed = service.jenkins().certificates();
    assert_eq!(resolve(&service, &own_name()).unwrap(), [own_name()]);
    service.backend.stop();
    assert_eq!(service.jenkins().certificates(), listed);
    let start = Instant::now();
    assert_eq!(service.account(SECOND).certificates(), Vec::<String>::new());
    assert!(start.elapsed() < AT_MOST, "{:?}", start.elapsed());
    assert_eq!(service.account(SECOND).problem().as_deref(), Some("backend-connection-refused"));
    assert_eq!(resolve(&service, "another"), Err("backend-connection-refused".into()));
    assert_eq!(resolve(&service, &own_name()).unwrap(), [own_name()]);
    let output = service.account(SECOND).hostward(&["ssh", &own_name()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("refuses connections") && output.status.code() == Some(1), "{output:?}");
    service.backend.start_again();
    until("a certificate", || {
        Some(service.account(SECOND).certificates()).filter(|listed| listed.len() == 1)
    });
    assert_eq!(service.account(SECOND).problem(), None);
}

#[test]
fn a_backend_that_says_nothing_is_not_waited_for() {
    let service = Service::start();
    service.backend.fault("delay", &["ms=60000", "path=/v1/ssh"]);
    let start = Instant::now();
    let output = service.jenkins().run("ssh-add", &["-l"]);
    assert!(!output.status.success());
    assert!(start.elapsed() < AT_MOST, "{:?}", start.elapsed());
    assert_eq!(service.jenkins().problem().as_deref(), Some("backend-timeout"));
}

/// As when a firewall forgets a connection, or the address of the backend goes to another machine: nothing comes, and no
/// error either.
#[test]
fn a_connection_that_died_on_the_way_is_not_used_for_long() {
    let service = Service::start();
    let (tunnel, ca) = (Tunnel::start(), service.backend.ca());
    service.host.configure(&format!(
        "[backend]\nca_file = {ca:?}\nproxy = {:?}\n[labels]\nrole = \"ci\"\n",
        tunnel.url()
    ));
    service.agent.signal(Signal::SIGHUP);
    until("the way over the proxy", || (tunnel.opened() > 0).then_some(()));
    assert_eq!(resolve(&service, &own_name()).unwrap(), [own_name()]);
    tunnel.forget();
    let before = tunnel.opened();
    assert_eq!(resolve(&service, "another"), Err("backend-timeout".into()));
    within(Duration::from_secs(20), "an answer over another connection", || {
        (resolve(&service, "another") == Err("target-unknown".into())).then_some(())
    });
    assert!(tunnel.opened() > before);
    // The question for a new policy, which may wait for minutes, does not wait where nothing will come.
    let version = service.backend.add_user("late", 70_099);
    service.host.root.until_accepted(version);
}

#[test]
fn a_certificate_that_is_not_what_was_asked_for_is_not_used() {
    let service = Service::start();
    for flaw in [
        "other-ca",
        "other-key",
        "other-type",
        "more-principals",
        "no-principals",
        "expired",
        "not-yet",
        "long",
        "critical-option",
        "more-extensions",
        "garbage",
    ] {
        service.backend.fault("wrong-certificate", &[&format!("flaw={flaw}")]);
        // Another binding has nothing of the failure before.
        service.bind(&[]);
        service.bind(&[(JENKINS, "deploy")]);
        until("the notice of it", || {
            service.jenkins().certificates();
            service.jenkins().problem().filter(|code| code == "certificate-unacceptable")
        });
        assert_eq!(service.jenkins().certificates(), Vec::<String>::new(), "{flaw}");
    }
    service.backend.mend("wrong-certificate");
    until("a certificate", || Some(service.jenkins().certificates()).filter(|listed| listed.len() == 1));
}

#[test]
fn what_the_backend_refuses_is_told() {
    let service = Service::start();
    service.bind(&[(UNKNOWN, "deploy")]);
    assert_eq!(service.account(UNKNOWN).certificates(), Vec::<String>::new());
    assert_eq!(service.account(UNKNOWN).problem().as_deref(), Some("service-not-bound"));
    let output = service.account(UNKNOWN).hostward(&["status"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("(uid 7) stands for deploy") && said.contains("bind a user"), "{said}");
}

#[test]
fn a_host_without_enrollment_says_so() {
    let service = Service::start();
    service.jenkins().certificates();
    service.agent.ask(&hostward_protocol::local::AgentRequest::Forget);
    assert_eq!(service.account(SECOND).certificates(), Vec::<String>::new());
    assert_eq!(service.account(SECOND).problem().as_deref(), Some("not-enrolled"));
}

#[test]
fn resolve_is_an_exit_status_for_ssh() {
    let service = Service::start();
    let status = |uid, arguments: &[&str]| {
        let output = service.account(uid).hostward(arguments);
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
        output.status.code()
    };
    assert_eq!(status(JENKINS, &["resolve", "-q", &own_name()]), Some(0));
    assert_eq!(status(JENKINS, &["resolve", "-q", "github.com"]), Some(1));
    assert_eq!(status(STRANGER, &["resolve", "-q", &own_name()]), Some(1));
    let output = service.jenkins().hostward(&["resolve", "github.com"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no host of that name is known") && output.status.code() == Some(1), "{said}");
    let output = service.jenkins().hostward(&["resolve", &own_name()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with(&format!("host:    {}", own_name())) && said.contains("as deploy"), "{said}");
}

#[test]
fn an_account_may_turn_it_off_for_itself() {
    let service = Service::start();
    service.bind(&[(HOMELESS, "deploy")]);
    let home = service.host.dir().join("home");
    std::fs::create_dir(&home).unwrap();
    nix::unistd::chown(&home, Some(HOMELESS.into()), None).unwrap();
    service.account(HOMELESS).hostward(&["version"]);
    let program = service.host.dir().join("hostward");
    let hostward = |arguments: &[&str]| {
        let mut command = service.account(HOMELESS).command(program.to_str().unwrap());
        command.env("HOME", &home).args(arguments).output().unwrap()
    };
    let said = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said(hostward(&["config", "service_auth.enable"])), "true\n");
    assert_eq!(hostward(&["resolve", "-q", &own_name()]).status.code(), Some(0));
    assert!(hostward(&["config", "service_auth.enable", "false"]).status.success());
    assert_eq!(said(hostward(&["config", "service_auth.enable"])), "false\n");
    assert_eq!(hostward(&["resolve", "-q", &own_name()]).status.code(), Some(1));
    let output = hostward(&["ssh", &own_name()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("service_auth.enable true"), "{output:?}");
    assert!(hostward(&["config", "service_auth.enable", "true"]).status.success());
    assert_eq!(hostward(&["resolve", "-q", &own_name()]).status.code(), Some(0));
}
