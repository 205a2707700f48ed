//! A backend in a directory of its own, and hosts that talk to it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use hostward_mock_backend::backend::Options;
use hostward_mock_backend::client::Client;
use hostward_mock_backend::server::Server;
use hostward_protocol::api::{Claims, EnrollRequest, EnrollResponse, HostInfo, IDEMPOTENCY_KEY, Proof};
use hostward_protocol::events::BATCH_MEDIA_TYPE;
use hostward_protocol::problem::{Code, Problem};
use hostward_protocol::token::EnrollmentToken;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, Response};
use tempfile::TempDir;

pub const TEAM: &str = include_str!("../../examples/team.toml");

pub struct Bench {
    pub directory: TempDir,
    pub server: Server,
    pub http: reqwest::Client,
}

impl Bench {
    pub async fn start() -> Bench {
        Bench::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("team.toml"), TEAM).unwrap();
        Bench::open(directory, change).await
    }

    async fn open(directory: TempDir, change: impl FnOnce(&mut Options)) -> Bench {
        let mut options = Options::new(directory.path().join("team.toml"), directory.path().join("state"));
        change(&mut options);
        let server = Server::start(options).await.unwrap();
        let http = http(&server);
        Bench { directory, server, http }
    }

    /// Stops it and starts it again from the same directory.
    pub async fn restart(self) -> Bench {
        let Bench { directory, server, .. } = self;
        drop(server);
        Bench::open(directory, |_| {}).await
    }

    pub fn client(&self) -> Client {
        self.server.client()
    }

    pub fn team_file(&self) -> PathBuf {
        self.directory.path().join("team.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Writes the team file; returns the version that reflects it.
    pub fn write_team(&self, text: &str) -> u64 {
        std::fs::write(self.team_file(), text).unwrap();
        self.client().sync().unwrap()
    }

    /// Changes alice's full name, and with it one shard.
    pub fn touch_policy(&self) -> u64 {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        self.write_team(&TEAM.replace("Alice Adams", &format!("Alice Adams {number}")))
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    pub fn repository_url(&self, file: &str) -> String {
        self.url(&format!("/v1/projects/acme/tuf/{file}"))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub fn token(&self) -> EnrollmentToken {
        let minute = std::time::Duration::from_secs(60);
        read_token(&self.client().token(1, minute, true).unwrap())
    }

    pub async fn enrolled_host(&self) -> TestHost {
        let mut host = TestHost::new(&self.server.url);
        let response = host.enroll(self, &self.token().secret).await;
        assert_eq!(response.status(), 201);
        let answer: EnrollResponse = json(response).await;
        host.id = Some(answer.host_id);
        host
    }
}

/// A client that trusts the backend's CA and nothing else.
pub fn http(server: &Server) -> reqwest::Client {
    http_builder(server).build().unwrap()
}

/// The same, speaking HTTP/1.1 only.
pub fn http1(server: &Server) -> reqwest::Client {
    http_builder(server).http1_only().build().unwrap()
}

fn http_builder(server: &Server) -> reqwest::ClientBuilder {
    let pem = std::fs::read(&server.ca_path).unwrap();
    let certificate = reqwest::Certificate::from_pem(&pem).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([certificate])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
}

pub fn read_token(line: &str) -> EnrollmentToken {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(line).unwrap()).unwrap()
}

pub async fn json<T: serde::de::DeserializeOwned>(response: Response) -> T {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Status and kind of a problem.
pub async fn problem(response: Response) -> (u16, Option<Code>) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Problem = json(response).await;
    assert_eq!(problem.status, status);
    assert!(!problem.title.is_empty() && !problem.detail.is_empty());
    (status, Code::of(&problem))
}

pub fn base64url_sha256(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// A host with a key of its own.
pub struct TestHost {
    pair: Ed25519KeyPair,
    origin: String,
    pub id: Option<String>,
    pub info: HostInfo,
}

impl TestHost {
    pub fn new(origin: &str) -> TestHost {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        TestHost {
            pair: Ed25519KeyPair::generate().unwrap(),
            origin: origin.to_owned(),
            id: None,
            info: HostInfo {
                hostname: format!("host{number}"),
                machine: format!("{number:064x}"),
                ..HostInfo::default()
            },
        }
    }

    /// Talks to a backend that is at another port now.
    pub fn move_to(&mut self, bench: &Bench) {
        self.origin = bench.server.url.clone();
    }

    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    pub fn claims(&self, method: &Method, path: &str, body: &[u8]) -> Claims {
        let now = Utc::now().timestamp();
        let thumbprint = || format!("key:{}", base64url_sha256(self.pair.public_key().as_ref()));
        let issuer = self.id.clone().unwrap_or_else(thumbprint);
        Claims {
            iss: issuer.clone(),
            sub: issuer,
            aud: self.origin.clone(),
            htm: method.to_string(),
            htu: format!("{}{path}", self.origin),
            bh: base64url_sha256(body),
            iat: now,
            exp: now + 60,
            jti: format!("{:032x}", rand::random::<u128>()),
        }
    }

    pub fn sign(&self, claims: &Claims) -> String {
        let secret = self.pair.to_pkcs8().unwrap();
        let key = EncodingKey::from_ed_der(secret.as_ref());
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &key).unwrap()
    }

    pub async fn send(&self, bench: &Bench, method: Method, path: &str, body: Vec<u8>) -> Response {
        self.send_with(bench, method, path, body, |_| {}).await
    }

    pub async fn send_with(
        &self,
        bench: &Bench,
        method: Method,
        path: &str,
        body: Vec<u8>,
        change: impl FnOnce(&mut Claims),
    ) -> Response {
        let mut claims = self.claims(&method, path, &body);
        change(&mut claims);
        let request = bench.http.request(method, bench.url(path)).bearer_auth(self.sign(&claims));
        request.body(body).send().await.unwrap()
    }

    pub async fn deliver(&self, bench: &Bench, path: &str, batch: &[u8], key: Option<&str>) -> Response {
        let token = self.sign(&self.claims(&Method::POST, path, batch));
        let mut request = bench.http.post(bench.url(path)).bearer_auth(token).body(batch.to_vec());
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        request.header("Content-Type", BATCH_MEDIA_TYPE).send().await.unwrap()
    }

    pub fn enrollment(&self, secret: &str) -> EnrollRequest {
        EnrollRequest {
            project: "acme".into(),
            proof: Proof::Token { secret: secret.into() },
            key: self.public_key(),
            host: self.info.clone(),
        }
    }

    pub async fn enroll(&self, bench: &Bench, secret: &str) -> Response {
        let body = serde_json::to_vec(&self.enrollment(secret)).unwrap();
        self.send(bench, Method::POST, "/v1/enroll", body).await
    }

    pub async fn enroll_with_key(&self, bench: &Bench, secret: &str, key: &str) -> Response {
        let body = serde_json::to_vec(&self.enrollment(secret)).unwrap();
        let token = self.sign(&self.claims(&Method::POST, "/v1/enroll", &body));
        let request = bench.http.post(bench.url("/v1/enroll")).bearer_auth(token);
        request.header(IDEMPOTENCY_KEY, key).body(body).send().await.unwrap()
    }
}

/// A JWT that says that it needs no signature.
pub fn unsigned(claims: &Claims) -> String {
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let claims = serde_json::to_string(claims).unwrap();
    format!("{}.{}.", part(r#"{"alg":"none","typ":"JWT"}"#.into()), part(claims))
}
