//! What can go wrong in an exchange, told so that whoever must act knows what to do.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_protocol::problem::{Code, Problem};
use hostward_protocol::report::{Finding, Responsible};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{StatusCode, Url};
use rustls::CertificateError;

use super::client::{Answer, date, retry_after};

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
    // Somebody else's text goes into the journal: one line, not endless, no control characters.
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    format!(": {plain}")
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

    /// What `reqwest` said.
    pub(super) fn of(url: &Url, error: &reqwest::Error) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        if let Some(error) = find::<rustls::Error>(error) {
            return Self::of_tls(host, error, Utc::now());
        }
        if error.is_dns() {
            let message = innermost(error);
            return Fault::Resolve { host, message };
        }
        let io = find::<std::io::Error>(error).map(std::io::Error::kind);
        if error.is_connect() {
            return match io {
                Some(std::io::ErrorKind::ConnectionRefused) => Fault::ConnectionRefused { host, port },
                _ => Fault::Connect { host, port, message: innermost(error) },
            };
        }
        if error.is_timeout() {
            return Fault::timeout(url, Duration::ZERO);
        }
        Fault::BrokenOff { url: url.to_string(), message: innermost(error) }
    }

    fn of_tls(host: String, error: &rustls::Error, now: DateTime<Utc>) -> Self {
        use CertificateError as C;
        let rustls::Error::InvalidCertificate(error) = error else {
            let message = error.to_string();
            return Fault::Tls { host, message };
        };
        let at = |time: &rustls::pki_types::UnixTime| {
            i64::try_from(time.as_secs())
                .ok()
                .and_then(|s| DateTime::from_timestamp(s, 0))
                .map_or("?".into(), |t| t.format("%Y-%m-%d").to_string())
        };
        let now = now.format("%Y-%m-%d %H:%M UTC").to_string();
        match error {
            C::UnknownIssuer | C::BadSignature => Fault::UnknownIssuer { host },
            C::Expired => Fault::Expired { host, when: String::new(), now },
            C::ExpiredContext { not_after, .. } => {
                Fault::Expired { host, when: format!(" on {}", at(not_after)), now }
            }
            C::NotValidYet => Fault::NotYetValid { host, when: String::new(), now },
            C::NotValidYetContext { not_before, .. } => {
                Fault::NotYetValid { host, when: format!(", but from {} on", at(not_before)), now }
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => Fault::WrongName { host },
            other => Fault::Tls { host, message: format!("its certificate is refused: {other}") },
        }
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
            Fault::BrokenOff { .. } | Fault::Timeout { .. } => true,
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

    /// For people and programs.
    pub fn finding(&self, subject: &str) -> Finding {
        let (code, responsible, mend) = self.advice();
        Finding {
            code: code.into(),
            subject: subject.into(),
            message: self.to_string(),
            responsible,
            mend: mend.into(),
        }
    }

    fn advice(&self) -> (&'static str, Responsible, &'static str) {
        use Responsible::{Backend, Host, Operator};
        match self {
            Fault::CaFile { .. } => (
                "ca-file-unusable",
                Operator,
                "put the backend's CA certificate there as PEM, readable by the user hostward, or correct [backend] ca_file",
            ),
            Fault::Proxy => ("proxy-invalid", Operator, "correct [backend] proxy"),
            Fault::Client { .. } => (
                "tls-unusable",
                Operator,
                "check that the system has CA certificates (package ca-certificates) and that the user hostward may read them",
            ),
            Fault::Resolve { .. } => (
                "backend-name-unknown",
                Operator,
                "check the host's name resolution and the URL in the token; it is tried again by itself",
            ),
            Fault::ConnectionRefused { .. } => (
                "backend-connection-refused",
                Backend,
                "see whether the backend is running and the port is right; it is tried again by itself",
            ),
            Fault::Connect { .. } => (
                "backend-unreachable",
                Operator,
                "check the host's network, its firewall and [backend] proxy; it is tried again by itself",
            ),
            Fault::Timeout { .. } => (
                "backend-timeout",
                Backend,
                "see whether the backend is overloaded or a firewall drops the packets; it is tried again by itself",
            ),
            Fault::UnknownIssuer { .. } => (
                "backend-certificate-unknown-issuer",
                Operator,
                "if the backend's certificate comes from a private CA, name its PEM file in [backend] ca_file and reload hostward.service; otherwise somebody else may be answering",
            ),
            Fault::Expired { .. } => (
                "backend-certificate-expired",
                Backend,
                "if this host's clock is right, renew the backend's certificate; if not, set the clock",
            ),
            Fault::NotYetValid { .. } => (
                "backend-certificate-not-yet-valid",
                Operator,
                "set this host's clock (timedatectl); if it is right, the backend's certificate is wrong",
            ),
            Fault::WrongName { .. } => (
                "backend-certificate-wrong-name",
                Backend,
                "give the backend a certificate for that name, or use the name that its certificate has",
            ),
            Fault::Tls { .. } => (
                "backend-tls-failed",
                Backend,
                "see whether a TLS server (1.2 or later) answers at that port",
            ),
            Fault::BrokenOff { .. } => {
                ("backend-broke-off", Host, "nothing, if it passes: it is tried again by itself")
            }
            Fault::TooLong { .. } => ("backend-answer-too-long", Backend, "see what answers at that URL"),
            Fault::Redirect { .. } => (
                "backend-redirects",
                Backend,
                "serve the API at the URL that the token names, or issue tokens with the URL that it is at",
            ),
            Fault::Refused(refusal) => refusal.advice(),
            Fault::NotApi { .. } => (
                "backend-not-hostward",
                Operator,
                "see what answers at that URL: a proxy, a captive portal, another service?",
            ),
            Fault::Credential(_) => ("host-key-unusable", Operator, "enroll the host anew"),
        }
    }
}

impl Refusal {
    fn is_passing(&self) -> bool {
        self.retry_after.is_some()
            || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            || self.code() == Some(Code::ClockSkew)
    }

    fn advice(&self) -> (&'static str, Responsible, &'static str) {
        use Responsible::{Backend, Host, Operator};
        match self.code() {
            Some(Code::TokenUnknown) => {
                ("token-unknown", Operator, "put a token of this backend into /etc/hostward/enrollment.token")
            }
            Some(Code::TokenExpired) => (
                "token-expired",
                Operator,
                "have a new token issued and put it into /etc/hostward/enrollment.token",
            ),
            Some(Code::TokenExhausted) => (
                "token-exhausted",
                Operator,
                "have a new token issued, one that may be used as often as there are hosts, and put it into /etc/hostward/enrollment.token",
            ),
            Some(Code::ProjectMismatch) => (
                "project-mismatch",
                Operator,
                "put a token of the project that this host belongs to into /etc/hostward/enrollment.token",
            ),
            Some(Code::HostUnknown) => (
                "host-unknown",
                Operator,
                "the backend has removed this host or replaced it; what is in force stays. To enroll anew put a token into /etc/hostward/enrollment.token",
            ),
            Some(Code::CredentialInvalid) => (
                "credential-invalid",
                Backend,
                "see whether the backend knows its own URL as the token has it; a proxy that rewrites requests has the same effect",
            ),
            Some(Code::ClockSkew) => (
                "clock-skew",
                Operator,
                "set this host's clock (timedatectl), or the backend's; it is tried again by itself",
            ),
            Some(Code::BadRequest) => {
                ("bad-request", Backend, "use versions of hostward and of the backend that go together")
            }
            None if self.status == StatusCode::TOO_MANY_REQUESTS => {
                ("backend-busy", Host, "nothing: it is tried again when the backend said")
            }
            None if self.status.is_server_error() => {
                ("backend-failing", Backend, "see the backend's log; it is tried again by itself")
            }
            None => (
                "backend-refused",
                Backend,
                "see whether the URL is that of the backend and nothing stands between; it is tried again by itself",
            ),
        }
    }
}

/// The first error of type `T` in a chain, also inside an [`std::io::Error`], which hides what it wraps.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| find(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What lies at the bottom of an error: the layers above say only that something below failed.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// All of an error.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
