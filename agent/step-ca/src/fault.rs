//! What can go wrong on the way to the CA and back.

mod cause;

use std::time::Duration;

/// Why there is no answer of the CA.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The client cannot be set up.
    #[error("cannot set up TLS: {message}")]
    Client {
        /// What the library said.
        message: String,
    },
    /// The name is not known.
    #[error("cannot resolve the name of the CA, `{host}`: {message}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        message: String,
    },
    /// Nothing listens there.
    #[error("the CA is down: {host} refuses connections on port {port}")]
    ConnectionRefused {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// No connection came about.
    #[error("cannot connect to the CA at {host} port {port}: {message}")]
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// What happened.
        message: String,
    },
    /// No answer came in time.
    #[error("no answer from the CA at {url} within {seconds} s")]
    Timeout {
        /// The URL.
        url: String,
        /// How long was waited for everything together.
        seconds: u64,
    },
    /// The certificate does not lead to the pinned root.
    #[error("the TLS certificate of {host} is not signed by the root that [step_ca] root_fingerprint names")]
    UnknownIssuer {
        /// The name.
        host: String,
    },
    /// The certificate's time is over, or has not come.
    #[error("the TLS certificate of {host} {when}; this host's clock says {now}")]
    CertificateTime {
        /// The name.
        host: String,
        /// `expired on DATE` and the like.
        when: String,
        /// This host's time.
        now: String,
    },
    /// The certificate is somebody else's.
    #[error("the TLS certificate of the CA is not for {host}")]
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
        max: usize,
    },
}

impl Fault {
    pub(crate) fn timeout(url: &reqwest::Url, patience: Duration) -> Self {
        Fault::Timeout { url: url.to_string(), seconds: patience.as_secs() }
    }

    /// Whether a new client may fare better: this one believes other certificates, or kept a connection that the CA,
    /// started again since, knows nothing of.
    pub(crate) fn may_be_stale(&self) -> bool {
        use Fault::{BrokenOff, CertificateTime, Tls, UnknownIssuer, WrongName};
        matches!(
            self,
            BrokenOff { .. } | UnknownIssuer { .. } | CertificateTime { .. } | WrongName { .. } | Tls { .. }
        )
    }

    /// A stable code, and what to do.
    pub(crate) fn advice(&self) -> (&'static str, &'static str) {
        match self {
            Fault::Client { .. } => ("step-ca-tls-unusable", "report this with the message"),
            Fault::Resolve { .. } => (
                "step-ca-name-unknown",
                "check [step_ca] url and the host's name resolution; it is tried again at the next ssh",
            ),
            Fault::ConnectionRefused { .. } => (
                "step-ca-down",
                "start step-ca there (systemctl status step-ca), or correct the port in [step_ca] url; it is tried again at the next ssh",
            ),
            Fault::Connect { .. } => (
                "step-ca-unreachable",
                "check the host's network and firewall, and [step_ca] url; it is tried again at the next ssh",
            ),
            Fault::Timeout { .. } => (
                "step-ca-timeout",
                "see whether step-ca is overloaded or a firewall drops the packets; it is tried again at the next ssh",
            ),
            Fault::UnknownIssuer { .. } => (
                "step-ca-unknown-issuer",
                "see whether [step_ca] url is that of the CA and nothing stands between, such as a proxy that opens TLS",
            ),
            Fault::CertificateTime { .. } => (
                "step-ca-certificate-time",
                "set this host's clock (timedatectl); if it is right, restart step-ca, which renews its TLS certificate itself",
            ),
            Fault::WrongName { .. } => (
                "step-ca-wrong-name",
                "use in [step_ca] url a name that is among `dnsNames` in the CA's ca.json, or add this one there",
            ),
            Fault::Tls { .. } => (
                "step-ca-tls-failed",
                "see whether a step-ca listens at [step_ca] url, and speaks TLS 1.2 or later",
            ),
            Fault::BrokenOff { .. } => {
                ("step-ca-broken-off", "see the log of step-ca; it is tried again at the next ssh")
            }
            Fault::TooLong { .. } => {
                ("step-ca-answer-too-long", "see whether a step-ca listens at [step_ca] url")
            }
        }
    }
}
