//! The backend's API as a host uses it.

use std::sync::Arc;
use std::time::Duration;

use hostward_protocol::api::{
    EnrollRequest, EnrollResponse, HostCertificates, HostCertificatesRequest, HostInfo, IDEMPOTENCY_KEY,
    Proof, ServiceCertificate, ServiceCertificateRequest, Targets,
};
use hostward_protocol::events::{AFTER, Acknowledgement, BATCH_MEDIA_TYPE};
use hostward_protocol::problem::Code;
use hostward_protocol::report::Report;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::client::{Answer, Exchange, Http, date};
use super::{Fault, base_url};
use crate::clock::Clock;
use crate::identity::{HostKey, Identity, Pending, Purpose};

/// The longest answer of the API that is read.
const MAX_ANSWER: u64 = 64 << 10;
/// How long the backend may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The API, spoken to with this host's clock.
#[derive(Clone, Debug)]
pub struct Api {
    http: Arc<Http>,
    clock: Arc<Clock>,
}

/// What to enroll with.
#[derive(Clone, Copy, Debug)]
pub struct Enrolling<'a> {
    /// The backend.
    pub base: &'a Url,
    /// Project id.
    pub project: &'a str,
    /// The token's secret.
    pub secret: &'a str,
    /// The key to register, and what the host says of itself.
    pub pending: &'a Pending,
}

/// One call of the API.
struct Call<'a> {
    key: &'a HostKey,
    issuer: String,
    method: Method,
    url: Url,
    body: Option<Zeroizing<Vec<u8>>>,
    media_type: &'static str,
    idempotency_key: Option<&'a str>,
}

const JSON: &str = "application/json";

impl Api {
    /// The API over `http`.
    pub fn new(http: Arc<Http>, clock: Arc<Clock>) -> Self {
        Api { http, clock }
    }

    /// What exchanges go through.
    pub fn http(&self) -> &Arc<Http> {
        &self.http
    }

    /// Registers a key.
    pub async fn enroll(&self, with: Enrolling<'_>) -> Result<EnrollResponse, Fault> {
        let url = join(with.base, "v1/enroll")?;
        let body = json(&EnrollRequest {
            project: with.project.into(),
            proof: Proof::Token { secret: with.secret.into() },
            key: with.pending.key.public(),
            host: with.pending.host.clone(),
        })?;
        let answer = self
            .call(Call {
                key: &with.pending.key,
                issuer: with.pending.key.name(),
                method: Method::POST,
                url: url.clone(),
                body: Some(body),
                media_type: JSON,
                idempotency_key: Some(&with.pending.idempotency_key),
            })
            .await?;
        parsed(&url, &answer, "an enrollment")
    }

    /// Tells what the host says of itself now.
    pub async fn put_host(&self, identity: &Identity, host: &HostInfo) -> Result<(), Fault> {
        let body = json(host)?;
        self.as_host(identity, Method::PUT, "v1/hosts/self", Some(body), None).await.map(drop)
    }

    /// Delivers a report.
    pub async fn report(
        &self,
        identity: &Identity,
        report: &Report,
        idempotency_key: &str,
    ) -> Result<(), Fault> {
        let body = json(report)?;
        let path = "v1/hosts/self/report";
        self.as_host(identity, Method::POST, path, Some(body), Some(idempotency_key)).await.map(drop)
    }

    /// A certificate for the user that a local account stands for.
    pub async fn service_certificate(
        &self,
        identity: &Identity,
        request: &ServiceCertificateRequest,
        idempotency_key: &str,
    ) -> Result<ServiceCertificate, Fault> {
        let body = json(request)?;
        let url = host_url(identity, "v1/ssh/service-certificates")?;
        let answer =
            self.as_host_at(identity, Method::POST, url.clone(), Some(body), Some(idempotency_key)).await?;
        parsed(&url, &answer, "a request for a certificate")
    }

    /// The hosts called `name` that the user bound to `uid` may enter.
    pub async fn targets(&self, identity: &Identity, name: &str, uid: u32) -> Result<Targets, Fault> {
        let mut url = host_url(identity, "v1/hosts")?;
        url.query_pairs_mut().append_pair("name", name).append_pair("uid", &uid.to_string());
        let answer = self.as_host_at(identity, Method::GET, url.clone(), None, None).await?;
        parsed(&url, &answer, "a question for a host")
    }

    /// Certificates for the host's own keys.
    pub async fn host_certificates(
        &self,
        identity: &Identity,
        keys: Vec<String>,
        idempotency_key: &str,
    ) -> Result<HostCertificates, Fault> {
        let body = json(&HostCertificatesRequest { keys })?;
        let url = host_url(identity, "v1/ssh/host-certificates")?;
        let answer =
            self.as_host_at(identity, Method::POST, url.clone(), Some(body), Some(idempotency_key)).await?;
        parsed(&url, &answer, "a request for certificates")
    }

    /// Delivers events: `body` is a JSON array of the log's lines, `after` the event before the first of them.
    pub async fn deliver_events(
        &self,
        identity: &Identity,
        body: Vec<u8>,
        after: u64,
        idempotency_key: &str,
    ) -> Result<Acknowledgement, Fault> {
        let mut url = host_url(identity, "v1/events")?;
        url.query_pairs_mut().append_pair(AFTER, &after.to_string());
        let answer = self
            .call(Call {
                key: &identity.key,
                issuer: identity.enrollment.host_id.clone(),
                method: Method::POST,
                url: url.clone(),
                body: Some(Zeroizing::new(body)),
                media_type: BATCH_MEDIA_TYPE,
                idempotency_key: Some(idempotency_key),
            })
            .await?;
        parsed(&url, &answer, "a delivery of events")
    }

    /// The newest event up to which the backend has every one of this host.
    pub async fn event_head(&self, identity: &Identity) -> Result<Acknowledgement, Fault> {
        let url = host_url(identity, "v1/hosts/self/events/head")?;
        let answer = self.as_host_at(identity, Method::GET, url.clone(), None, None).await?;
        parsed(&url, &answer, "a question for events")
    }

    /// Tells that the host leaves.
    pub async fn leave(&self, identity: &Identity) -> Result<(), Fault> {
        match self.as_host(identity, Method::DELETE, "v1/hosts/self", None, None).await {
            // It has left already.
            Err(fault) if fault.code() == Some(Code::HostUnknown) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn as_host(
        &self,
        identity: &Identity,
        method: Method,
        path: &str,
        body: Option<Zeroizing<Vec<u8>>>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, Fault> {
        let url = host_url(identity, path)?;
        self.as_host_at(identity, method, url, body, idempotency_key).await
    }

    async fn as_host_at(
        &self,
        identity: &Identity,
        method: Method,
        url: Url,
        body: Option<Zeroizing<Vec<u8>>>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, Fault> {
        self.call(Call {
            key: &identity.key,
            issuer: identity.enrollment.host_id.clone(),
            method,
            url,
            body,
            media_type: JSON,
            idempotency_key,
        })
        .await
    }

    /// Makes a call, and makes it again where the backend's clock turns out to be another.
    async fn call(&self, call: Call<'_>) -> Result<Answer, Fault> {
        match self.call_once(&call).await {
            Err(Fault::Refused(refusal)) if refusal.code() == Some(Code::ClockSkew) => {
                let offset = refusal.date.map(|d| (d - self.clock.now()).num_seconds());
                match offset {
                    Some(offset) if self.clock.correct(offset) => {
                        log::warn!(
                            "this host's clock and the backend's differ by {offset} s: host credentials are made with the backend's"
                        );
                        self.call_once(&call).await
                    }
                    _ => Err(Fault::Refused(refusal)),
                }
            }
            other => other,
        }
    }

    async fn call_once(&self, call: &Call<'_>) -> Result<Answer, Fault> {
        let body: &[u8] = call.body.as_ref().map_or(&[], |b| b);
        let credential = call.key.credential(
            &call.issuer,
            Purpose {
                audience: &call.url.origin().ascii_serialization(),
                method: call.method.as_str(),
                url: call.url.as_str(),
                body,
                now: self.clock.for_credentials(),
            },
        )?;
        let mut exchange = Exchange::get(call.url.clone(), MAX_ANSWER);
        exchange.method = call.method.clone();
        exchange.patience = PATIENCE;
        if call.body.is_some() {
            exchange.body = Some(body.to_vec());
            exchange.headers.insert(CONTENT_TYPE, HeaderValue::from_static(call.media_type));
        }
        authorize(&mut exchange, &credential);
        if let Some(key) = call.idempotency_key {
            exchange = exchange.header(idempotency(), key);
        }
        let answer = self.http.exchange(exchange).await?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(Fault::refused(&call.url, &answer, self.clock.now()))
        }
    }

    /// A GET from the repository with this host's credential.
    pub fn authorized_get(&self, identity: &Identity, mut exchange: Exchange) -> Result<Exchange, Fault> {
        let credential = identity.key.credential(
            &identity.enrollment.host_id,
            Purpose {
                audience: &exchange.url.origin().ascii_serialization(),
                method: "GET",
                url: exchange.url.as_str(),
                body: &[],
                now: self.clock.for_credentials(),
            },
        )?;
        authorize(&mut exchange, &credential);
        Ok(exchange)
    }

    /// This host's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Backend's clock minus this host's, in seconds, as an answer tells it.
pub fn offset(headers: &reqwest::header::HeaderMap, clock: &Clock) -> Option<i64> {
    date(headers).map(|d| (d - clock.now()).num_seconds())
}

fn authorize(exchange: &mut Exchange, credential: &str) {
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {credential}")) {
        value.set_sensitive(true);
        exchange.headers.insert(AUTHORIZATION, value);
    }
}

fn idempotency() -> HeaderName {
    HeaderName::from_bytes(IDEMPOTENCY_KEY.as_bytes()).unwrap_or(HeaderName::from_static("idempotency-key"))
}

fn join(base: &Url, path: &str) -> Result<Url, Fault> {
    base.join(path).map_err(|error| Fault::NotApi { url: base.to_string(), message: error.to_string() })
}

fn host_url(identity: &Identity, path: &str) -> Result<Url, Fault> {
    let base = base_url(&identity.enrollment.url).map_err(|error| Fault::NotApi {
        url: identity.enrollment.url.clone(),
        message: error.to_string(),
    })?;
    join(&base, path)
}

/// What `answer` says, which is one to `question`.
fn parsed<T: DeserializeOwned>(url: &Url, answer: &Answer, question: &str) -> Result<T, Fault> {
    serde_json::from_slice(&answer.body).map_err(|error| Fault::NotApi {
        url: url.to_string(),
        message: match error.classify() {
            serde_json::error::Category::Data => format!("JSON, but no answer to {question}"),
            _ => format!("not JSON ({})", content_type(answer)),
        },
    })
}

fn json<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>, Fault> {
    serde_json::to_vec(value)
        .map(Zeroizing::new)
        .map_err(|error| Fault::NotApi { url: String::new(), message: error.to_string() })
}

fn content_type(answer: &Answer) -> String {
    let value = answer.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    match value {
        Some(value) => format!("Content-Type `{}`", value.chars().take(80).collect::<String>()),
        None => "without Content-Type".into(),
    }
}
