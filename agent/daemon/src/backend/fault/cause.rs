//! What lies behind an error of the HTTP client.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_protocol::causes::{first, innermost};
use reqwest::Url;
use rustls::CertificateError;

use super::Fault;

impl Fault {
    /// What `reqwest` said.
    pub fn of(url: &Url, error: &reqwest::Error) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        if let Some(error) = first::<rustls::Error>(error) {
            return Self::of_tls(host, error, Utc::now());
        }
        if error.is_dns() {
            let message = innermost(error);
            return Fault::Resolve { host, message };
        }
        let io = first::<std::io::Error>(error).map(std::io::Error::kind);
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
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::UnixTime;

    use super::*;

    fn time(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn told(error: CertificateError) -> (String, String) {
        // A host whose clock battery is empty.
        let now = DateTime::from_timestamp(40_000_000, 0).unwrap();
        let error = rustls::Error::InvalidCertificate(error);
        let finding = Fault::of_tls("b.example".into(), &error, now).finding("backend");
        (finding.code, finding.message)
    }

    #[test]
    fn a_clock_years_off_is_named() {
        let (code, message) = told(CertificateError::NotValidYetContext {
            time: time(40_000_000),
            not_before: time(1_700_000_000),
        });
        assert_eq!(code, "backend-certificate-not-yet-valid");
        assert_eq!(
            message,
            "the certificate of b.example is not valid yet, but from 2023-11-14 on; this host's clock says 1971-04-08 23:06 UTC"
        );
    }

    #[test]
    fn each_certificate_error_has_its_own_message() {
        for (error, code) in [
            (CertificateError::UnknownIssuer, "backend-certificate-unknown-issuer"),
            (CertificateError::Expired, "backend-certificate-expired"),
            (CertificateError::NotValidYet, "backend-certificate-not-yet-valid"),
            (CertificateError::NotValidForName, "backend-certificate-wrong-name"),
            (CertificateError::Revoked, "backend-tls-failed"),
        ] {
            let (found, message) = told(error);
            assert_eq!(found, code);
            assert!(message.contains("b.example"), "{message}");
        }
    }

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let outer = std::io::Error::other(std::io::Error::other(inner));
        assert!(first::<rustls::Error>(&outer).is_some());
        assert!(first::<std::fmt::Error>(&outer).is_none());
    }
}
