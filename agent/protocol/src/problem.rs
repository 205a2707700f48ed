//! Errors of the backend's API: `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem as the backend describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem; see [`Code::uri`].
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// A short text.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened this time.
    #[serde(default)]
    pub detail: String,
}

fn about_blank() -> String {
    "about:blank".into()
}

/// The kinds of problem that a host treats differently from one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The enrollment token is not one of this backend's.
    TokenUnknown,
    /// The enrollment token's time is over.
    TokenExpired,
    /// The enrollment token was used as often as it may be.
    TokenExhausted,
    /// There is no such project, or the token is not for it.
    ProjectMismatch,
    /// The host is not known any more (removed, or replaced by a clone that enrolled).
    HostUnknown,
    /// The signature of a host credential does not verify.
    CredentialInvalid,
    /// The host credential's time is off by more than the backend accepts.
    ClockSkew,
    /// The request does not have the form that the specification gives.
    BadRequest,
    /// No user is bound to that uid on this host, or the user may not log in anywhere now.
    ServiceNotBound,
    /// The backend signs no certificates of this kind.
    NoCertificates,
    /// The one event of the batch is of a kind that the backend never takes.
    EventUnacceptable,
    /// The backend has other events of this host with these numbers.
    EventsDiverged,
}

impl Code {
    const ALL: [(Code, &'static str); 12] = [
        (Code::TokenUnknown, "token-unknown"),
        (Code::TokenExpired, "token-expired"),
        (Code::TokenExhausted, "token-exhausted"),
        (Code::ProjectMismatch, "project-mismatch"),
        (Code::HostUnknown, "host-unknown"),
        (Code::CredentialInvalid, "credential-invalid"),
        (Code::ClockSkew, "clock-skew"),
        (Code::BadRequest, "bad-request"),
        (Code::ServiceNotBound, "service-not-bound"),
        (Code::NoCertificates, "no-certificates"),
        (Code::EventUnacceptable, "event-unacceptable"),
        (Code::EventsDiverged, "events-diverged"),
    ];

    /// The URI in the problem's `type` member.
    pub fn uri(self) -> String {
        let word = Self::ALL.iter().find(|(code, _)| *code == self).map_or("", |(_, word)| word);
        format!("urn:hostward:problem:{word}")
    }

    /// The code of a problem, where it is one that a host knows.
    pub fn of(problem: &Problem) -> Option<Code> {
        let word = problem.kind.strip_prefix("urn:hostward:problem:")?;
        Self::ALL.iter().find(|(_, w)| *w == word).map(|(code, _)| *code)
    }
}
