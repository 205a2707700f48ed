//! What enrolled hosts send.

use chrono::Utc;
use hostward_protocol::api::IDEMPOTENCY_KEY;
use hostward_protocol::problem::Code;
use hostward_protocol::report::{Cause, Finding, Report, Responsible};
use reqwest::{Method, Response};

use crate::support::{Bench, TestHost, problem};

const REPORT: &str = "/v1/hosts/self/report";

pub fn sample_report(users: u32) -> Report {
    Report { project: Some("acme".into()), users, ..Report::new(Cause::Timer, Utc::now(), "0.1.0") }
}

async fn send(bench: &Bench, host: &TestHost, users: u32, key: Option<&str>) -> Response {
    let body = serde_json::to_vec(&sample_report(users)).unwrap();
    let token = host.sign(&host.claims(&Method::POST, REPORT, &body));
    let mut request = bench.http.post(bench.url(REPORT)).bearer_auth(token).body(body);
    if let Some(key) = key {
        request = request.header(IDEMPOTENCY_KEY, key);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_what_it_is_and_leaves() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let mut info = host.info.clone();
    info.hostname = "renamed".into();
    info.labels.insert("env".into(), "prod".into());
    let body = serde_json::to_vec(&info).unwrap();
    let response = host.send(&bench, Method::PUT, "/v1/hosts/self", body).await;
    assert_eq!(response.status(), 204);
    assert_eq!(bench.client().hosts().unwrap()[0].host.info, info);
    let bad = host.send(&bench, Method::PUT, "/v1/hosts/self", b"[]x".to_vec()).await;
    assert_eq!(problem(bad).await, (400, Some(Code::BadRequest)));

    assert_eq!(send(&bench, &host, 1, None).await.status(), 204);
    let response = host.send(&bench, Method::DELETE, "/v1/hosts/self", Vec::new()).await;
    assert_eq!(response.status(), 204);
    assert!(bench.client().hosts().unwrap().is_empty());
    let again = host.send(&bench, Method::DELETE, "/v1/hosts/self", Vec::new()).await;
    assert_eq!(problem(again).await, (401, Some(Code::HostUnknown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_kept_once_and_in_order() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let other = bench.enrolled_host().await;
    for (users, key) in [(1, Some("a")), (1, Some("a")), (2, Some("b")), (3, None), (4, None)] {
        assert_eq!(send(&bench, &host, users, key).await.status(), 204);
    }
    assert_eq!(send(&bench, &other, 9, Some("a")).await.status(), 204);
    let client = bench.client();
    let users = |name: Option<&str>| {
        let reports = client.reports(name).unwrap();
        reports.iter().map(|stored| stored.report.users).collect::<Vec<_>>()
    };
    assert_eq!(users(Some(&host.info.hostname)), [1, 2, 3, 4]);
    assert_eq!(users(other.id.as_deref()), [9]);
    assert_eq!(users(None), [1, 2, 3, 4, 9]);
    let error = client.reports(Some("nobody")).unwrap_err().to_string();
    assert!(error.contains("`nobody`"), "{error}");
    let hosts = client.hosts().unwrap();
    assert!(hosts.iter().all(|host| host.whole == Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_with_several_faults_is_one_refused_entry() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let mut report = sample_report(1);
    report.refusals = [("user `root`", "name"), ("user `root`", "uid"), ("group `docker`", "name")]
        .map(|(subject, code)| Finding {
            code: code.into(),
            subject: subject.into(),
            message: "refused".into(),
            responsible: Responsible::Backend,
            mend: "choose another".into(),
        })
        .to_vec();
    let body = serde_json::to_vec(&report).unwrap();
    assert_eq!(host.send(&bench, Method::POST, REPORT, body).await.status(), 204);
    let shown = &bench.client().hosts().unwrap()[0];
    assert_eq!((shown.whole, shown.refused), (Some(true), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_hundred_reports_are_kept() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    for users in 1..=103 {
        assert_eq!(send(&bench, &host, users, None).await.status(), 204);
    }
    let bench = bench.restart().await;
    let reports = bench.client().reports(None).unwrap();
    assert_eq!(reports.len(), 100);
    assert_eq!(reports.first().unwrap().report.users, 4);
    assert_eq!(reports.last().unwrap().report.users, 103);
    assert_eq!(reports.last().unwrap().number, 103);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_another_form_are_refused() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    let mut report = sample_report(1);
    report.schema = "hostward/report/2".into();
    for body in [b"{}".to_vec(), serde_json::to_vec(&report).unwrap()] {
        let response = host.send(&bench, Method::POST, REPORT, body).await;
        assert_eq!(problem(response).await, (400, Some(Code::BadRequest)));
    }
    let large = host.send(&bench, Method::POST, REPORT, vec![b' '; (16 << 20) + 1]).await;
    assert_eq!(problem(large).await, (413, None));
    assert!(bench.client().reports(None).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_removes_a_host() {
    let bench = Bench::start().await;
    let host = bench.enrolled_host().await;
    bench.client().remove_host(&host.info.hostname).unwrap();
    let response = send(&bench, &host, 1, None).await;
    assert_eq!(problem(response).await, (401, Some(Code::HostUnknown)));
}
