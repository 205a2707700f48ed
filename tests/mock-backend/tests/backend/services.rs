//! Service users: what is published of them, their certificates, where they can go; and certificates of hosts.

use hostward_mock_backend::ssh::Ca;
use hostward_protocol::api::{HostCertificates, HostInfo, Matched, ServiceCertificate, Targets};
use hostward_protocol::document::{self, Services};
use hostward_protocol::problem::Code;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use ssh_key::certificate::CertType;
use ssh_key::{Certificate, HashAlg, PublicKey};

use crate::support::{Bench, TestHost, json, problem};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNIIhm0F2SGChPWeu03FhwNRRGp5Gb7CGoPB2pnmgUx";
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHk3UFRKlz3Lg7dxXWKzFN7tXO3VYhZpfcKeCb8M5Ox";
const SERVICE: &str = "/v1/ssh/service-certificates";
const HOST: &str = "/v1/ssh/host-certificates";

const TEAM: &str = r#"
    [project]
    id = "acme"
    [users.deploy]
    uid = 70100
    principals = ["deploy", "svc-deploy"]
    [groups.deployers]
    gid = 71100
    members = ["deploy"]
    [[grants]]
    group = "deployers"
    hosts = "labels.role in (web, gate)"
    login = true
    [[services]]
    user = "deploy"
    hosts = "labels.role = ci"
    uid = 112
"#;

async fn host(bench: &Bench, hostname: &str, role: &str, change: impl FnOnce(&mut HostInfo)) -> TestHost {
    let mut host = bench.enrolled_host().await;
    host.info.hostname = hostname.into();
    host.info.labels.insert("role".into(), role.into());
    change(&mut host.info);
    let body = serde_json::to_vec(&host.info).unwrap();
    assert_eq!(host.send(bench, Method::PUT, "/v1/hosts/self", body).await.status(), 204);
    host
}

async fn post(bench: &Bench, host: &TestHost, path: &str, body: Value) -> Response {
    host.send(bench, Method::POST, path, body.to_string().into_bytes()).await
}

async fn found(bench: &Bench, host: &TestHost, name: &str) -> Vec<(Matched, String)> {
    let response = host.send(bench, Method::GET, &format!("/v1/hosts?name={name}&uid=112"), Vec::new()).await;
    let targets: Targets = json(response).await;
    targets.hosts.into_iter().map(|target| (target.matched, target.id)).collect()
}

fn fingerprint(bench: &Bench, ca: Ca) -> ssh_key::Fingerprint {
    let line = ca.public_line(&bench.state()).unwrap();
    PublicKey::from_openssh(&line).unwrap().fingerprint(HashAlg::Sha256)
}

fn now() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_are_published_where_there_are_any() {
    let bench = Bench::start().await;
    let document = || {
        let targets = bench.client().policy(true).unwrap().targets;
        targets.into_iter().find(|target| target.name == "services.json").and_then(|target| target.content)
    };
    assert_eq!(document(), None);
    bench.write_team(TEAM);
    let services: Services = document::parse(document().unwrap().as_bytes()).unwrap();
    let service = services.services[0].shaped().unwrap();
    assert_eq!((service.hosts.as_str(), service.uid), ("labels.role = ci", 112));
    let error = std::fs::write(bench.team_file(), TEAM.replace("user = \"deploy\"", "user = \"nobody\""));
    error.unwrap();
    let error = bench.client().sync().unwrap_err().to_string();
    assert!(error.contains("a service names the user `nobody`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_account_gets_a_certificate_of_minutes() {
    let bench = Bench::start().await;
    bench.write_team(TEAM);
    let ci = host(&bench, "ci", "ci", |_| {}).await;
    let request = json!({"uid": 112, "public_key": KEY, "hint": {"pid": 7, "unit": "jenkins.service"}});
    let response = post(&bench, &ci, SERVICE, request.clone()).await;
    assert_eq!(response.status(), 201);
    let answer: ServiceCertificate = json(response).await;
    let certificate = Certificate::from_openssh(&answer.certificate).unwrap();
    certificate.validate_at(now(), &[fingerprint(&bench, Ca::User)]).unwrap();
    assert_eq!(certificate.cert_type(), CertType::User);
    assert_eq!(certificate.key_id(), "service:deploy@ci:uid=112");
    assert_eq!(certificate.valid_principals(), ["deploy", "svc-deploy"]);
    assert_eq!(certificate.valid_before() - certificate.valid_after(), 60 + 180);
    let extensions: Vec<_> = certificate.extensions().keys().collect();
    assert_eq!(extensions, ["permit-port-forwarding", "permit-pty"]);
    let issued = bench.client().certificates().unwrap();
    assert_eq!((issued.len(), issued[0].serial), (1, certificate.serial()));
    assert_eq!(issued[0].hint.as_ref().unwrap().unit.as_deref(), Some("jenkins.service"));

    for (body, expected) in [
        (json!({"uid": 113, "public_key": KEY}), (403, Some(Code::ServiceNotBound))),
        (json!({"uid": 112, "public_key": "ssh-ed25519 AAAA"}), (400, Some(Code::BadRequest))),
        (json!({ "uid": 112 }), (400, Some(Code::BadRequest))),
    ] {
        assert_eq!(problem(post(&bench, &ci, SERVICE, body).await).await, expected);
    }
    let web = host(&bench, "web", "web", |_| {}).await;
    let refused = post(&bench, &web, SERVICE, request.clone()).await;
    assert_eq!(problem(refused).await, (403, Some(Code::ServiceNotBound)), "bound on another host");

    bench.write_team(&format!("{TEAM}\n[ssh]\nservice_validity = \"20m\""));
    let answer: ServiceCertificate = json(post(&bench, &ci, SERVICE, request.clone()).await).await;
    let certificate = Certificate::from_openssh(&answer.certificate).unwrap();
    assert_eq!(certificate.valid_before() - certificate.valid_after(), 60 + 1200);
    bench.write_team(&format!("{TEAM}\n[ssh]\nsign_nothing = true"));
    let refused = post(&bench, &ci, SERVICE, request).await;
    assert_eq!(problem(refused).await, (403, Some(Code::NoCertificates)));
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_those_that_the_user_may_enter() {
    let bench = Bench::start().await;
    bench.write_team(TEAM);
    let ci = host(&bench, "ci", "ci", |_| {}).await;
    let gate = host(&bench, "gate", "gate", |info| info.ssh_port = Some(2222)).await;
    let web1 = host(&bench, "web1", "web", |info| {
        info.bastion = Some("gate".into());
        info.canonical_name = Some("web1.example.org".into());
        info.access_address = Some("192.0.2.1".into());
    })
    .await;
    let web2 = host(&bench, "web2", "web", |info| info.alt_names = vec!["web".into()]).await;
    let web3 = host(&bench, "web3", "web", |info| info.alt_names = vec!["web".into()]).await;
    host(&bench, "db", "db", |_| {}).await;
    let id = |host: &TestHost| host.id.clone().unwrap();
    assert_eq!(found(&bench, &ci, "web1").await, [(Matched::Hostname, id(&web1))]);
    assert_eq!(found(&bench, &ci, "WEB1.example.org").await, [(Matched::Id, id(&web1))]);
    assert_eq!(found(&bench, &ci, "192.0.2.1").await, [(Matched::Address, id(&web1))]);
    assert_eq!(found(&bench, &ci, "db").await, [], "no grant");
    assert_eq!(found(&bench, &ci, "nowhere").await, []);
    let mut both = [(Matched::AltName, id(&web2)), (Matched::AltName, id(&web3))];
    both.sort();
    assert_eq!(found(&bench, &ci, "web").await, both, "ambiguous");

    let response = ci.send(&bench, Method::GET, "/v1/hosts?name=gate&uid=112", Vec::new()).await;
    let targets: Targets = json(response).await;
    assert_eq!(targets.hosts[0].id, id(&gate));
    assert_eq!((targets.hosts[0].address.as_str(), targets.hosts[0].port), ("127.0.0.1", 2222));
    for (query, expected) in [
        ("name=web1&uid=113", (403, Some(Code::ServiceNotBound))),
        ("name=web1", (400, Some(Code::BadRequest))),
        ("name=&uid=112", (400, Some(Code::BadRequest))),
        ("name=web1&uid=-1", (400, Some(Code::BadRequest))),
    ] {
        let response = ci.send(&bench, Method::GET, &format!("/v1/hosts?{query}"), Vec::new()).await;
        assert_eq!(problem(response).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_certificates_for_the_keys_it_described() {
    let bench = Bench::start().await;
    let web1 = host(&bench, "web1", "web", |info| {
        info.ssh_host_keys = vec![format!("{KEY} root@web1")];
        info.alt_names = vec!["www".into(), "*".into()];
    })
    .await;
    host(&bench, "web2", "web", |info| info.alt_names = vec!["www".into()]).await;
    let answer: HostCertificates = json(post(&bench, &web1, HOST, json!({ "keys": [KEY] })).await).await;
    let certificate = Certificate::from_openssh(&answer.certificates[0]).unwrap();
    certificate.validate_at(now(), &[fingerprint(&bench, Ca::Host)]).unwrap();
    assert_eq!(certificate.cert_type(), CertType::Host);
    assert_eq!(certificate.valid_principals(), [web1.id.as_deref().unwrap(), "web1"]);
    assert_eq!(certificate.valid_before() - certificate.valid_after(), 60 + 7 * 86_400);
    for keys in [json!([OTHER_KEY]), json!([]), json!(["x"])] {
        let refused = post(&bench, &web1, HOST, json!({ "keys": keys })).await;
        assert_eq!(problem(refused).await, (400, Some(Code::BadRequest)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_wrong_on_purpose() {
    let bench = Bench::start().await;
    bench.write_team(TEAM);
    let ci = host(&bench, "ci", "ci", |_| {}).await;
    let ca = fingerprint(&bench, Ca::User);
    let get = async |flaw: &str| {
        bench.client().fault_on("wrong-certificate", &[&format!("flaw={flaw}"), "count=1"]).unwrap();
        let response = post(&bench, &ci, SERVICE, json!({"uid": 112, "public_key": KEY})).await;
        let answer: ServiceCertificate = json(response).await;
        Certificate::from_openssh(&answer.certificate)
    };
    let key = PublicKey::from_openssh(KEY).unwrap();
    for flaw in ["other-ca", "expired", "not-yet"] {
        get(flaw).await.unwrap().validate_at(now(), &[ca]).unwrap_err();
    }
    assert_ne!(get("other-key").await.unwrap().public_key(), key.key_data());
    assert_eq!(get("other-type").await.unwrap().cert_type(), CertType::Host);
    assert_eq!(get("more-principals").await.unwrap().valid_principals(), ["deploy", "svc-deploy", "*"]);
    assert!(get("no-principals").await.unwrap().valid_principals().is_empty());
    assert!(get("long").await.unwrap().valid_before() > now() + 86_400 * 365);
    assert_eq!(get("critical-option").await.unwrap().critical_options().len(), 1);
    assert_eq!(get("more-extensions").await.unwrap().extensions().len(), 5);
    get("garbage").await.unwrap_err();
    let good = post(&bench, &ci, SERVICE, json!({"uid": 112, "public_key": KEY})).await;
    let answer: ServiceCertificate = json(good).await;
    Certificate::from_openssh(&answer.certificate).unwrap().validate_at(now(), &[ca]).unwrap();
    let error = bench.client().fault_on("wrong-certificate", &["flaw=odd"]).unwrap_err().to_string();
    assert!(error.contains("flaw=odd"), "{error}");
}
