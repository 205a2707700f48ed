//! What the agent records of what happens to it.

use std::collections::BTreeSet;

use hostward_contract_tests::{BOOT, Backend, Host, until};
use hostward_events::{Record, verify};
use hostward_protocol::local::{AgentReply, AgentRequest};

/// The log without a gap or a change, and the numbers of its events.
fn whole(host: &Host) -> Vec<u64> {
    let verdict = verify(&host.events_dir()).unwrap();
    assert_eq!(verdict.difference, None);
    host.events().iter().map(|event| event.sequence).collect()
}

fn kinds(events: &[Record]) -> Vec<&str> {
    events.iter().map(|event| event.kind.trim_start_matches("hostward.")).collect()
}

#[test]
fn a_life_from_enrollment_to_the_end() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    let agent = host.enroll(&backend);
    let host_id = host.until_enrolled();
    let started = host.until_event("agent.started");
    assert!(started.source.starts_with("urn:hostward:local:"), "{}", started.source);
    assert_eq!((started.bootid.as_str(), started.sequence), (BOOT, 1));
    let enrolled = host.until_event("host.enrolled");
    assert_eq!(enrolled.source, format!("urn:hostward:host:{host_id}"));
    assert_eq!(
        (enrolled.subject.as_str(), enrolled.data["unmapped"]["project"].as_str()),
        (host_id.as_str(), Some("acme"))
    );
    let adopted = host.until_event("policy.adopted");
    assert_eq!(adopted.data["entity_result"]["version"], backend.version().to_string());

    assert!(agent.stop().success());
    assert_eq!(kinds(&host.events()).last(), Some(&"agent.stopped"));
    // What still is so is not said again.
    let agent = host.start();
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    until("the new version", || {
        let newest = host.until_event("policy.adopted");
        (newest.data["entity_result"]["version"] == version.to_string()).then_some(())
    });
    assert_eq!(agent.ask(&AgentRequest::Unenroll), AgentReply::Unenrolled { told_backend: Ok(()) });
    let left = host.until_event("host.unenrolled");
    assert_eq!(left.source, format!("urn:hostward:host:{host_id}"));
    assert_eq!(left.data["unmapped"]["told_backend"], true);
    assert!(agent.stop().success());
    let events = host.events();
    assert_eq!(
        kinds(&events),
        [
            "agent.started",
            "host.enrolled",
            "policy.adopted",
            "agent.stopped",
            "agent.started",
            "policy.adopted",
            "host.unenrolled",
            "agent.stopped",
        ]
    );
    assert!(events.last().unwrap().source.starts_with("urn:hostward:local:"));
    assert_eq!(whole(&host), (1..=8).collect::<Vec<_>>());
}

#[test]
fn what_root_refuses_is_an_event_once() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    host.root.refuse(Some("a rollback"));
    backend.add_user("carol", 70003);
    let refused = host.until_event("policy.refused");
    assert_eq!(refused.data["status_code"], "scripted");
    for _ in 0..3 {
        assert!(matches!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { report: Some(_) }));
    }
    host.root.refuse(None);
    assert!(matches!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { report: Some(_) }));
    assert!(agent.stop().success());
    let events = host.events();
    assert_eq!(kinds(&events).iter().filter(|kind| **kind == "policy.refused").count(), 1);
    assert_eq!(kinds(&events).iter().filter(|kind| **kind == "policy.adopted").count(), 2);
}

#[test]
fn a_token_that_is_refused_is_an_event() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    host.root.hand_out(&backend.token_for(1, std::time::Duration::ZERO));
    let agent = host.start();
    let refused = host.until_event("enrollment.refused");
    assert_eq!(refused.data["status"], "Failure");
    assert!(agent.stop().success());
}

#[test]
fn kills_leave_no_gap_and_no_number_twice() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    agent.kill();
    for round in 0..20_u64 {
        let agent = host.start();
        let version = backend.add_user(&format!("u{round}"), 70_100 + u32::try_from(round).unwrap());
        if round % 2 == 0 {
            // While it writes, or has just written.
            host.root.until_accepted(version);
        }
        agent.kill();
    }
    let agent = host.start();
    assert!(matches!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { .. }));
    assert!(agent.stop().success());
    let numbers = whole(&host);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let events = host.events();
    assert_eq!(events.iter().map(|event| &event.id).collect::<BTreeSet<_>>().len(), events.len());
    assert_eq!(kinds(&events).last(), Some(&"agent.stopped"));
}

#[test]
fn it_runs_without_a_place_for_events_and_goes_on_when_there_is_one() {
    let backend = Backend::start();
    let host = Host::new(&backend);
    std::fs::remove_dir(host.events_dir()).unwrap();
    let agent = host.enroll(&backend);
    until("the reason", || host.log().contains("systemd-tmpfiles --create").then_some(()));
    std::fs::create_dir(host.events_dir()).unwrap();
    // At its end it tries once more, and says what is missing.
    assert!(agent.stop().success());
    let lost = host.until_event("events.lost");
    assert_eq!(lost.data["unmapped"]["lost"]["cause"], "log-not-writable");
    assert!(lost.data["unmapped"]["lost"]["count"].as_u64().unwrap() >= 3, "{lost:#?}");
    whole(&host);
}
