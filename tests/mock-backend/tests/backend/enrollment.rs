//! Enrollment: which tokens do, and what happens to a host that asks again.

use std::time::Duration;

use hostward_protocol::api::EnrollResponse;
use hostward_protocol::problem::Code;
use reqwest::Method;

use crate::support::{Bench, TestHost, json, problem, read_token};

const HOUR: Duration = Duration::from_secs(3600);

async fn host_id(response: reqwest::Response) -> String {
    assert_eq!(response.status(), 201);
    json::<EnrollResponse>(response).await.host_id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_enrolls_as_many_hosts_as_it_may() {
    let bench = Bench::start().await;
    let token = read_token(&bench.client().token(2, HOUR, true).unwrap());
    assert_eq!(token.project, "acme");
    assert_eq!(token.url, bench.server.url);
    assert_eq!(token.root_version, Some(1));
    for _ in 0..2 {
        let host = TestHost::new(&token.url);
        let response = host.enroll(&bench, &token.secret).await;
        assert_eq!(response.status(), 201);
        let answer: EnrollResponse = json(response).await;
        let repository = url::Url::parse(&token.url).unwrap().join(&answer.repository).unwrap();
        let timestamp = bench.http.get(repository.join("timestamp.json").unwrap());
        assert_eq!(timestamp.send().await.unwrap().status(), 200);
    }
    let third = TestHost::new(&token.url).enroll(&bench, &token.secret).await;
    assert_eq!(problem(third).await, (403, Some(Code::TokenExhausted)));
    assert_eq!(bench.client().hosts().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_told_apart() {
    let bench = Bench::start().await;
    let host = TestHost::new(&bench.server.url);
    let unknown = host.enroll(&bench, "guessed").await;
    assert_eq!(problem(unknown).await, (403, Some(Code::TokenUnknown)));
    let expired = read_token(&bench.client().token(1, Duration::ZERO, true).unwrap());
    let expired = host.enroll(&bench, &expired.secret).await;
    assert_eq!(problem(expired).await, (403, Some(Code::TokenExpired)));
    let unpinned = read_token(&bench.client().token(1, HOUR, false).unwrap());
    assert_eq!((unpinned.root_sha256, unpinned.root_version), (None, None));
    assert!(bench.client().hosts().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_not_what_they_should_be() {
    let bench = Bench::start().await;
    let host = TestHost::new(&bench.server.url);
    let secret = bench.token().secret;
    let send = async |body: Vec<u8>| problem(host.send(&bench, Method::POST, "/v1/enroll", body).await).await;
    assert_eq!(send(b"{".to_vec()).await, (400, Some(Code::BadRequest)));
    let mut request = host.enrollment(&secret);
    request.project = "other".into();
    let expected = (403, Some(Code::ProjectMismatch));
    assert_eq!(send(serde_json::to_vec(&request).unwrap()).await, expected);
    let mut request = host.enrollment(&secret);
    request.key.pop();
    let expected = (400, Some(Code::BadRequest));
    assert_eq!(send(serde_json::to_vec(&request).unwrap()).await, expected);
    let mut request = host.enrollment(&secret);
    request.key = TestHost::new(&bench.server.url).public_key();
    let expected = (401, Some(Code::CredentialInvalid));
    assert_eq!(send(serde_json::to_vec(&request).unwrap()).await, expected, "not the signer's key");
    assert_eq!(host.enroll(&bench, &secret).await.status(), 201, "none of these used the token up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_costs_nothing() {
    let bench = Bench::start().await;
    let secret = bench.token().secret;
    let host = TestHost::new(&bench.server.url);
    let first = host_id(host.enroll_with_key(&bench, &secret, "k1").await).await;
    let again = host_id(host.enroll_with_key(&bench, &secret, "k1").await).await;
    assert_eq!(first, again, "the same request");
    let again = host_id(host.enroll(&bench, &secret).await).await;
    assert_eq!(first, again, "the same key on the same machine");
    let unknown = host.enroll(&bench, "guessed").await;
    assert_eq!(problem(unknown).await, (403, Some(Code::TokenUnknown)), "but not without the secret");
    assert_eq!(bench.client().hosts().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_for_one_request() {
    let bench = Bench::start().await;
    let secret = bench.token().secret;
    let mut host = TestHost::new(&bench.server.url);
    host_id(host.enroll_with_key(&bench, &secret, "k1").await).await;
    host.info.hostname = "renamed".into();
    let other = host.enroll_with_key(&bench, &secret, "k1").await;
    assert_eq!(problem(other).await, (422, Some(Code::BadRequest)));
    let empty = host.enroll_with_key(&bench, &secret, "").await;
    assert_eq!(problem(empty).await, (400, Some(Code::BadRequest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_key_is_refused_on_another_machine() {
    let bench = Bench::start().await;
    let secret = bench.token().secret;
    let mut host = TestHost::new(&bench.server.url);
    host_id(host.enroll(&bench, &secret).await).await;
    host.info.machine = "f".repeat(64);
    let clone = host.enroll(&bench, &bench.token().secret).await;
    assert_eq!(problem(clone).await, (409, Some(Code::BadRequest)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_enrolls_anew_takes_the_place_of_its_older_self() {
    let bench = Bench::start().await;
    let older = bench.enrolled_host().await;
    let mut newer = TestHost::new(&bench.server.url);
    newer.info = older.info.clone();
    let id = host_id(newer.enroll(&bench, &bench.token().secret).await).await;
    assert_ne!(Some(&id), older.id.as_ref());
    let response = older.send(&bench, Method::DELETE, "/v1/hosts/self", Vec::new()).await;
    assert_eq!(problem(response).await, (401, Some(Code::HostUnknown)));
    let hosts = bench.client().hosts().unwrap();
    assert_eq!(hosts.iter().map(|host| &host.host.id).collect::<Vec<_>>(), [&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_hosts_survive_a_restart() {
    let bench = Bench::start().await;
    let token = read_token(&bench.client().token(2, HOUR, true).unwrap());
    let host = TestHost::new(&bench.server.url);
    let id = host_id(host.enroll(&bench, &token.secret).await).await;
    let bench = bench.restart().await;
    assert_eq!(bench.client().hosts().unwrap()[0].host.id, id);
    let second = TestHost::new(&bench.server.url);
    assert_eq!(second.enroll(&bench, &token.secret).await.status(), 201);
    let third = TestHost::new(&bench.server.url).enroll(&bench, &token.secret).await;
    assert_eq!(problem(third).await, (403, Some(Code::TokenExhausted)));
    let text = std::fs::read_dir(bench.state().join("tokens")).unwrap();
    for file in text {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(&token.secret), "the secret is not kept");
    }
}
