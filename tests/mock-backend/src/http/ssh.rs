//! SSH certificates for hosts and their services, and hosts by their names.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use hostward_protocol::api::{
    HostCertificates, HostCertificatesRequest, ServiceCertificate, ServiceCertificateRequest, Targets,
};
use hostward_protocol::document::User;
use hostward_protocol::problem::Code;
use ssh_key::PublicKey;

use super::answer::{Refused, json};
use super::hosts::Received;
use crate::backend::Backend;
use crate::faults::{CertificateFlaw, Fault};
use crate::issue::{self, Wanted};
use crate::policy::Signs;
use crate::registry::{Host, Issued};
use crate::ssh::SshError;
use crate::targets;

/// The most keys that a host may have.
const MAX_KEYS: usize = 16;

pub(super) async fn service_certificate(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let path = request.uri().path().to_owned();
    let request = Received::read(request).await?;
    let host = caller(&backend, &request)?;
    let wanted: ServiceCertificateRequest = request.json()?;
    let key = public_key(&wanted.public_key)?;
    let now = Utc::now();
    let user = bound(&backend, &host, wanted.uid, now)?;
    let certificate = issue::service(
        &backend.options.source.state,
        Wanted {
            key,
            key_id: format!("service:{}@{}:uid={}", user.name, host.info.hostname, wanted.uid),
            principals: user.principals,
            validity: signs(&backend)?.service,
            now,
        },
        flaw(&backend, &path),
    )
    .map_err(|error| cannot_sign(&error))?;
    backend.registry().issued(Issued::new(&host.id, &certificate, Some(wanted.hint), now));
    Ok((StatusCode::CREATED, json(&ServiceCertificate { certificate })).into_response())
}

pub(super) async fn host_certificates(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let path = request.uri().path().to_owned();
    let request = Received::read(request).await?;
    let host = caller(&backend, &request)?;
    let wanted: HostCertificatesRequest = request.json()?;
    if wanted.keys.is_empty() || wanted.keys.len() > MAX_KEYS {
        return Err(Refused::new(Code::BadRequest, format!("`keys` must have 1 to {MAX_KEYS} keys")));
    }
    let keys = wanted.keys.iter().map(|line| public_key(line)).collect::<Result<Vec<_>, _>>()?;
    let reported: Vec<PublicKey> =
        host.info.ssh_host_keys.iter().filter_map(|line| PublicKey::from_openssh(line).ok()).collect();
    let is_reported = |key: &PublicKey| reported.iter().any(|known| known.key_data() == key.key_data());
    if !keys.iter().all(is_reported) {
        let detail = "a key is not one of those of the host's last description";
        return Err(Refused::new(Code::BadRequest, detail));
    }
    let validity = signs(&backend)?.host;
    let now = Utc::now();
    let principals = {
        let registry = backend.registry();
        let all: Vec<&Host> = registry.hosts().collect();
        targets::principals(&host, &all, live_since(&backend, now))
    };
    let mut certificates = Vec::new();
    for key in keys {
        let wanted = Wanted {
            key,
            key_id: format!("host:{}", host.id),
            principals: principals.clone(),
            validity,
            now,
        };
        let flaw = flaw(&backend, &path);
        let certificate =
            issue::host(&backend.options.source.state, wanted, flaw).map_err(|error| cannot_sign(&error))?;
        backend.registry().issued(Issued::new(&host.id, &certificate, None, now));
        certificates.push(certificate);
    }
    Ok((StatusCode::CREATED, json(&HostCertificates { certificates })).into_response())
}

pub(super) async fn find_hosts(
    State(backend): State<Arc<Backend>>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let request = Received::read(request).await?;
    let host = caller(&backend, &request)?;
    let (mut name, mut uid) = (None, None);
    for (key, value) in request.query() {
        match key.as_ref() {
            "name" if !value.is_empty() && value.len() <= 255 => name = Some(value.into_owned()),
            "uid" => uid = value.parse::<u32>().ok(),
            _ => {}
        }
    }
    let (Some(name), Some(uid)) = (name, uid) else {
        let detail = "the query must have a `name` of 1 to 255 bytes and a `uid`";
        return Err(Refused::new(Code::BadRequest, detail));
    };
    let now = Utc::now();
    let user = bound(&backend, &host, uid, now)?;
    let view = backend.view();
    let registry = backend.registry();
    let enterable = registry.hosts().filter(|host| view.reach().admits(&user, &host.info, now));
    let found = targets::find(enterable, &name, live_since(&backend, now));
    let hosts = found.into_iter().map(|(matched, host)| targets::target(host, matched, &view.project));
    Ok(json(&Targets { hosts: hosts.collect() }))
}

fn caller(backend: &Backend, request: &Received) -> Result<Host, Refused> {
    let id = request.host(backend)?;
    let host = backend.registry().host(&id).cloned();
    host.ok_or_else(|| Refused::new(Code::HostUnknown, "no host of this id is enrolled here"))
}

fn bound(backend: &Backend, host: &Host, uid: u32, now: DateTime<Utc>) -> Result<User, Refused> {
    let view = backend.view();
    let user = view.reach().bound(&host.info, uid, now).cloned();
    user.ok_or_else(|| {
        let detail = format!("on this host uid {uid} stands for no user who may log in");
        Refused::new(Code::ServiceNotBound, detail)
    })
}

fn signs(backend: &Backend) -> Result<Signs, Refused> {
    let signs = backend.view().policy.signs;
    signs.ok_or_else(|| Refused::new(Code::NoCertificates, "this backend signs no certificates"))
}

/// A host that was heard of since then is live. Where polls carry no credential they tell nothing, so that reports, which
/// come a quarter late at most, have to do.
fn live_since(backend: &Backend, now: DateTime<Utc>) -> DateTime<Utc> {
    let silent = if backend.options.repository_auth {
        TimeDelta::zero()
    } else {
        let interval = backend.view().policy.settings.report_interval;
        TimeDelta::try_seconds(i64::try_from(interval).unwrap_or(i64::MAX) / 4 * 5).unwrap_or_default()
    };
    now - targets::HEARD_WITHIN - silent
}

fn public_key(line: &str) -> Result<PublicKey, Refused> {
    PublicKey::from_openssh(line)
        .map_err(|_| Refused::new(Code::BadRequest, "a key is no line of an OpenSSH `.pub` file"))
}

/// What is wrong on purpose; counts.
fn flaw(backend: &Backend, path: &str) -> Option<CertificateFlaw> {
    backend.faults().iter().find_map(|fault| match fault {
        Fault::WrongCertificate { flaw, scope } if scope.takes(path) => Some(*flaw),
        _ => None,
    })
}

fn cannot_sign(error: &SshError) -> Refused {
    match error {
        SshError::Sign(_) => Refused::new(Code::BadRequest, "the key is of a kind that cannot be certified"),
        other => Refused::internal(other),
    }
}
