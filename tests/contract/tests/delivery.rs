//! Events on their way from the log of the real agent to the mock backend.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use hostward_contract_tests::{Agent, BOOT, Backend, Host, until};
use hostward_events::{Event, Head, Limits, Log, Origin, verify};
use hostward_mock_backend::registry::{Delivery, EventState, Gap};
use hostward_protocol::local::{AgentReply, AgentRequest, AgentStatus};
use serde_json::Value;

/// A batch at a time, one a second, on a busy machine.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Adds events to the log of a host whose agent does not run.
fn record(host: &Host, count: u64) {
    let origin = Arc::new(Origin {
        hostname: "web1".into(),
        host_id: None,
        boot_id: BOOT.into(),
        version: "0.1.0".into(),
    });
    let opened = Log::open(&host.events_dir(), Limits::default(), "prefilled", origin.clone(), Utc::now());
    let mut log = opened.expect("a log").log;
    let event = || (origin.clone(), Event::agent_started(Utc::now(), "0.1.0", 1));
    for portion in (0..count).collect::<Vec<_>>().chunks(500) {
        let events: Vec<_> = portion.iter().map(|_| event()).collect();
        log.append(&events, Utc::now()).expect("events");
    }
}

fn last(host: &Host) -> Head {
    verify(&host.events_dir()).expect("a log").last.expect("events")
}

fn state(backend: &Backend, id: &str) -> EventState {
    backend.client().event_state(id).expect("the state of events")
}

/// Waits until the backend has all that the log has, and the log knows.
fn until_delivered(backend: &Backend, host: &Host, id: &str) -> EventState {
    let what =
        || format!("{:?}\n{:#?}\n{}", state(backend, id).head, host.status().map(|s| s.events), host.log());
    let deadline = std::time::Instant::now() + CATCH_UP;
    loop {
        let (have, last) = (state(backend, id), last(host));
        let known = verify(&host.events_dir()).expect("a log").acknowledged;
        if have.head.as_ref() == Some(&last) && known.as_ref() == Some(&last) {
            return have;
        }
        assert!(std::time::Instant::now() < deadline, "not delivered: {}", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every event of the log is at the backend, exactly once and as it was written.
fn assert_once(backend: &Backend, host: &Host, id: &str) -> Vec<Value> {
    let had = backend.client().events(id).expect("events");
    let ids: BTreeSet<&str> = had.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), had.len(), "an event is there twice");
    let ours: BTreeSet<String> = host.events().into_iter().map(|event| event.id).collect();
    assert_eq!(ours.iter().map(String::as_str).collect::<BTreeSet<_>>(), ids);
    let state = state(backend, id);
    assert_eq!((state.breaks.len(), state.gaps.len()), (0, 0), "{state:#?}");
    had
}

fn until_problem(host: &Host, code: &str) -> AgentStatus {
    host.until_status(code, |status| {
        status.events.problem.as_ref().is_some_and(|problem| problem.code == code)
    })
}

fn until_well(host: &Host) -> AgentStatus {
    host.until_status("no problem", |status| status.events.problem.is_none())
}

fn sync(agent: &Agent) {
    assert!(matches!(agent.ask(&AgentRequest::Sync), AgentReply::Synced { .. }));
}

#[test]
fn what_is_recorded_is_delivered_in_order_from_the_beginning() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let id = host.until_enrolled();
    until("what was recorded before the enrollment, and after it", || {
        (state(&backend, &id).kept >= 3).then_some(())
    });
    let first = until_delivered(&backend, &host, &id);
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    until("the next one", || (state(&backend, &id).kept > first.kept).then_some(()));
    until_delivered(&backend, &host, &id);
    let had = assert_once(&backend, &host, &id);
    let numbers: Vec<&str> = had.iter().filter_map(|event| event["sequence"].as_str()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let requests = state(&backend, &id).deliveries;
    assert!(requests.iter().all(|delivery| delivery.had == 0 && delivery.request.is_some()), "{requests:#?}");
    let status = host.until_status("delivered", |status| status.events.waiting == 0);
    assert_eq!(status.events.taken, Some(true));

    // A restart goes on where it ended.
    assert!(agent.stop().success());
    let agent = host.start();
    until_delivered(&backend, &host, &id);
    assert_once(&backend, &host, &id);
    assert!(state(&backend, &id).deliveries.iter().all(|delivery| delivery.had == 0));
    assert!(agent.stop().success());
}

#[test]
fn kills_lost_answers_and_outages_lose_nothing_and_double_nothing() {
    let mut backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let id = host.until_enrolled();
    agent.kill();
    backend.fault("lose-answer", &["path=/v1/events", "count=3"]);
    for round in 0..12_u32 {
        record(&host, 30);
        let agent = host.start();
        match round % 4 {
            0 => {
                // While the first batch is under way, or just was.
                let before = state(&backend, &id).kept;
                until("a batch", || (state(&backend, &id).kept > before).then_some(()));
            }
            1 => {
                backend.stop();
                backend.start_again();
            }
            2 => {
                drop(host.until_status("alive", |status| {
                    status.events.waiting > 0 || status.events.taken.is_some()
                }))
            }
            _ => {}
        }
        agent.kill();
    }
    let agent = host.start();
    until_delivered(&backend, &host, &id);
    backend.mend("lose-answer");
    backend.fault("lose-answer", &["path=/v1/events", "count=1"]);
    host.root.until_accepted(backend.add_user("carol", 70003));
    let state = until("the same once more", || {
        Some(until_delivered(&backend, &host, &id)).filter(|state| state.deliveries.iter().any(|d| d.had > 0))
    });
    assert_once(&backend, &host, &id);
    let keys = |had: bool| state.deliveries.iter().filter(move |d| (d.had > 0) == had).map(|d| &d.request);
    assert!(
        keys(true).all(|key| keys(false).any(|first| first == key)),
        "a batch that is repeated has the same key"
    );
    assert!(agent.stop().success());
}

#[test]
fn after_an_outage_new_events_do_not_wait_for_old_ones() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let id = host.until_enrolled();
    until_delivered(&backend, &host, &id);
    assert!(agent.stop().success());
    record(&host, 12_000);
    let agent = host.start();
    until("catching up", || (state(&backend, &id).kept > 2000).then_some(()));
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    let new = host.until_event("policy.adopted");
    let brought = |delivery: &&Delivery| (delivery.first..=delivery.last).contains(&new.sequence);
    let end = until_delivered(&backend, &host, &id);
    let at = end.deliveries.iter().position(|delivery| brought(&delivery)).expect("the new one");
    let older = end.deliveries.iter().skip(at).filter(|delivery| delivery.last < new.sequence).count();
    assert!(older > 0, "the backlog was over before");
    let delay = end.deliveries[at].at - new.time;
    println!(
        "a new event came after {} ms, with {older} batches of old ones still to come",
        delay.num_milliseconds()
    );
    assert!(delay.num_seconds() < 5, "{delay}");
    assert_once(&backend, &host, &id);
    // Nobody was flooded: a batch has its bounds, and old ones come a second apart.
    assert!(end.deliveries.iter().all(|d| d.last - d.first < 1000 && d.bytes <= 520 << 10));
    let old: Vec<_> =
        end.deliveries.iter().filter(|d| d.last < new.sequence && d.last - d.first > 10).collect();
    let close = old.windows(2).filter(|pair| (pair[1].at - pair[0].at).num_milliseconds() < 900).count();
    assert!(old.len() >= 10 && close == 0, "{close} of {} batches came too soon", old.len());
    assert!(end.deliveries.iter().all(|delivery| delivery.had == 0), "nothing was sent twice");
    assert!(agent.stop().success());
}

#[test]
fn a_backend_that_reads_little_gets_little() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let id = host.until_enrolled();
    until_delivered(&backend, &host, &id);
    assert!(agent.stop().success());
    record(&host, 40);
    backend.fault("small-batches", &["bytes=20000"]);
    let agent = host.start();
    until_delivered(&backend, &host, &id);
    assert_once(&backend, &host, &id);
    assert!(
        state(&backend, &id).deliveries.iter().all(|delivery| delivery.bytes <= 20_000 || delivery.last < 40)
    );
    assert!(host.status().unwrap().events.problem.is_none());
    assert!(agent.stop().success());
}

#[test]
fn an_event_that_is_never_taken_holds_nothing_up() {
    for whole in ["whole=false", "whole=true"] {
        let backend = Backend::start();
        let (host, agent) = Host::enrolled(&backend);
        let id = host.until_enrolled();
        host.until_event("policy.adopted");
        until_delivered(&backend, &host, &id);
        backend.fault("refuse-events", &["type=hostward.policy", whole]);
        let version = backend.add_user("carol", 70003);
        host.root.until_accepted(version);
        host.until_event("policy.adopted");
        let status = host.until_status("set aside", |status| status.events.refused == 1);
        assert_eq!(status.events.problem, None);
        // What comes behind it is taken.
        assert!(agent.stop().success());
        let agent = host.start();
        until("what follows", || {
            let stopped = |event: &Value| event["type"] == "hostward.agent.stopped";
            backend.client().events(&id).unwrap().iter().any(stopped).then_some(())
        });
        host.until_status("delivered", |status| status.events.waiting == 0);
        let aside = std::fs::read_to_string(host.events_dir().join("refused.jsonl")).unwrap();
        assert!(aside.lines().count() == 1 && aside.contains("hostward.policy.adopted"), "{aside}");
        let kept = state(&backend, &id);
        if whole == "whole=true" {
            assert!(matches!(kept.gaps[..], [Gap { after, next }] if next == after + 2), "{:?}", kept.gaps);
        } else {
            assert_eq!(kept.refused.len(), 1);
        }
        assert!(agent.stop().success());
    }
}

#[test]
fn a_backend_that_lies_is_reported_and_not_believed() {
    for (how, code) in
        [("ahead", "events-head-ahead"), ("other-hash", "events-diverged"), ("behind", "events-head-behind")]
    {
        let backend = Backend::start();
        let (host, agent) = Host::enrolled(&backend);
        let id = host.until_enrolled();
        until("the first version to be told", || (state(&backend, &id).kept >= 3).then_some(()));
        let before = until_delivered(&backend, &host, &id).head;
        backend.fault("lie-head", &[&format!("how={how}")]);
        let version = backend.add_user("carol", 70003);
        host.root.until_accepted(version);
        let problem = until_problem(&host, code).events.problem.unwrap();
        assert!(!problem.mend.is_empty());
        // What it may have lost is not to be deleted. The log is told a moment after the status says it.
        let expected = before.filter(|_| how != "behind");
        until("what the log is told", || {
            (verify(&host.events_dir()).unwrap().acknowledged == expected).then_some(())
        });
        // A restart asks first, and is told the same.
        agent.kill();
        let agent = host.start();
        if how == "behind" {
            until("it is sent again", || {
                state(&backend, &id).deliveries.iter().any(|delivery| delivery.had > 0).then_some(())
            });
        } else {
            until_problem(&host, code);
        }
        backend.mend("lie-head");
        sync(&agent);
        until_delivered(&backend, &host, &id);
        until_well(&host);
        assert_once(&backend, &host, &id);
        assert!(agent.stop().success());
    }
}

#[test]
fn a_log_that_was_removed_or_rolled_back_is_reported() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let id = host.until_enrolled();
    until_delivered(&backend, &host, &id);
    assert!(agent.stop().success());
    for entry in std::fs::read_dir(host.events_dir()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let agent = host.start();
    until_problem(&host, "events-head-ahead");
    drop(agent);
    record(&host, 20);
    let agent = host.start();
    until_problem(&host, "events-diverged");
    let kept = state(&backend, &id).kept;
    // Enrolled anew it is another host, whose chain begins now.
    host.root.hand_out(&backend.token());
    until("a new id", || (host.until_enrolled() != id).then_some(()));
    let new = host.until_enrolled();
    until_delivered(&backend, &host, &new);
    until_well(&host);
    assert_eq!(state(&backend, &id).kept, kept);
    assert!(agent.stop().success());
}

#[test]
fn a_backend_without_a_place_for_events_is_no_problem() {
    let backend = Backend::start();
    backend.fault("status", &["code=404", "path=events"]);
    let (host, agent) = Host::enrolled(&backend);
    let id = host.until_enrolled();
    let status = host.until_status("not taken", |status| status.events.taken == Some(false));
    assert_eq!(status.events.problem, None);
    // It has a place now, and the operator does not want to wait for an hour.
    backend.mend("status");
    sync(&agent);
    until_delivered(&backend, &host, &id);
    assert!(agent.stop().success());
}

#[test]
fn a_busy_backend_is_left_alone_as_long_as_it_says() {
    let backend = Backend::start();
    let (host, agent) = Host::enrolled(&backend);
    let id = host.until_enrolled();
    until_delivered(&backend, &host, &id);
    backend.fault("status", &["code=429", "retry-after=3", "path=/v1/events", "count=1"]);
    let version = backend.add_user("carol", 70003);
    host.root.until_accepted(version);
    let problem = until_problem(&host, "backend-busy");
    let again = problem.events.next_attempt.unwrap();
    assert!((again - Utc::now()).num_seconds() <= 5, "{again}");
    until_delivered(&backend, &host, &id);
    until_well(&host);
    let came = state(&backend, &id).deliveries.back().unwrap().at;
    assert!((again - came).num_milliseconds() < 1500, "it came at {came}, and was to come at {again}");
    assert!(agent.stop().success());
}

#[test]
fn another_project_does_not_learn_what_happened_before() {
    let (first, second) = (Backend::start(), Backend::start());
    let (host, agent) = Host::enrolled(&first);
    let old = host.until_enrolled();
    until_delivered(&first, &host, &old);
    // Recorded for the first, and never delivered there.
    first.fault("status", &["code=503", "path=events"]);
    let version = first.add_user("carol", 70003);
    host.root.until_accepted(version);
    host.until_event("policy.adopted");
    assert!(matches!(agent.ask(&AgentRequest::Unenroll), AgentReply::Unenrolled { .. }));
    assert!(agent.stop().success());
    host.configure(&format!("[backend]\nca_file = {:?}\n", second.ca()));
    host.root.hand_out(&second.token());
    let agent = host.start();
    let new = until("a new id", || Some(host.until_enrolled()).filter(|id| *id != old));
    until_delivered(&second, &host, &new);
    let had = second.client().events(&new).unwrap();
    assert_eq!(had[0]["type"], "hostward.host.enrolled", "{had:#?}");
    assert!(!had.iter().any(|event| event["source"] == format!("urn:hostward:host:{old}")));
    let gaps = state(&second, &new).gaps;
    assert_eq!((gaps.len(), gaps[0].after), (1, 0));
    assert!(agent.stop().success());
}
