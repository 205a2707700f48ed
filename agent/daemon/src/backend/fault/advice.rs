//! Who must act on a fault, and how.

use hostward_protocol::problem::Code;
use hostward_protocol::report::{Finding, Responsible};
use reqwest::StatusCode;

use super::{Fault, Refusal};

impl Fault {
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
            Fault::Timeout { .. } | Fault::Left { .. } => (
                "backend-timeout",
                Backend,
                "see whether the backend is overloaded or a firewall drops the packets; it is tried again by itself",
            ),
            Fault::TooSlow { .. } => (
                "backend-too-slow",
                Backend,
                "see what slows the backend or the line to it down to less than 128 kbit/s; it is tried again by itself",
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
            Some(Code::ServiceNotBound) => (
                "service-not-bound",
                Backend,
                "bind a user who may log in somewhere to this uid on this host, as a service of the project",
            ),
            Some(Code::NoCertificates) => (
                "no-certificates",
                Backend,
                "have the backend sign SSH certificates for this project, or use another issuer",
            ),
            Some(Code::EventUnacceptable) => (
                "event-unacceptable",
                Backend,
                "see why the backend does not take this event; it stays in the log of this host",
            ),
            Some(Code::EventsDiverged) => (
                "events-diverged",
                Operator,
                "find out who rewrote the log of events. If this machine was restored from a snapshot or a backup, enroll it anew: put a token into /etc/hostward/enrollment.token",
            ),
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
