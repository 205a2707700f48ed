//! Events that hosts deliver: kept once, in order, with a head that is true.

use hostward_mock_backend::registry::Gap;
use hostward_protocol::events::{Acknowledgement, Head};
use hostward_protocol::problem::Code;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Bench, TestHost, json as read, problem};

const EVENTS: &str = "/v1/events";

/// A host's log as it grows.
#[derive(Clone)]
pub struct Log {
    pub number: u64,
    pub previous: String,
}

impl Default for Log {
    fn default() -> Self {
        Log { number: 0, previous: "0".repeat(64) }
    }
}

impl Log {
    pub fn event(&mut self) -> String {
        self.number += 1;
        let run = &self.previous[..8];
        // Not in the order of its members, nor without spaces: what counts are its bytes.
        let event = json!({
            "specversion": "1.0", "id": format!("{run}-{}", self.number), "source": "urn:hostward:host:h",
            "type": "test.event", "time": "2027-01-15T08:00:00Z", "subject": "x", "datacontenttype": "application/json",
            "sequence": format!("{:020}", self.number), "bootid": "", "prevhash": self.previous, "quota": "own",
            "data": { "message": " ü " },
        });
        let line = event.to_string().replacen(':', ": ", 1);
        self.previous = hostward_sha(line.as_bytes());
        line
    }

    pub fn batch(&mut self, count: usize) -> Vec<u8> {
        let events: Vec<String> = (0..count).map(|_| self.event()).collect();
        format!("[{}]", events.join(",")).into_bytes()
    }

    pub fn head(&self) -> Option<Head> {
        Some(Head { sequence: self.number, hash: self.previous.clone() })
    }
}

fn hostward_sha(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn head(response: Response) -> Option<Head> {
    assert_eq!(response.status(), 200);
    read::<Acknowledgement>(response).await.acknowledged
}

fn numbers(bench: &Bench, host: &TestHost) -> Vec<u64> {
    let events = bench.client().events(host.id.as_deref().unwrap()).unwrap();
    let number = |event: &Value| event["sequence"].as_str().unwrap().parse().unwrap();
    events.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_kept_once_and_the_head_has_no_gap_before_it() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let mut log = Log::default();
    let first = log.batch(3);
    let at_three = log.head();
    let second = log.batch(2);
    let third = log.batch(2);
    for _ in 0..2 {
        assert_eq!(head(host.deliver(&bench, EVENTS, &first, Some("a")).await).await, at_three);
    }
    assert_eq!(head(host.deliver(&bench, EVENTS, &third, None).await).await, at_three, "4 and 5 are missing");
    assert_eq!(head(host.deliver(&bench, EVENTS, &second, None).await).await, log.head());
    assert_eq!(numbers(&bench, &host), [1, 2, 3, 6, 7, 4, 5]);
    let id = host.id.clone().unwrap();
    let state = bench.client().event_state(&id).unwrap();
    assert_eq!((state.kept, state.head.clone(), state.breaks.len()), (7, log.head(), 0));
    let had: Vec<usize> = state.deliveries.iter().map(|delivery| delivery.had).collect();
    assert_eq!(had, [0, 3, 0, 0]);

    // It remembers, and a line that was torn when it was killed is none.
    let path = bench.state().join("events").join(format!("{id}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{{\"event\":{{")).unwrap();
    let bench = bench.restart().await;
    let mut host = host;
    host.move_to(&bench);
    let asked = host.send(&bench, Method::GET, "/v1/hosts/self/events/head", Vec::new()).await;
    assert_eq!(head(asked).await, log.head());
    assert_eq!(bench.client().events(&id).unwrap().len(), 7);
    // What is known of a host outlives it.
    bench.client().remove_host(&id).unwrap();
    assert_eq!(bench.client().event_state(&id).unwrap().kept, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_lost_is_noted_and_passed_over() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let mut log = Log { number: 10, ..Log::default() };
    let begin = log.batch(2);
    assert_eq!(head(host.deliver(&bench, EVENTS, &begin, None).await).await, None);
    let id = host.id.as_deref().unwrap();
    assert_eq!(head(host.deliver(&bench, "/v1/events?after=0", &begin, None).await).await, log.head());
    log.batch(3);
    let later = log.batch(1);
    assert_eq!(head(host.deliver(&bench, "/v1/events?after=12", &later, None).await).await, log.head());
    let state = bench.client().event_state(id).unwrap();
    assert_eq!(state.gaps, [Gap { after: 0, next: 11 }, Gap { after: 12, next: 16 }]);
    assert_eq!(state.kept, 3);
    let wrong = host.deliver(&bench, "/v1/events?after=99", &log.batch(1), None).await;
    assert_eq!(problem(wrong).await, (400, Some(Code::BadRequest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rewritten_is_noticed() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let mut log = Log::default();
    host.deliver(&bench, EVENTS, &log.batch(3), None).await;
    let kept = log.head();
    let mut forged = Log { number: 2, previous: "c".repeat(64) };
    let other = host.deliver(&bench, EVENTS, &forged.batch(2), None).await;
    assert_eq!(problem(other).await, (409, Some(Code::EventsDiverged)));
    let mut forged = Log { number: 3, previous: "c".repeat(64) };
    assert!(head(host.deliver(&bench, EVENTS, &forged.batch(1), None).await).await.is_some());
    let state = bench.client().event_state(host.id.as_deref().unwrap()).unwrap();
    assert_eq!((state.breaks[0].sequence, Some(&state.breaks[0].found)), (4, kept.as_ref().map(|k| &k.hash)));
    let order = format!("[{},{}]", log.event(), {
        log.event();
        log.event()
    });
    let gap = host.deliver(&bench, EVENTS, order.as_bytes(), None).await;
    assert_eq!(problem(gap).await, (400, Some(Code::BadRequest)));
}
