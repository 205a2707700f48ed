//! What can go wrong in an exchange, told so that whoever must act knows what to do.

mod advice;
mod cause;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_protocol::problem::{Code, Problem};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{StatusCode, Url};

use super::client::{Answer, date, retry_after};
use crate::foreign::plain;

/// How long a backend's own words in a message may be.
pub const MAX_SAID: usize = 300;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// `backend.ca_file`.
    #[error("cannot use the CA file `{path}`: {message}", path = path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// `backend.proxy`.
    #[error("the proxy of the configuration is not a URL")]
    Proxy,
    /// The client cannot be set up.
    #[error("cannot set up TLS: {message}")]
    Client {
        /// What the library said.
        message: String,
    },
    /// The name is not known.
    #[error("cannot resolve the name `{host}`: {message}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        message: String,
    },
    /// Nothing listens there.
    #[error("{host} refuses connections on port {port}")]
    ConnectionRefused {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// No connection came about.
    #[error("cannot connect to {host} port {port}: {message}")]
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// What happened.
        message: String,
    },
    /// No answer came in time.
    #[error("no answer from {url} within {seconds} s")]
    Timeout {
        /// The URL.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Somebody else waited in vain on the same connection, so that it was left.
    #[error("the connection to {url} went silent")]
    Left {
        /// The URL.
        url: String,
    },
    /// The answer came, too slowly.
    #[error("the answer of {url} was not whole within {seconds} s")]
    TooSlow {
        /// The URL.
        url: String,
        /// How long it might have taken.
        seconds: u64,
    },
    /// The certificate is signed by nobody that this host believes.
    #[error("the certificate of {host} is signed by an authority that this host does not know")]
    UnknownIssuer {
        /// The name.
        host: String,
    },
    /// The certificate's time is over.
    #[error("the certificate of {host} expired{when}; this host's clock says {now}")]
    Expired {
        /// The name.
        host: String,
        /// ` on DATE`, where it is known.
        when: String,
        /// This host's time.
        now: String,
    },
    /// The certificate's time has not come.
    #[error("the certificate of {host} is not valid yet{when}; this host's clock says {now}")]
    NotYetValid {
        /// The name.
        host: String,
        /// `, from DATE on`, where it is known.
        when: String,
        /// This host's time.
        now: String,
    },
    /// The certificate is somebody else's.
    #[error("the certificate of the server is not for {host}")]
    WrongName {
        /// The name.
        host: String,
    },
    /// Anything else about TLS.
    #[error("no TLS connection with {host}: {message}")]
    Tls {
        /// The name.
        host: String,
        /// What the library said.
        message: String,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {url} broke off: {message}")]
    BrokenOff {
        /// The URL.
        url: String,
        /// What happened.
        message: String,
    },
    /// More bytes than are read.
    #[error("the answer of {url} is longer than the {max} bytes that are read")]
    TooLong {
        /// The URL.
        url: String,
        /// The limit.
        max: u64,
    },
    /// A redirect.
    #[error("{url} answers with a redirect to `{to}`, which is not followed")]
    Redirect {
        /// The URL.
        url: String,
        /// Where to.
        to: String,
    },
    /// The backend said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// An answer that the API does not have.
    #[error("{url} answered with something that is not hostward's API: {message}")]
    NotApi {
        /// The URL.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// No credential could be made.
    #[error(transparent)]
    Credential(#[from] crate::identity::KeyError),
}

/// An HTTP status that is no success, and what came with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{url} answered {status}{}", said(.problem))]
pub struct Refusal {
    /// The URL.
    pub url: String,
    /// The status.
    pub status: StatusCode,
    /// The backend's description, where it is one.
    pub problem: Option<Problem>,
    /// When to try again, as far as the backend says.
    pub retry_after: Option<Duration>,
    /// The backend's time.
    pub date: Option<DateTime<Utc>>,
}

fn said(problem: &Option<Problem>) -> String {
    let Some(problem) = problem else {
        return String::new();
    };
    let text = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
    if text.is_empty() {
        return String::new();
    }
    format!(": {}", plain(text, MAX_SAID))
}

impl Refusal {
    /// Which problem of the API it is.
    pub fn code(&self) -> Option<Code> {
        self.problem.as_ref().and_then(Code::of)
    }
}

impl Fault {
    pub(super) fn timeout(url: &Url, after: Duration) -> Self {
        Fault::Timeout { url: url.to_string(), seconds: after.as_secs() }
    }

    pub(super) fn too_slow(url: &Url, after: Duration) -> Self {
        Fault::TooSlow { url: url.to_string(), seconds: after.as_secs() }
    }

    pub(super) fn redirect(url: &Url, headers: &HeaderMap) -> Self {
        let to = headers.get(LOCATION).and_then(|v| v.to_str().ok());
        Fault::Redirect { url: url.to_string(), to: to.unwrap_or("?").chars().take(300).collect() }
    }

    /// An answer that is no success.
    pub fn refused(url: &Url, answer: &Answer, now: DateTime<Utc>) -> Self {
        Fault::Refused(Box::new(Refusal {
            url: url.to_string(),
            status: answer.status,
            problem: serde_json::from_slice(&answer.body).ok(),
            retry_after: retry_after(&answer.headers, now),
            date: date(&answer.headers),
        }))
    }

    /// Whether TLS is the matter.
    pub fn is_tls(&self) -> bool {
        matches!(
            self,
            Fault::UnknownIssuer { .. }
                | Fault::Expired { .. }
                | Fault::NotYetValid { .. }
                | Fault::WrongName { .. }
                | Fault::Tls { .. }
        )
    }

    /// Whether only somebody's act can mend it, so that trying often is of no use.
    pub fn is_lasting(&self) -> bool {
        match self {
            Fault::CaFile { .. }
            | Fault::Proxy
            | Fault::Client { .. }
            | Fault::Redirect { .. }
            | Fault::TooLong { .. }
            | Fault::NotApi { .. }
            | Fault::Credential(_) => true,
            Fault::Refused(refusal) => refusal.status.is_client_error() && !refusal.is_passing(),
            other => other.is_tls(),
        }
    }

    /// Whether the connection ended, or something between here and there gave up waiting.
    pub fn is_cut(&self) -> bool {
        match self {
            Fault::BrokenOff { .. } | Fault::Timeout { .. } | Fault::TooSlow { .. } => true,
            Fault::Refused(refusal) => matches!(
                refusal.status,
                StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT
            ),
            _ => false,
        }
    }

    /// When to try again, as far as the other side says.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Fault::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// The refusal, where it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Fault::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The problem of the API, where it is one.
    pub fn code(&self) -> Option<Code> {
        self.refusal().and_then(Refusal::code)
    }

    /// Whether the thing asked for is not there.
    pub fn is_absent(&self) -> bool {
        self.refusal().is_some_and(|r| {
            matches!(
                r.status,
                // Object stores say "forbidden" of what does not exist.
                StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN
            )
        })
    }
}

impl Refusal {
    fn is_passing(&self) -> bool {
        self.retry_after.is_some()
            || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            || self.code() == Some(Code::ClockSkew)
    }
}
