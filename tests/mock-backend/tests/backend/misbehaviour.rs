//! Answers, connections and certificates that are wrong on purpose.

use std::time::{Duration, Instant};

use hostward_protocol::problem::Code;
use reqwest::Method;

use crate::support::{Bench, TestHost, http, http1, problem};

const HEALTH: &str = "/v1/health";

#[tokio::test(flavor = "multi_thread")]
async fn statuses_with_scope() {
    let bench = Bench::start().await;
    let client = bench.client();
    client.fault_on("status", &["code=503", "retry-after=7", "path=/enroll", "count=2"]).unwrap();
    assert_eq!(bench.get(HEALTH).await.status(), 200, "another path");
    for _ in 0..2 {
        let response = bench.get("/v1/enroll").await;
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(problem(response).await, (503, None));
    }
    assert_eq!(problem(bench.get("/v1/enroll").await).await, (405, None), "twice only");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_late() {
    let bench = Bench::start().await;
    bench.client().fault_on("delay", &["ms=150"]).unwrap();
    let begin = Instant::now();
    assert_eq!(bench.get(HEALTH).await.status(), 200);
    assert!(begin.elapsed() >= Duration::from_millis(150));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_cut() {
    let bench = Bench::start().await;
    let url = bench.repository_url("1.root.json");
    for arguments in [vec![], vec!["after=10"], vec!["after=0"]] {
        bench.client().fault_on("cut", &arguments).unwrap();
        for http in [&bench.http, &http1(&bench.server)] {
            let response = http.get(&url).send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.content_length().unwrap() > 1000, "the whole length is announced");
            response.bytes().await.unwrap_err();
        }
    }
    bench.client().fault_on("cut", &["after=10"]).unwrap();
    let mut response = http1(&bench.server).get(&url).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap().len(), 10, "a part arrives");
    bench.client().fault_off(None).unwrap();
    assert_eq!(bench.get(HEALTH).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_without_an_answer() {
    let bench = Bench::start().await;
    bench.client().fault_on("close", &[]).unwrap();
    for http in [&bench.http, &http1(&bench.server)] {
        http.get(bench.url(HEALTH)).send().await.unwrap_err();
    }
    bench.client().fault_off(Some("close")).unwrap();
    assert_eq!(bench.get(HEALTH).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_never_ends() {
    let bench = Bench::start().await;
    bench.client().fault_on("endless", &["path=timestamp.json"]).unwrap();
    for http in [&bench.http, &http1(&bench.server)] {
        let mut response = http.get(bench.repository_url("timestamp.json")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.content_length()), (200, None));
        let mut length = 0;
        while length < 4 << 20 {
            length += response.chunk().await.unwrap().unwrap().len();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_means_nothing() {
    let bench = Bench::start().await;
    bench.client().fault_on("garbage", &[]).unwrap();
    let body = bench.get("/v1/projects/acme/tuf/1.root.json").await.bytes().await.unwrap();
    assert!(std::str::from_utf8(&body).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_elsewhere() {
    let bench = Bench::start().await;
    bench.client().fault_on("redirect", &["to=https://elsewhere.invalid/"]).unwrap();
    let response = bench.get(HEALTH).await;
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["location"], "https://elsewhere.invalid/v1/health");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_refused_though_nothing_is_wrong_with_them() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    for (arguments, expected) in
        [(vec![], Code::CredentialInvalid), (vec!["code=host-unknown"], Code::HostUnknown)]
    {
        bench.client().fault_on("unauthorized", &arguments).unwrap();
        let body = serde_json::to_vec(&host.info).unwrap();
        let response = host.send(&bench, Method::PUT, "/v1/hosts/self", body).await;
        assert_eq!(problem(response).await, (401, Some(expected)));
        let policy = bench.get("/v1/projects/acme/tuf/timestamp.json").await;
        assert_eq!(policy.status(), 200, "the repository asks for no credentials");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_off() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    bench.client().fault_on("clock", &["offset=-100000"]).unwrap();
    let body = serde_json::to_vec(&host.info).unwrap();
    let response = host.send(&bench, Method::PUT, "/v1/hosts/self", body.clone()).await;
    let date = response.headers()["date"].to_str().unwrap();
    let date = chrono::DateTime::parse_from_rfc2822(date).unwrap();
    let off = date.timestamp() - chrono::Utc::now().timestamp();
    assert!((-100_002..=-99_998).contains(&off), "{off}");
    assert_eq!(problem(response).await, (401, Some(Code::ClockSkew)));
    let adjust = |claims: &mut hostward_protocol::api::Claims| {
        claims.iat += off;
        claims.exp += off;
    };
    let response = host.send_with(&bench, Method::PUT, "/v1/hosts/self", body, adjust).await;
    assert_eq!(response.status(), 204, "by the backend's own clock");
    let other = TestHost::new(&bench.server.url);
    let body = serde_json::to_vec(&other.enrollment(&bench.token().secret)).unwrap();
    let response = other.send_with(&bench, Method::POST, "/v1/enroll", body, adjust).await;
    assert_eq!(response.status(), 201, "tokens live by the true time");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_certificates_are_wrong() {
    let bench = Bench::start().await;
    assert_eq!(bench.get(HEALTH).await.status(), 200);
    for fault in ["tls-expired", "tls-other-ca", "tls-other-name"] {
        bench.client().fault_on(fault, &[]).unwrap();
        let error = http(&bench.server).get(bench.url(HEALTH)).send().await.unwrap_err();
        assert!(error.is_connect(), "{fault}: {error}");
        bench.client().fault_off(Some(fault)).unwrap();
        let response = http(&bench.server).get(bench.url(HEALTH)).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_end() {
    let bench = Bench::start().await;
    let url = bench.repository_url("timestamp.json");
    let first = bench.http.get(&url).send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    let waiting = bench.http.get(&url).header("If-None-Match", tag).header("Prefer", "wait=3600");
    let waiting = tokio::spawn(waiting.send());
    // Until the request is there it cannot be cut off, so it is cut off until it is.
    while !waiting.is_finished() {
        bench.client().disconnect().unwrap();
        tokio::task::yield_now().await;
    }
    waiting.await.unwrap().unwrap_err();
    assert_eq!(bench.get(HEALTH).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_are_none_are_refused() {
    let bench = Bench::start().await;
    for (name, arguments, expected) in [
        ("nonsense", vec![], "there is no fault `nonsense`"),
        ("delay", vec![], "needs `ms=…`"),
        ("delay", vec!["ms=soon"], "cannot have `ms=soon`"),
        ("no-wait", vec!["x=1"], "takes no argument `x`"),
        ("expired", vec!["role=king"], "cannot have `role=king`"),
        ("status", vec!["code=99"], "cannot have `code=99`"),
        ("unknown-major", vec!["kind=x"], "cannot have `kind=x`"),
    ] {
        let error = bench.client().fault_on(name, &arguments).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(bench.client().faults().unwrap().is_empty());
}

#[test]
fn every_fault_of_the_table_can_be_switched_on() {
    for (name, takes, _) in hostward_mock_backend::faults::TABLE {
        let value = |key: &str| match key {
            "to" => "https://elsewhere.invalid/",
            "role" => "timestamp",
            "kind" => "users",
            "flaw" => "expired",
            "how" => "ahead",
            "whole" => "true",
            "code" if *name == "unauthorized" => "clock-skew",
            "code" => "500",
            _ => "1",
        };
        let words = takes.split_whitespace().filter(|word| *word != "SCOPE");
        let keys = words.filter_map(|word| word.trim_matches(['[', ']']).split_once('='));
        let arguments: Vec<String> = keys.map(|(key, _)| format!("{key}={}", value(key))).collect();
        hostward_mock_backend::faults::parse(name, &arguments).unwrap();
    }
}
