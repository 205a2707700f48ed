//! Enrollment, and what enrolled hosts send.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use hostward_protocol::api::{EnrollRequest, EnrollResponse, HostInfo, IDEMPOTENCY_KEY, Proof};
use hostward_protocol::problem::Code;
use hostward_protocol::report::{REPORT_SCHEMA, Report};
use serde::de::DeserializeOwned;

use super::Peer;
use super::answer::{Refused, json};
use crate::backend::Backend;
use crate::credential::{self, presented, thumbprint};
use crate::digest::sha256_hex;
use crate::registry::{Applicant, Enrolled, TokenRefusal};

/// The largest request that is read.
const MAX_BODY: usize = 16 << 20;
/// The longest idempotency key.
const MAX_IDEMPOTENCY_KEY: usize = 255;

pub(super) async fn enroll(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let request = Received::read(request).await?;
    let enroll: EnrollRequest = request.json()?;
    let Some(key) = credential::public_key(&enroll.key) else {
        let detail = "`key` is not an Ed25519 public key: 32 bytes, base64url without padding";
        return Err(Refused::new(Code::BadRequest, detail));
    };
    request.verify(&backend, &key, &thumbprint(&key))?;
    if enroll.project != backend.view().project {
        let detail = "this backend has no such project";
        return Err(Refused::new(Code::ProjectMismatch, detail));
    }
    let Proof::Token { secret } = &enroll.proof;
    let idempotency_key = request.idempotency_key()?;
    let applicant = Applicant {
        key: &enroll.key,
        secret,
        info: enroll.host,
        request: idempotency_key.map(|key| (key, sha256_hex(&request.body))),
    };
    let enrolled = backend.registry().enroll(applicant, Utc::now());
    match enrolled.map_err(|error| Refused::internal(&error))? {
        Enrolled::Host(host_id) => {
            let answer =
                EnrollResponse { host_id, repository: format!("v1/projects/{}/tuf/", enroll.project) };
            Ok((StatusCode::CREATED, json(&answer)).into_response())
        }
        Enrolled::Refused(refusal) => Err(token_refused(refusal)),
        Enrolled::OtherMachine => {
            let detail = "the key belongs to another machine: make a new one on this one";
            Err(Refused::new(Code::BadRequest, detail).with_status(StatusCode::CONFLICT))
        }
        Enrolled::OtherRequest => {
            let detail = "the idempotency key was used for another request";
            let refused = Refused::new(Code::BadRequest, detail);
            Err(refused.with_status(StatusCode::UNPROCESSABLE_ENTITY))
        }
    }
}

fn token_refused(refusal: TokenRefusal) -> Refused {
    match refusal {
        TokenRefusal::Unknown => {
            let detail = "the enrollment token is not one of this backend's";
            Refused::new(Code::TokenUnknown, detail)
        }
        TokenRefusal::Expired => {
            let detail = "the enrollment token's time is over: ask for a new one";
            Refused::new(Code::TokenExpired, detail)
        }
        TokenRefusal::Exhausted => {
            let detail = "the enrollment token was used as often as it may be: ask for a new one";
            Refused::new(Code::TokenExhausted, detail)
        }
    }
}

pub(super) async fn describe(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<StatusCode, Refused> {
    let request = Received::read(request).await?;
    let host = request.host(&backend)?;
    let info: HostInfo = request.json()?;
    let described = backend.registry().describe(&host, info, Utc::now());
    described.map_err(|error| Refused::internal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn leave(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<StatusCode, Refused> {
    let request = Received::read(request).await?;
    let host = request.host(&backend)?;
    let removed = backend.registry().remove(&host);
    removed.map_err(|error| Refused::internal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn report(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<StatusCode, Refused> {
    let request = Received::read(request).await?;
    let host = request.host(&backend)?;
    let report: Report = request.json()?;
    if report.schema != REPORT_SCHEMA {
        let detail = format!("`schema` is not `{REPORT_SCHEMA}`");
        return Err(Refused::new(Code::BadRequest, detail));
    }
    let idempotency_key = request.idempotency_key()?;
    let mut registry = backend.registry();
    let added = registry.add_report(&host, report, idempotency_key, Utc::now());
    added.map_err(|error| Refused::internal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A request that was read whole, because its credential is good for its body too.
pub(super) struct Received {
    parts: Parts,
    body: Bytes,
}

impl Received {
    pub(super) async fn read(request: Request<Body>) -> Result<Received, Refused> {
        Received::read_up_to(request, MAX_BODY).await
    }

    pub(super) async fn read_up_to(request: Request<Body>, limit: usize) -> Result<Received, Refused> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, limit).await.map_err(|_| {
            let detail = format!("the body could not be read, or has more than {limit} bytes");
            Refused::plain(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?;
        Ok(Received { parts, body })
    }

    /// A request without a body.
    pub(super) fn bare(parts: Parts) -> Received {
        Received { parts, body: Bytes::new() }
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let detail = format!("the body is not what it should be (line {line}, column {column})");
            Refused::new(Code::BadRequest, detail)
        })
    }

    /// The body.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Names and values of the query.
    pub(super) fn query(&self) -> url::form_urlencoded::Parse<'_> {
        url::form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes())
    }

    pub(super) fn idempotency_key(&self) -> Result<Option<String>, Refused> {
        let Some(value) = self.parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(None);
        };
        let text = value.to_str().ok();
        let text = text.filter(|text| !text.is_empty() && text.len() <= MAX_IDEMPOTENCY_KEY);
        text.map(|text| Some(text.to_owned())).ok_or_else(|| {
            let detail =
                format!("`{IDEMPOTENCY_KEY}` must have 1 to {MAX_IDEMPOTENCY_KEY} characters of ASCII");
            Refused::new(Code::BadRequest, detail)
        })
    }

    /// The enrolled host that the credential proves.
    pub(super) fn host(&self, backend: &Backend) -> Result<String, Refused> {
        let claimed = presented(&self.facts()).map_err(refused)?.claims.iss;
        let key = backend.registry().host(&claimed).map(|host| host.key.clone());
        let key = key.and_then(|key| credential::public_key(&key));
        let Some(key) = key else {
            let detail = "no host of this id is enrolled here";
            return Err(Refused::new(Code::HostUnknown, detail));
        };
        self.verify(backend, &key, &claimed)?;
        let peer = self.parts.extensions.get::<Peer>().map(|peer| peer.0);
        let seen = backend.registry().seen(&claimed, peer, Utc::now());
        seen.map_err(|error| Refused::internal(&error))?;
        Ok(claimed)
    }

    fn verify(&self, backend: &Backend, key: &[u8], issuer: &str) -> Result<(), Refused> {
        let facts = self.facts();
        let presented = presented(&facts).map_err(refused)?;
        if presented.claims.iss != issuer {
            let detail = "`iss` is not the thumbprint of the key that the request registers";
            return Err(Refused::new(Code::CredentialInvalid, detail));
        }
        let now = backend.clock().timestamp();
        let verified = backend.verifier().verify(&presented, key, &facts, now);
        verified.map_err(refused)
    }

    fn facts(&self) -> credential::Request<'_> {
        let path = self.parts.uri.path_and_query();
        credential::Request {
            method: self.parts.method.as_str(),
            path: path.map_or("/", |path| path.as_str()),
            body: &self.body,
            authorization: authorization(&self.parts.headers),
        }
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

fn refused(refusal: credential::Refusal) -> Refused {
    Refused::new(refusal.code, refusal.detail)
}
