//! `timestamp.json`, and how a client waits for it to change.

use std::time::{Duration, Instant};

use reqwest::Response;

use crate::support::Bench;

const LONG: Duration = Duration::from_secs(30);

async fn poll(bench: &Bench, etag: Option<&str>, prefer: Option<&str>) -> Response {
    let mut request = bench.http.get(bench.repository_url("timestamp.json"));
    if let Some(etag) = etag {
        request = request.header("If-None-Match", etag);
    }
    if let Some(prefer) = prefer {
        request = request.header("Prefer", prefer);
    }
    tokio::time::timeout(LONG, request.send()).await.expect("an answer").unwrap()
}

fn etag(response: &Response) -> String {
    response.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_timestamp_is_not_sent_again() {
    let bench = Bench::start().await;
    let first = poll(&bench, None, None).await;
    assert_eq!(first.status(), 200);
    let tag = etag(&first);
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
    let second = poll(&bench, Some(&tag), None).await;
    assert_eq!(second.status(), 304);
    assert_eq!(etag(&second), tag);
    assert!(second.headers().get("preference-applied").is_none());
    bench.touch_policy();
    let third = poll(&bench, Some(&tag), None).await;
    assert_eq!(third.status(), 200);
    assert_ne!(etag(&third), tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_is_answered_by_the_change() {
    let bench = Bench::start().await;
    let tag = etag(&poll(&bench, None, None).await);
    let (response, _) = tokio::join!(poll(&bench, Some(&tag), Some("wait=3600")), async {
        // Through the file alone: the backend notices it.
        let text = crate::support::TEAM.replace("Bob Brown", "Bob B. Brown");
        tokio::fs::write(bench.team_file(), text).await.unwrap();
    });
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["preference-applied"], "wait=3600");
    assert_ne!(etag(&response), tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_in_vain_is_answered_in_time() {
    let bench = Bench::start().await;
    let tag = etag(&poll(&bench, None, None).await);
    let begin = Instant::now();
    let response = poll(&bench, Some(&tag), Some("wait=1")).await;
    assert_eq!(response.status(), 304);
    assert_eq!(response.headers()["preference-applied"], "wait=1");
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_cannot_wait_answers_at_once() {
    let bench = Bench::start().await;
    bench.client().fault_on("no-wait", &[]).unwrap();
    let tag = etag(&poll(&bench, None, None).await);
    let response = poll(&bench, Some(&tag), Some("wait=3600")).await;
    assert_eq!(response.status(), 304);
    assert!(response.headers().get("preference-applied").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_into_place_is_noticed() {
    let bench = Bench::start().await;
    let tag = etag(&poll(&bench, None, None).await);
    let (response, _) = tokio::join!(poll(&bench, Some(&tag), Some("wait=3600")), async {
        let other = bench.directory.path().join("other");
        let text = crate::support::TEAM.replace("Carol Clark", "Carol C. Clark");
        tokio::fs::write(&other, text).await.unwrap();
        tokio::fs::rename(&other, bench.team_file()).await.unwrap();
    });
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_is_signed_anew_before_it_expires() {
    let bench = Bench::with(|options| {
        options.source.lifetimes.timestamp = Duration::from_secs(3600);
        options.source.resign = Duration::from_secs(1);
    })
    .await;
    let tag = etag(&poll(&bench, None, None).await);
    let version = bench.client().policy(false).unwrap().version;
    let response = poll(&bench, Some(&tag), Some("wait=3600")).await;
    assert_eq!(response.status(), 200);
    assert!(bench.client().policy(false).unwrap().version > version);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_may_be_kept_for_ever() {
    let bench = Bench::start().await;
    let response = bench.get("/v1/projects/acme/tuf/1.root.json").await;
    assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
    let response = bench.get("/v1/projects/acme/tuf/timestamp.json").await;
    assert_eq!(response.headers()["cache-control"], "no-cache");
    for path in ["/v1/projects/other/tuf/timestamp.json", "/v1/projects/acme/tuf/9.root.json"] {
        assert_eq!(bench.get(path).await.status(), 404);
    }
}
