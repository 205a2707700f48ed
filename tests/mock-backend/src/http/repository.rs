//! The TUF repository: files, and a timestamp that a client can wait for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, timeout_at};

use super::answer::Refused;
use super::hosts::Received;
use crate::backend::Backend;
use crate::faults::Fault;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The longest that a request is held.
const MAX_WAIT: u64 = 3600;

pub(super) async fn timestamp(
    State(backend): State<Arc<Backend>>,
    Path(project): Path<String>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let headers = request.headers().clone();
    admit(&backend, &project, request)?;
    let patient = !backend.faults().iter().any(|f| matches!(f, Fault::NoWait));
    let wait = wait(&headers).filter(|_| patient);
    let until = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
    let mut changes = backend.watch_view();
    let mut response = loop {
        let view = changes.borrow_and_update().clone();
        if !matches(&headers, &view.etag) {
            break with_tag(file(view.timestamp.clone()), &view.etag);
        }
        if wait.is_none() || !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
            break with_tag(StatusCode::NOT_MODIFIED.into_response(), &view.etag);
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Prefer"));
    if let Some(seconds) = wait
        && let Ok(value) = HeaderValue::from_str(&format!("wait={seconds}"))
    {
        headers.insert(PREFERENCE_APPLIED, value);
    }
    Ok(response)
}

pub(super) async fn metadata(
    State(backend): State<Arc<Backend>>,
    Path((project, name)): Path<(String, String)>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    admit(&backend, &project, request)?;
    immutable(backend.view().metadata.get(&name))
}

pub(super) async fn target(
    State(backend): State<Arc<Backend>>,
    Path((project, name)): Path<(String, String)>,
    request: Request<Body>,
) -> Result<Response, Refused> {
    admit(&backend, &project, request)?;
    immutable(backend.view().targets.get(&name))
}

fn immutable(found: Option<&Bytes>) -> Result<Response, Refused> {
    let Some(bytes) = found else {
        let detail = "the repository has no such file";
        return Err(Refused::plain(StatusCode::NOT_FOUND, detail));
    };
    let mut response = file(bytes.clone());
    let cache = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, cache);
    Ok(response)
}

fn admit(backend: &Backend, project: &str, request: Request<Body>) -> Result<(), Refused> {
    if backend.options.repository_auth {
        Received::bare(request.into_parts().0).host(backend)?;
    }
    if project == backend.view().project {
        return Ok(());
    }
    let detail = "this backend has no such project";
    Err(Refused::plain(StatusCode::NOT_FOUND, detail))
}

fn file(bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// `If-None-Match` (RFC 9110, 13.1.2): a list of tags, compared weakly.
fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).into_iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// `wait` of `Prefer` (RFC 7240, 4.3): seconds that the client is willing to wait.
fn wait(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).into_iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split([',', ';']))
        .filter_map(|preference| preference.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse().ok())
        .map(|seconds: u64| seconds.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        for (value, expected) in [
            ("wait=240", Some(240)),
            ("respond-async, Wait = 5", Some(5)),
            ("return=minimal; x=1, wait=\"7\"", Some(7)),
            ("wait=99999999", Some(MAX_WAIT)),
            ("wait", None),
            ("wait=soon", None),
            ("return=minimal", None),
        ] {
            assert_eq!(wait(&headers(PREFER, value)), expected, "{value}");
        }
    }

    #[test]
    fn entity_tags_are_compared_weakly() {
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(matches(&headers(IF_NONE_MATCH, value), "\"a\""), expected, "{value}");
        }
        assert!(!matches(&HeaderMap::new(), "\"a\""));
    }
}
