//! Events on their way to receivers of the operator's, and figures for Prometheus, read by others' programs.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hostward_contract_tests::{Agent, Backend, Host, until};
use hostward_protocol::local::OutputStatus;

/// A receiver that runs until it is dropped.
struct Receiver {
    child: Child,
    port: u16,
    file: PathBuf,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/siem").join(name)
}

impl Receiver {
    fn start(host: &Host, kind: &str, port: u16, certificate: &[PathBuf]) -> Self {
        let file = host.dir().join(format!("{kind}.received"));
        let mut child = Command::new("python3")
            .arg(script("receiver.py"))
            .args([kind, &port.to_string()])
            .arg(&file)
            .args(certificate)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("an output");
        BufReader::new(stdout).read_line(&mut line).expect("the receiver's port");
        Receiver { child, port: line.trim().parse().expect("a port"), file }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The ids of the events in messages of syslog.
    fn ids(&self) -> BTreeSet<String> {
        let id = |line: &String| Some(line.split(" id=\"").nth(1)?.split('"').next()?.to_owned());
        self.lines().iter().map(|line| id(line).expect("an id")).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours(host: &Host) -> BTreeSet<String> {
    host.events().into_iter().map(|event| event.id).collect()
}

fn configure(host: &Host, backend: &Backend, more: &str) {
    host.configure(&format!("[backend]\nca_file = {:?}\n{more}\n", backend.ca()));
}

fn output(host: &Host, name: &str) -> OutputStatus {
    let status =
        host.until_status(name, |status| status.events.outputs.iter().any(|output| output.name == name));
    status.events.outputs.into_iter().find(|output| output.name == name).expect("the output")
}

/// Something that is an event.
fn happen(host: &Host, backend: &Backend, number: u32) {
    let version = backend.add_user(&format!("u{number}"), 70_100 + number);
    host.root.until_accepted(version);
    let wanted = version.to_string();
    until("the event", || {
        let events = host.events();
        events.iter().any(|event| event.data["entity_result"]["version"] == *wanted).then_some(())
    });
}

fn until_all(host: &Host, what: &str, ids: impl Fn() -> BTreeSet<String>) {
    until(what, || (ids().is_superset(&ours(host))).then_some(()));
}

/// Prints of the checks' programs, line by line.
fn check(kind: &str, file: &Path) -> Vec<String> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python-siem/bin/python");
    assert!(python.exists(), "run `make siem` first: {} is missing", python.display());
    let ran = Command::new(python).arg(script("check.py")).arg(kind).arg(file).output().expect("python");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect()
}

fn running(host: &Host, backend: &Backend, more: &str) -> Agent {
    configure(host, backend, more);
    host.enroll(backend)
}

#[test]
fn syslog_by_datagrams() {
    let backend = Backend::start();
    let host = Host::bare();
    let receiver = Receiver::start(&host, "udp", 0, &[]);
    let agent =
        running(&host, &backend, &format!("[siem.syslog]\nto = \"udp://127.0.0.1:{}\"", receiver.port));
    happen(&host, &backend, 1);
    until_all(&host, "every event", || receiver.ids());
    for line in receiver.lines() {
        assert!(
            line.starts_with("<86>1 20")
                && line.contains(" hostward - ")
                && line.contains("[hostward@32473 id="),
            "{line}"
        );
    }

    // A socket of this host instead, with the whole event as text, and from where the other ended.
    let before = receiver.lines().len();
    let path = host.dir().join("log.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(hostward_contract_tests::PATIENCE)).unwrap();
    configure(&host, &backend, &format!("[siem.syslog]\nto = \"unix:{}\"\ntext = \"json\"", path.display()));
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    until("the configuration", || host.log().contains("again").then_some(()));
    happen(&host, &backend, 2);
    let mut buffer = vec![0; 1 << 16];
    let length = socket.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let event: serde_json::Value = serde_json::from_str(text.split_once("] ").unwrap().1).unwrap();
    assert_eq!(event["type"], "hostward.policy.adopted");
    assert_eq!(receiver.lines().len(), before);
    assert!(agent.stop().success());
}

#[test]
fn syslog_by_a_stream_that_breaks() {
    let backend = Backend::start();
    let host = Host::bare();
    let mut receiver = Receiver::start(&host, "tcp", 0, &[]);
    let port = receiver.port;
    let agent = running(&host, &backend, &format!("[siem.syslog]\nto = \"tcp://127.0.0.1:{port}\""));
    until_all(&host, "the first", || receiver.ids());
    for round in 0..3 {
        drop(receiver);
        happen(&host, &backend, round);
        let status = host.until_status("out of reach", |status| {
            status.events.outputs.iter().any(|output| output.problem.is_some())
        });
        let problem = status.events.outputs[0].problem.clone().unwrap();
        assert_eq!(problem.code, "syslog-unreachable");
        // The backend gets them all the same.
        host.until_status("delivered", |status| {
            status.events.waiting == 0 && status.events.problem.is_none()
        });
        receiver = Receiver::start(&host, "tcp", port, &[]);
        until_all(&host, "the rest", || receiver.ids());
        host.until_status("well", |status| {
            status.events.outputs.iter().all(|output| output.problem.is_none())
        });
    }
    // A kill in the middle loses nothing; some may come twice.
    agent.kill();
    let agent = host.start();
    happen(&host, &backend, 9);
    until_all(&host, "after a kill", || receiver.ids());
    assert!(agent.stop().success());
}

#[test]
fn syslog_by_tls() {
    let backend = Backend::start();
    let host = Host::bare();
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new([]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = parameters.self_signed(&authority).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let paths = ["ca.pem", "leaf.pem", "leaf.key"].map(|name| host.dir().join(name));
    for (path, text) in paths.iter().zip([ca.pem(), leaf.pem(), key.serialize_pem()]) {
        std::fs::write(path, text).unwrap();
    }
    let receiver = Receiver::start(&host, "tls", 0, &paths[1..]);
    let to = format!("[siem.syslog]\nto = \"tls://localhost:{}\"", receiver.port);
    let agent = running(&host, &backend, &to);
    // An authority that nobody knows is not believed.
    let status = host.until_status("refused", |status| {
        status.events.outputs.iter().any(|output| output.problem.is_some())
    });
    assert!(status.events.outputs[0].problem.as_ref().unwrap().mend.contains("ca_file"));
    assert!(receiver.lines().is_empty());
    configure(&host, &backend, &format!("{to}\nca_file = {:?}", paths[0]));
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    until_all(&host, "every event", || receiver.ids());
    assert!(agent.stop().success());
}

#[test]
fn logs_of_opentelemetry() {
    let backend = Backend::start();
    let host = Host::bare();
    let receiver = Receiver::start(&host, "http", 0, &[]);
    let status = PathBuf::from(format!("{}.status", receiver.file.display()));
    std::fs::write(&status, "503").unwrap();
    let to = format!("[siem.otlp]\nurl = \"http://127.0.0.1:{}/v1/logs\"", receiver.port);
    let agent = running(&host, &backend, &to);
    let seen = host.until_status("busy", |status| status.events.outputs.iter().any(|o| o.problem.is_some()));
    assert_eq!(seen.events.outputs[0].problem.as_ref().unwrap().code, "otlp-failing");
    std::fs::remove_file(&status).unwrap();
    happen(&host, &backend, 1);
    until_all(&host, "every event", || check("otlp", &receiver.file).into_iter().collect());
    let read = check("otlp", &receiver.file);
    assert_eq!(
        read.len(),
        read.iter().collect::<BTreeSet<_>>().len(),
        "none twice, as each was acknowledged"
    );

    // What it cannot read holds nothing up.
    std::fs::write(&status, "400").unwrap();
    happen(&host, &backend, 2);
    until("refused", || (output(&host, "otlp").refused > 0).then_some(()));
    std::fs::remove_file(&status).unwrap();
    happen(&host, &backend, 3);
    let newest = host.events().last().unwrap().id.clone();
    until("the next one", || check("otlp", &receiver.file).contains(&newest).then_some(()));
    assert!(agent.stop().success());
}

#[test]
fn entries_of_the_journal() {
    let backend = Backend::start();
    let host = Host::bare();
    let socket = UnixDatagram::bind(host.journal()).unwrap();
    socket.set_read_timeout(Some(hostward_contract_tests::PATIENCE)).unwrap();
    let agent = running(&host, &backend, "[siem]\njournal = true");
    let mut buffer = vec![0; 1 << 17];
    let length = socket.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(text.contains("HOSTWARD_TYPE\n") && text.contains("hostward.agent.started"), "{text}");
    assert!(agent.stop().success());
}

#[test]
fn figures_for_prometheus() {
    let backend = Backend::start();
    let host = Host::bare();
    let agent = running(&host, &backend, "[metrics]\ntextfile = true");
    let version = backend.version();
    let wanted = format!("hostward_policy_version{{}} {version}.0");
    until("the version in force", || {
        (host.metrics().exists() && check("prometheus", &host.metrics()).contains(&wanted)).then_some(())
    });
    let figures = check("prometheus", &host.metrics());
    for name in [
        "hostward_info{version=0.1.0} 1.0",
        "hostward_enrolled{} 1.0",
        "hostward_policy_fresh{} 1.0",
        "hostward_policy_refused_entries{} 0.0",
        "hostward_events_lost_total{} 0.0",
        "hostward_certificates_issued_total{} 0.0",
    ] {
        assert!(figures.iter().any(|figure| figure == name), "{name}\n{figures:#?}");
    }
    for name in [
        "hostward_last_contact_timestamp_seconds",
        "hostward_events_waiting",
        "hostward_events_recorded_total",
    ] {
        assert!(figures.iter().any(|figure| figure.starts_with(name)), "{name}\n{figures:#?}");
    }
    // It follows what happens, and goes when it is not wanted any more.
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    let wanted = format!("hostward_policy_version{{}} {version}.0");
    until("the next version", || check("prometheus", &host.metrics()).contains(&wanted).then_some(()));
    configure(&host, &backend, "");
    until("no file", || (!host.metrics().exists()).then_some(()));
    assert!(agent.stop().success());
}
