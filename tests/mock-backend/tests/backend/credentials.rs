//! Which host credentials are refused, and as what.

use hostward_protocol::api::Claims;
use hostward_protocol::problem::Code;
use reqwest::Method;

use crate::support::{Bench, TestHost, problem};

const SELF: &str = "/v1/hosts/self";

type Change = fn(&mut Claims);

#[tokio::test(flavor = "multi_thread")]
async fn claims_must_fit_the_request() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let body = serde_json::to_vec(&host.info).unwrap();
    let invalid = Some(Code::CredentialInvalid);
    let table: [(&str, Change, Option<Code>); 12] = [
        ("as it should be", |_| {}, None),
        ("a minute old", |claims| claims.iat -= 58, None),
        ("too old", |claims| claims.iat -= 62, Some(Code::ClockSkew)),
        ("too new", |claims| claims.iat += 62, Some(Code::ClockSkew)),
        ("expired", |claims| claims.exp -= 3600, Some(Code::ClockSkew)),
        ("the end of time", |claims| claims.iat = i64::MIN, Some(Code::ClockSkew)),
        ("another backend", |claims| claims.aud = "https://other.invalid".into(), invalid),
        ("another method", |claims| claims.htm = "DELETE".into(), invalid),
        ("another URL", |claims| claims.htu.push('x'), invalid),
        ("another body", |claims| claims.bh = crate::support::base64url_sha256(b""), invalid),
        ("another subject", |claims| claims.sub = "h-1".into(), invalid),
        ("another host", |claims| claims.iss = "h-0000".into(), Some(Code::HostUnknown)),
    ];
    for (what, change, expected) in table {
        let response = host.send_with(&bench, Method::PUT, SELF, body.clone(), change).await;
        match expected {
            None => assert_eq!(response.status(), 204, "{what}"),
            Some(code) => {
                assert_eq!(response.headers()["www-authenticate"], "Bearer");
                assert_eq!(problem(response).await, (401, Some(code)), "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_good_for_one_request() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let body = serde_json::to_vec(&host.info).unwrap();
    let token = host.sign(&host.claims(&Method::PUT, SELF, &body));
    let send = async || {
        let request = bench.http.put(bench.url(SELF)).bearer_auth(&token).body(body.clone());
        request.send().await.unwrap()
    };
    assert_eq!(send().await.status(), 204);
    assert_eq!(problem(send().await).await, (401, Some(Code::CredentialInvalid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_must_be_of_the_hosts_key() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let mut thief = TestHost::new(&bench.server.url);
    thief.id = host.id.clone();
    let response = thief.send(&bench, Method::DELETE, SELF, Vec::new()).await;
    assert_eq!(problem(response).await, (401, Some(Code::CredentialInvalid)));

    let claims = host.claims(&Method::DELETE, SELF, b"");
    let good = host.sign(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let none = crate::support::unsigned(&claims);
    let headers = [
        None,
        Some("Basic aG9zdDpwYXNz".to_owned()),
        Some("Bearer".to_owned()),
        Some("Bearer not.a.token".to_owned()),
        Some(format!("Bearer {}.{}.", parts[0], parts[1])),
        Some(format!("Bearer {none}")),
        Some(format!("Bearer {good}.{good}")),
    ];
    for header in headers {
        let mut request = bench.http.delete(bench.url(SELF));
        if let Some(header) = &header {
            request = request.header("Authorization", header);
        }
        let response = request.send().await.unwrap();
        assert_eq!(problem(response).await, (401, Some(Code::CredentialInvalid)), "{header:?}");
    }
    assert_eq!(bench.client().hosts().unwrap().len(), 1, "nobody was removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_known_by_all_its_names() {
    let bench = Bench::with(|options| options.names.push("backend.test".into())).await;
    let host = bench.enrolled_host().await;
    let body = serde_json::to_vec(&host.info).unwrap();
    let port = bench.server.address.port();
    for (name, expected) in [("localhost", 204), ("backend.test", 204), ("other.test", 401)] {
        let origin = format!("https://{name}:{port}");
        let change = |claims: &mut Claims| {
            claims.htu = format!("{origin}{SELF}");
            claims.aud = origin.clone();
        };
        let response = host.send_with(&bench, Method::PUT, SELF, body.clone(), change).await;
        assert_eq!(response.status(), expected, "{name}");
    }
}
