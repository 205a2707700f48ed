//! What lies behind an error of the HTTP client.

use std::error::Error;

use chrono::{DateTime, Utc};
use hostward_protocol::causes;
use reqwest::Url;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::Fault;

impl Fault {
    /// What `reqwest` said.
    pub(crate) fn of(url: &Url, error: &reqwest::Error) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        if let Some(error) = causes::first::<rustls::Error>(error) {
            return Self::of_tls(host, error, Utc::now());
        }
        if error.is_dns() {
            return Fault::Resolve { host, message: innermost(error) };
        }
        if error.is_connect() {
            let kind = causes::first::<std::io::Error>(error).map(std::io::Error::kind);
            return match kind {
                Some(std::io::ErrorKind::ConnectionRefused) => Fault::ConnectionRefused { host, port },
                _ => Fault::Connect { host, port, message: innermost(error) },
            };
        }
        Fault::BrokenOff { url: url.to_string(), message: innermost(error) }
    }

    fn of_tls(host: String, error: &rustls::Error, now: DateTime<Utc>) -> Self {
        use CertificateError as C;
        let rustls::Error::InvalidCertificate(error) = error else {
            return Fault::Tls { host, message: error.to_string() };
        };
        let now = now.format("%Y-%m-%d %H:%M UTC").to_string();
        let when = match error {
            C::UnknownIssuer | C::BadSignature => return Fault::UnknownIssuer { host },
            C::NotValidForName | C::NotValidForNameContext { .. } => return Fault::WrongName { host },
            C::Expired => "expired".into(),
            C::ExpiredContext { not_after, .. } => format!("expired on {}", date(not_after)),
            C::NotValidYet => "is not valid yet".into(),
            C::NotValidYetContext { not_before, .. } => {
                format!("is not valid yet, but from {} on", date(not_before))
            }
            other => return Fault::Tls { host, message: format!("its certificate is refused: {other}") },
        };
        Fault::CertificateTime { host, when, now }
    }
}

fn date(time: &UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|s| DateTime::from_timestamp(s, 0));
    time.map_or("?".into(), |t| t.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// What lies at the bottom of an error, which somebody else may have written.
fn innermost(error: &dyn Error) -> String {
    crate::text::quoted(&causes::innermost(error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(error: CertificateError) -> String {
        // A host whose clock battery is empty.
        let now = DateTime::from_timestamp(40_000_000, 0).unwrap();
        Fault::of_tls("ca.example".into(), &rustls::Error::InvalidCertificate(error), now).to_string()
    }

    #[test]
    fn a_clock_years_off_is_named() {
        let time = |s| UnixTime::since_unix_epoch(Duration::from_secs(s));
        assert_eq!(
            told(CertificateError::NotValidYetContext {
                time: time(40_000_000),
                not_before: time(1_700_000_000)
            }),
            "the TLS certificate of ca.example is not valid yet, but from 2023-11-14 22:13 UTC on; this host's clock says 1971-04-08 23:06 UTC"
        );
        assert!(told(CertificateError::Expired).contains("expired; this host's clock"));
    }

    #[test]
    fn each_certificate_error_has_its_own_message() {
        assert!(told(CertificateError::UnknownIssuer).contains("root_fingerprint"));
        assert!(told(CertificateError::NotValidForName).contains("not for ca.example"));
        assert!(told(CertificateError::Revoked).contains("refused"));
    }
}
