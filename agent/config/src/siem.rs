//! `[siem]` and `[metrics]`: where else events go, and figures for Prometheus.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `[siem]`: where events go besides the backend. Each place has its own pace and its own position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Siem {
    /// Whether each event becomes an entry of the journal.
    pub journal: bool,
    /// A syslog server.
    pub syslog: Option<Syslog>,
    /// A collector of OpenTelemetry.
    pub otlp: Option<Otlp>,
}

/// `[siem.syslog]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// Where it is.
    pub to: SyslogTarget,
    /// PEM file of a private CA that signs its certificate, believed besides the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// What the text of a message is; the structured data is there with both.
    #[serde(default)]
    pub text: SyslogText,
}

/// What the text of a syslog message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogText {
    /// One line for people.
    #[default]
    Message,
    /// The event, as it is in the log.
    Json,
}

/// `unix:/dev/log`, `udp://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogTarget {
    /// A datagram socket on this host.
    Unix(PathBuf),
    /// RFC 5426.
    Udp(String, u16),
    /// RFC 6587, octets counted.
    Tcp(String, u16),
    /// RFC 5425.
    Tls(String, u16),
}

/// `[siem.otlp]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Where logs are posted to: `https://collector.example/v1/logs`; without TLS on this host only.
    pub url: OtlpUrl,
    /// PEM file of a private CA that signs its certificate, believed besides the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// `https://…`, or `http://` and an address of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OtlpUrl(String);

impl OtlpUrl {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Whether `/run/hostward/metrics/hostward.prom` is kept.
    pub textfile: bool,
}

const SYSLOG: &str = "is not \"unix:/PATH\", \"udp://HOST:PORT\", \"tcp://HOST:PORT\" or \"tls://HOST:PORT\"";
const OTLP: &str =
    "is not an https URL; http is for a collector on this host (127.0.0.1, [::1], localhost) only";

impl std::fmt::Display for SyslogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SyslogTarget::Unix(path) => write!(f, "unix:{}", path.display()),
            SyslogTarget::Udp(host, port) => write!(f, "udp://{}:{port}", bracketed(host)),
            SyslogTarget::Tcp(host, port) => write!(f, "tcp://{}:{port}", bracketed(host)),
            SyslogTarget::Tls(host, port) => write!(f, "tls://{}:{port}", bracketed(host)),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl std::str::FromStr for SyslogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` {SYSLOG}");
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(SyslogTarget::Unix(path)) } else { Err(wrong()) };
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || (inner.is_some() && c == ':');
        if host.is_empty() || !host.chars().all(is_plain) {
            return Err(wrong());
        }
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        match scheme {
            "udp" => Ok(SyslogTarget::Udp(host.into(), port)),
            "tcp" => Ok(SyslogTarget::Tcp(host.into(), port)),
            "tls" => Ok(SyslogTarget::Tls(host.into(), port)),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for SyslogTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SyslogTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for OtlpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let authority = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        let is_fine = match text.split_once("://") {
            Some(("https", rest)) => !authority(rest).is_empty() && !authority(rest).contains('@'),
            Some(("http", rest)) => {
                let authority = authority(rest);
                let host = match authority.strip_prefix('[') {
                    Some(rest) => rest.split(']').next(),
                    None => authority.split(':').next(),
                };
                matches!(host, Some("127.0.0.1" | "::1" | "localhost"))
            }
            _ => false,
        };
        if is_fine { Ok(OtlpUrl(text)) } else { Err(serde::de::Error::custom(format!("`{text}` {OTLP}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        for text in
            ["unix:/dev/log", "udp://192.0.2.1:514", "tcp://siem.example:601", "tls://[2001:db8::1]:6514"]
        {
            assert_eq!(text.parse::<SyslogTarget>().unwrap().to_string(), text);
        }
        for text in [
            "/dev/log",
            "unix:dev/log",
            "udp://h",
            "udp://h:0",
            "tls://:1",
            "tcp://a/b:1",
            "https://h:1",
            "udp://a:b:1",
        ] {
            assert!(text.parse::<SyslogTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn without_tls_only_to_this_host() {
        let read = |url: &str| toml::from_str::<Otlp>(&format!("url = {url:?}"));
        for url in [
            "https://c.example/v1/logs",
            "http://127.0.0.1:4318/v1/logs",
            "http://[::1]:4318/v1/logs",
            "http://localhost/x",
        ] {
            assert_eq!(read(url).unwrap().url.as_str(), url);
        }
        for url in [
            "http://c.example/v1/logs",
            "c.example",
            "https://",
            "http://localhost.example/",
            "http://127.0.0.1@c.example/",
            "https://u:p@c.example/",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
