//! Answers: JSON, problems, the date.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, DATE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use hostward_protocol::problem::{Code, MEDIA_TYPE, Problem};

/// An answer that is no success.
pub(super) struct Refused {
    status: StatusCode,
    kind: String,
    title: &'static str,
    detail: String,
}

impl Refused {
    /// A problem of a known kind.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Refused {
        let (status, title) = match code {
            Code::TokenUnknown => (StatusCode::FORBIDDEN, "unknown enrollment token"),
            Code::TokenExpired => (StatusCode::FORBIDDEN, "expired enrollment token"),
            Code::TokenExhausted => (StatusCode::FORBIDDEN, "enrollment token used up"),
            Code::ProjectMismatch => (StatusCode::FORBIDDEN, "other project"),
            Code::HostUnknown => (StatusCode::UNAUTHORIZED, "unknown host"),
            Code::CredentialInvalid => (StatusCode::UNAUTHORIZED, "invalid host credential"),
            Code::ClockSkew => (StatusCode::UNAUTHORIZED, "clocks differ"),
            Code::BadRequest => (StatusCode::BAD_REQUEST, "bad request"),
            Code::ServiceNotBound => (StatusCode::FORBIDDEN, "no service bound"),
            Code::NoCertificates => (StatusCode::FORBIDDEN, "no such certificates"),
            Code::EventUnacceptable => (StatusCode::UNPROCESSABLE_ENTITY, "unacceptable event"),
            Code::EventsDiverged => (StatusCode::CONFLICT, "other events"),
        };
        Refused { status, kind: code.uri(), title, detail: detail.into() }
    }

    /// A problem that its status says all about.
    pub(super) fn plain(status: StatusCode, detail: impl Into<String>) -> Refused {
        Refused {
            status,
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("problem"),
            detail: detail.into(),
        }
    }

    /// The same with another status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Refused {
        self.status = status;
        self
    }

    /// The backend itself failed.
    pub(super) fn internal(error: &dyn std::error::Error) -> Refused {
        crate::note(&format!("a request failed: {}", hostward_protocol::causes::chain(error)));
        Refused::plain(StatusCode::INTERNAL_SERVER_ERROR, "the backend failed; its log says why")
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: self.kind,
            title: self.title.into(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, json(&problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An answer in JSON.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Response {
    let body = Body::from(crate::policy::json(value));
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Sets `Date`, by which clients learn how far their clock is off.
pub(super) fn set_date(response: &mut Response, now: DateTime<Utc>) {
    let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(value) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, value);
    }
}
