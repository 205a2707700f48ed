//! `docs/openapi.yaml` held against the running server: every answer that it describes is provoked, every
//! answer that is given is described, and each fits its description.

use std::collections::BTreeSet;

use hostward_mock_backend::http::ROUTES;
use hostward_protocol::api::{HostInfo, IDEMPOTENCY_KEY};
use hostward_protocol::report::{
    About, AccountChange, Change, Entry, Finding, Outcome, PolicyState, Report, Responsible, Staleness,
    StepOutcome,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::events::Log;
use crate::support::{Bench, TEAM, TestHost, read_token};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNIIhm0F2SGChPWeu03FhwNRRGp5Gb7CGoPB2pnmgUx";
const TEXT: &str = include_str!("../../../../docs/openapi.yaml");

/// Method, path as described, status, and kind of problem.
type Seen = BTreeSet<(String, String, u16, Option<String>)>;

struct Description {
    document: Value,
    seen: Seen,
}

impl Description {
    fn read() -> Description {
        let document = serde_saphyr::from_str(TEXT).unwrap();
        Description { document, seen: Seen::new() }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.document.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        &self.document["paths"][path][method.to_lowercase()]
    }

    fn check_schema(&self, schema: &Value, instance: &Value, what: &str) {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [schema],
            "components": self.document["components"],
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(instance).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?}\n{instance:#}");
    }

    fn check_request(&self, method: &str, path: &str, body: &Value) {
        let schema = self.operation(method, path).pointer("/requestBody/content/application~1json/schema");
        self.check_schema(schema.unwrap(), body, &format!("request {method} {path}"));
    }

    /// Checks an answer against its description and notes that it was given.
    async fn check(&mut self, method: &str, path: &str, response: Response) -> u16 {
        let status = response.status().as_u16();
        let what = format!("{method} {path} {status}");
        let described = &self.operation(method, path)["responses"][status.to_string()];
        assert!(!described.is_null(), "not described: {what}");
        let described = self.resolve(described).clone();
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let header = self.resolve(header);
            match response.headers().get(name) {
                Some(value) => {
                    let value = json!(value.to_str().unwrap());
                    self.check_schema(&header["schema"], &value, &format!("{what}, header {name}"));
                }
                None => assert_ne!(header["required"], json!(true), "{what} without {name}"),
            }
        }
        let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
        let body = response.bytes().await.unwrap();
        let mut problem = None;
        match (&kind, described.get("content")) {
            (Some(kind), Some(content)) => {
                assert!(content.get(kind).is_some(), "{what}: {kind} is not described");
                let body: Value = serde_json::from_slice(&body).unwrap();
                self.check_schema(&content[kind]["schema"], &body, &what);
                if kind == "application/problem+json" {
                    assert_eq!(body["status"], json!(status), "{what}");
                    let listed = described["x-problem-types"].as_array().unwrap();
                    assert!(listed.contains(&body["type"]), "{what}: {} is not listed", body["type"]);
                    problem = body["type"].as_str().map(str::to_owned);
                }
            }
            (None, None) => assert!(body.is_empty(), "{what} has a body"),
            (kind, content) => panic!("{what}: {kind:?} against {content:?}"),
        }
        self.seen.insert((method.into(), path.into(), status, problem));
        status
    }

    /// Every answer that is described.
    fn described(&self) -> Seen {
        let mut all = Seen::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let entry = |problem: Option<String>| {
                        (method.to_uppercase(), path.clone(), status.parse().unwrap(), problem)
                    };
                    match self.resolve(response)["x-problem-types"].as_array() {
                        None => _ = all.insert(entry(None)),
                        Some(types) => {
                            let types = types.iter().map(|kind| kind.as_str().unwrap().to_owned());
                            all.extend(types.map(|kind| entry(Some(kind))));
                        }
                    }
                }
            }
        }
        all
    }
}

#[test]
fn routes_are_those_of_the_description() {
    let description = Description::read();
    assert_eq!(description.document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    let mut operations = BTreeSet::new();
    for (path, methods) in description.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id), "{id} twice");
        }
    }
    let routes: BTreeSet<_> = ROUTES.iter().map(|r| (r.method.to_owned(), r.path.to_owned())).collect();
    assert_eq!(described, routes);
}

#[test]
fn problem_types_are_those_that_a_host_knows() {
    let description = Description::read();
    let listed = &description.document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    for kind in listed.as_array().unwrap() {
        let kind = kind.as_str().unwrap();
        let problem = hostward_protocol::problem::Problem {
            kind: kind.into(),
            title: String::new(),
            status: 400,
            detail: String::new(),
        };
        let code = hostward_protocol::problem::Code::of(&problem);
        assert_eq!(code.map_or("about:blank".into(), |code| code.uri()), kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_answer_is_given_and_fits() {
    // With credentials asked for everywhere, so that those answers can be had too.
    let bench = Bench::with(|options| options.repository_auth = true).await;
    let mut description = Description::read();
    let health = bench.get("/v1/health").await;
    assert_eq!(description.check("GET", "/v1/health", health).await, 200);
    let host = enroll(&bench, &mut description).await;
    hosts(&bench, &mut description, &host).await;
    certificates(&bench, &mut description, &host).await;
    events(&bench, &mut description, &host).await;
    repository(&bench, &mut description, &host).await;
    let leave = host.send(&bench, Method::DELETE, "/v1/hosts/self", Vec::new()).await;
    assert_eq!(description.check("DELETE", "/v1/hosts/self", leave).await, 204);
    let missing: Vec<_> = description.described().difference(&description.seen).cloned().collect();
    assert!(missing.is_empty(), "described but never given: {missing:#?}");
}

async fn enroll(bench: &Bench, description: &mut Description) -> TestHost {
    const PATH: &str = "/v1/enroll";
    let mut host = TestHost::new(&bench.server.url);
    host.info = full_host_info();
    let mut check = async |response: Response, expected: u16| {
        assert_eq!(description.check("POST", PATH, response).await, expected);
    };
    let secret = bench.token().secret;
    check(host.send(bench, Method::POST, PATH, b"{}".to_vec()).await, 400).await;
    check(host.send(bench, Method::POST, PATH, vec![b' '; (16 << 20) + 1]).await, 413).await;
    let body = serde_json::to_vec(&host.enrollment(&secret)).unwrap();
    let stale = host.send_with(bench, Method::POST, PATH, body.clone(), |claims| claims.iat -= 100);
    check(stale.await, 401).await;
    let wrong = host.send_with(bench, Method::POST, PATH, body.clone(), |claims| claims.htm.clear());
    check(wrong.await, 401).await;
    check(host.enroll(bench, "guessed").await, 403).await;
    let expired = bench.client().token(1, std::time::Duration::ZERO, true).unwrap();
    check(host.enroll(bench, &read_token(&expired).secret).await, 403).await;
    let exhausted = bench.client().token(0, std::time::Duration::from_secs(60), true).unwrap();
    check(host.enroll(bench, &read_token(&exhausted).secret).await, 403).await;
    let mut other = host.enrollment(&secret);
    other.project = "other".into();
    check(host.send(bench, Method::POST, PATH, serde_json::to_vec(&other).unwrap()).await, 403).await;

    let response = host.enroll_with_key(bench, &secret, "k").await;
    check(response, 201).await;
    host.info.os_version = "13".into();
    check(host.enroll_with_key(bench, &secret, "k").await, 422).await;
    host.info.machine = "f".repeat(64);
    check(host.enroll(bench, &secret).await, 409).await;
    let body = serde_json::to_value(host.enrollment(&secret)).unwrap();
    description.check_request("POST", PATH, &body);
    host.id = Some(bench.client().hosts().unwrap()[0].host.id.clone());
    host
}

async fn hosts(bench: &Bench, description: &mut Description, host: &TestHost) {
    let report = serde_json::to_value(full_report()).unwrap();
    let info = serde_json::to_value(full_host_info()).unwrap();
    description.check_request("POST", "/v1/hosts/self/report", &report);
    description.check_request("PUT", "/v1/hosts/self", &info);
    for (method, path, body) in [
        (Method::PUT, "/v1/hosts/self", Some(info)),
        (Method::POST, "/v1/hosts/self/report", Some(report)),
        (Method::DELETE, "/v1/hosts/self", None),
    ] {
        let bytes = body.as_ref().map_or(Vec::new(), |body| serde_json::to_vec(body).unwrap());
        let mut check = async |response: Response, expected: u16| {
            assert_eq!(description.check(method.as_str(), path, response).await, expected);
        };
        if body.is_some() {
            check(host.send(bench, method.clone(), path, bytes.clone()).await, 204).await;
            check(host.send(bench, method.clone(), path, b"[".to_vec()).await, 400).await;
        }
        let large = vec![b' '; (16 << 20) + 1];
        check(host.send(bench, method.clone(), path, large).await, 413).await;
        for response in unauthorized(bench, host, &method, path, &bytes).await {
            check(response, 401).await;
        }
    }
}

const FIND: &str = "/v1/hosts";
const SERVICE: &str = "/v1/ssh/service-certificates";
const HOST: &str = "/v1/ssh/host-certificates";

async fn certificates(bench: &Bench, description: &mut Description, host: &TestHost) {
    let info = serde_json::to_vec(&full_host_info()).unwrap();
    assert_eq!(host.send(bench, Method::PUT, "/v1/hosts/self", info).await.status(), 204);
    let service = json!({"uid": 112, "public_key": KEY, "hint": {"pid": 7, "unit": "jenkins.service"}});
    let keys = json!({ "keys": [KEY] });
    description.check_request("POST", SERVICE, &service);
    description.check_request("POST", HOST, &keys);
    let (service, keys) = (service.to_string().into_bytes(), keys.to_string().into_bytes());
    let find = "/v1/hosts?name=web1&uid=112";
    let mut check = async |path: &'static str, method: Method, response: Response, expected: u16| {
        assert_eq!(description.check(method.as_str(), path, response).await, expected, "{path}");
    };
    bench.write_team(TEAM);
    let unbound = host.send(bench, Method::GET, find, Vec::new()).await;
    check(FIND, Method::GET, unbound, 403).await;
    check(SERVICE, Method::POST, host.send(bench, Method::POST, SERVICE, service.clone()).await, 403).await;
    bench.write_team(&full_team().replace("[ssh.revoked]", "[ssh]\nsign_nothing = true\n[ssh.revoked]"));
    check(SERVICE, Method::POST, host.send(bench, Method::POST, SERVICE, service.clone()).await, 403).await;
    check(HOST, Method::POST, host.send(bench, Method::POST, HOST, keys.clone()).await, 403).await;
    bench.write_team(&full_team());
    for (path, method, sent, body, given) in [
        (FIND, Method::GET, find, Vec::new(), 200),
        (SERVICE, Method::POST, SERVICE, service, 201),
        (HOST, Method::POST, HOST, keys, 201),
    ] {
        check(path, method.clone(), host.send(bench, method.clone(), sent, body.clone()).await, given).await;
        for response in unauthorized(bench, host, &method, sent, &body).await {
            check(path, method.clone(), response, 401).await;
        }
        let bad = host.send(bench, method.clone(), path, b"{}".to_vec()).await;
        check(path, method.clone(), bad, 400).await;
        let large = host.send(bench, method.clone(), sent, vec![b' '; (16 << 20) + 1]).await;
        check(path, method.clone(), large, 413).await;
    }
}

async fn events(bench: &Bench, description: &mut Description, host: &TestHost) {
    const HEAD: &str = "/v1/hosts/self/events/head";
    const EVENTS: &str = "/v1/events";
    let mut check = async |method: &str, path: &str, response: Response, expected: u16| {
        assert_eq!(description.check(method, path, response).await, expected, "{path}");
    };
    let head = async || host.send(bench, Method::GET, HEAD, Vec::new()).await;
    check("GET", HEAD, head().await, 200).await;
    let mut log = Log::default();
    let batch = log.batch(3);
    check("POST", EVENTS, host.deliver(bench, EVENTS, &batch, Some("k")).await, 200).await;
    check("GET", HEAD, head().await, 200).await;
    let next = log.batch(1);
    check("POST", EVENTS, host.deliver(bench, EVENTS, &next, Some("k")).await, 422).await;
    bench.client().fault_on("refuse-events", &["type=test", "whole=true"]).unwrap();
    check("POST", EVENTS, host.deliver(bench, EVENTS, &next, None).await, 422).await;
    bench.client().fault_on("refuse-events", &["type=test"]).unwrap();
    check("POST", EVENTS, host.deliver(bench, EVENTS, &next, None).await, 200).await;
    bench.client().fault_off(None).unwrap();
    let other = Log { number: 1, ..Log::default() }.batch(1);
    check("POST", EVENTS, host.deliver(bench, EVENTS, &other, None).await, 409).await;
    check("POST", EVENTS, host.deliver(bench, EVENTS, b"[{}]", None).await, 400).await;
    check("POST", EVENTS, host.deliver(bench, EVENTS, &vec![b' '; (1 << 20) + 1], None).await, 413).await;
    check("POST", EVENTS, host.send(bench, Method::POST, EVENTS, batch.clone()).await, 415).await;
    let large = host.send(bench, Method::GET, HEAD, vec![b' '; (16 << 20) + 1]).await;
    check("GET", HEAD, large, 413).await;
    for (method, path) in [(Method::GET, HEAD), (Method::POST, EVENTS)] {
        for response in unauthorized(bench, host, &method, path, &batch).await {
            check(method.as_str(), path, response, 401).await;
        }
    }
    let schema = json!({ "$ref": "#/components/schemas/Events" });
    description.check_schema(&schema, &serde_json::from_slice(&batch).unwrap(), "a batch");
}

/// The three ways in which a credential does not do.
async fn unauthorized(
    bench: &Bench,
    host: &TestHost,
    method: &Method,
    path: &str,
    body: &[u8],
) -> [Response; 3] {
    let send = async |change: fn(&mut hostward_protocol::api::Claims)| {
        host.send_with(bench, method.clone(), path, body.to_vec(), change).await
    };
    [
        send(|claims| claims.iat -= 100).await,
        send(|claims| claims.htm.clear()).await,
        send(|claims| claims.iss = "h-gone".into()).await,
    ]
}

async fn repository(bench: &Bench, description: &mut Description, host: &TestHost) {
    const TIMESTAMP: &str = "/v1/projects/{project}/tuf/timestamp.json";
    const METADATA: &str = "/v1/projects/{project}/tuf/{metadata}";
    const TARGET: &str = "/v1/projects/{project}/tuf/targets/{target}";
    // A team that has everything that documents can have.
    let version = bench.write_team(&full_team());
    let get = async |path: &str| host.send(bench, Method::GET, path, Vec::new()).await;
    let base = "/v1/projects/acme/tuf";
    let mut paths = vec![
        (TIMESTAMP, format!("{base}/timestamp.json"), 200),
        (TIMESTAMP, "/v1/projects/other/tuf/timestamp.json".into(), 404),
        (METADATA, format!("{base}/1.root.json"), 200),
        (METADATA, format!("{base}/{version}.snapshot.json"), 200),
        (METADATA, format!("{base}/{version}.targets.json"), 200),
        (METADATA, format!("{base}/2.root.json"), 404),
        (TARGET, format!("{base}/targets/{}.users-00.json", "0".repeat(64)), 404),
    ];
    for target in bench.client().policy(false).unwrap().targets {
        paths.push((TARGET, format!("{base}/targets/{}.{}", target.sha256, target.name), 200));
    }
    for (template, path, expected) in paths {
        assert_eq!(description.check("GET", template, get(&path).await).await, expected, "{path}");
        for response in unauthorized(bench, host, &Method::GET, &path, b"").await {
            assert_eq!(description.check("GET", template, response).await, 401, "{path}");
        }
    }
    let path = format!("{base}/timestamp.json");
    let etag = get(&path).await.headers()["etag"].clone();
    let token = host.sign(&host.claims(&Method::GET, &path, b""));
    let request = bench.http.get(bench.url(&path)).bearer_auth(token);
    let waited = request.header("If-None-Match", etag).header("Prefer", "wait=0").send().await.unwrap();
    assert!(waited.headers().contains_key("preference-applied"));
    assert_eq!(description.check("GET", TIMESTAMP, waited).await, 304);
    assert_eq!(IDEMPOTENCY_KEY, description.document["components"]["parameters"]["IdempotencyKey"]["name"]);
}

fn full_team() -> String {
    let more = r##"
        [users.dora]
        uid = 70010
        gid = 71001
        home = "/srv/dora"
        status = "suspended"
        principals = ["dora", "d.dorn"]
        expires = 2031-01-01T00:00:00Z
        [[grants]]
        group = "admins"
        local_groups = ["adm"]
        from = 2030-01-01T00:00:00Z
        until = 2030-01-02T00:00:00Z
        [entitlements.everything]
        run_as = { user = "www-data", group = "#33" }
        env_keep = ["LANG"]
        env_delete = ["LC_ALL"]
        commands = [{ directory = "/opt/tools/" }, { raw = "/usr/bin/true" }]
        [[services]]
        user = "alice"
        hosts = "labels.env = prod"
        uid = 112
        [ssh.revoked]
        serials = [7]
        key_ids = ["mallory"]
        keys = ["ssh-ed25519 AAAA"]
    "##;
    format!("{TEAM}\n{more}")
}

fn full_host_info() -> HostInfo {
    HostInfo {
        hostname: "web1".into(),
        canonical_name: Some("web1.example".into()),
        fqdn: Some("web1.example.org".into()),
        alt_names: vec!["www".into()],
        instance_id: Some("i-0123456789abcdef0".into()),
        access_address: Some("192.0.2.1".into()),
        bastion: Some("gate".into()),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        os: "debian".into(),
        os_version: "12".into(),
        architecture: "x86_64".into(),
        agent_version: "0.1.0".into(),
        ssh_host_keys: vec![KEY.into()],
        ssh_port: Some(22),
        machine: "0".repeat(64),
    }
}

fn full_report() -> Report {
    let finding = Finding {
        code: "user-name-exists-locally".into(),
        subject: "user `alice`".into(),
        message: "it exists locally".into(),
        responsible: Responsible::Backend,
        mend: "rename it".into(),
    };
    let step = |about, outcome| StepOutcome { step: "write the sudoers file".into(), about, outcome };
    let change = AccountChange {
        change: Change::Change,
        entry: Entry::User,
        name: "alice".into(),
        id: 70001,
        detail: "home".into(),
    };
    let mut report = crate::hosts::sample_report(3);
    report.policy = Some(PolicyState {
        version: 4,
        root_version: 1,
        expires: report.at,
        staleness: Staleness::OfflineKept,
    });
    report.admission = Some(finding.clone());
    report.steps = vec![
        step(About::Accounts { changes: vec![change], more: 3 }, Outcome::Done { detail: String::new() }),
        step(About::Sessions { name: "bob".into(), uid: 70002 }, Outcome::Failed(finding.clone())),
        step(About::Sudo, Outcome::Skipped { reason: "an earlier step failed".into() }),
        step(
            About::Home { name: "bob".into(), uid: 70002, home: "/home/bob".into() },
            Outcome::Done { detail: "bob-70002.tar".into() },
        ),
    ];
    report.refusals = vec![finding.clone()];
    report.drift = vec![finding.clone()];
    report.warnings = vec![finding];
    report
}
