//! A thousand at once, and those who would take the agent from the others.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hostward_contract_tests::{Account, SECOND, STRANGER, Service, until};

/// A crowd; it goes away when this is dropped.
struct Crowd {
    child: Child,
    said: String,
}

impl Crowd {
    fn gather(account: Account<'_>, what: &str, count: u32) -> Self {
        let script = include_str!("crowd.py");
        let mut command = account.command("python3");
        command.args(["-c", script, what, &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a crowd");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("a crowd")).read_line(&mut said).expect("a crowd");
        Crowd { child, said }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A third account is served at once, whatever the others do.
fn assert_served(service: &Service, when: &str) {
    let start = Instant::now();
    assert_eq!(service.account(SECOND).certificates().len(), 1, "{when}");
    assert!(start.elapsed() < Duration::from_secs(2), "{when}: {:?}", start.elapsed());
}

#[test]
fn a_thousand_at_once_are_answered_and_the_backend_is_asked_once() {
    let service = Service::start();
    service.account(SECOND).certificates();
    let before = (service.issued(), service.agent.resident_kib());
    let start = Instant::now();
    let crowd = Crowd::gather(service.jenkins(), "list", 1000);
    let took = start.elapsed();
    assert_eq!(crowd.said, "answered 1000 1\n", "all of them, the same certificate");
    assert_eq!(service.issued(), before.0 + 1);
    let with = service.agent.resident_kib();
    println!("1000 connections: {took:?}, {} KiB before, {with} KiB with them", before.1);
    assert!(with < before.1 + 8 * 1024, "{with} KiB, {} before", before.1);
    assert_served(&service, "with a thousand connections open");
    drop(crowd);
    until("the end of the connections", || (service.agent.descriptors() < 50).then_some(()));
}

#[test]
fn nobody_takes_the_agent_from_the_others() {
    let service = Service::start();
    service.account(SECOND).certificates();
    let before = service.agent.resident_kib();
    let strangers = Crowd::gather(service.account(STRANGER), "silent", 2000);
    assert_eq!(strangers.said.split_whitespace().next(), Some("there"), "{}", strangers.said);
    assert!(service.agent.descriptors() < 150, "{}", service.agent.descriptors());
    assert_served(&service, "a stranger with sockets");
    let hog = Crowd::gather(service.jenkins(), "silent", 4000);
    assert!(hog.said.starts_with("there"), "{}", hog.said);
    assert!(service.agent.descriptors() < 1800, "{}", service.agent.descriptors());
    assert_served(&service, "an account with all sockets that it gets");
    drop(hog);
    until("the end of the hog", || (service.agent.descriptors() < 150).then_some(()));
    for (what, count) in [("half", 1000), ("huge", 100), ("garbage", 100), ("deaf", 20)] {
        let crowd = Crowd::gather(service.jenkins(), what, count);
        assert!(crowd.said.starts_with("there"), "{what}: {}", crowd.said);
        assert_served(&service, what);
        let with = service.agent.resident_kib();
        println!("{what}: {with} KiB, {before} before");
        assert!(with < before + 16 * 1024, "{what}: {with} KiB, {before} before");
    }
    let huge = Crowd::gather(service.jenkins(), "huge", 10);
    assert_eq!(huge.said, "there 10 gone 10\n", "whoever announces 256 MB is turned away");
}
