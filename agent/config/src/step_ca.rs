//! `[step_ca]`: an issuer of certificates for local service accounts that needs no backend.

mod service;
mod text;

pub(crate) use service::hosts as patterns;
pub use service::{Account, Service};
pub use text::{CaUrl, Fingerprint};

use serde::{Deserialize, Serialize};

use crate::Seconds;

/// The shortest and the longest life of a certificate that may be asked for.
const LIFETIMES: (Seconds, Seconds) = (Seconds(60), Seconds::days(1));

/// step-ca as issuer, with a provisioner of type JWK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct StepCa {
    /// Where the CA is.
    pub url: CaUrl,
    /// SHA-256 of the CA's root certificate (DER): what its TLS certificate is checked against, and nothing else is.
    pub root_fingerprint: Fingerprint,
    /// Name of the provisioner.
    pub provisioner: String,
    /// How long certificates are asked for; a minute to a day. step-ca's own minimum is 5 minutes.
    pub lifetime: Seconds,
    /// Which local accounts get certificates; each account and each uid once.
    pub services: Vec<Service>,
}

/// As it is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: CaUrl,
    root_fingerprint: Fingerprint,
    provisioner: String,
    #[serde(default = "five_minutes")]
    lifetime: Seconds,
    #[serde(default)]
    services: Vec<Service>,
}

fn five_minutes() -> Seconds {
    Seconds(300)
}

impl TryFrom<Written> for StepCa {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { url, root_fingerprint, provisioner, lifetime, services } = written;
        if provisioner.trim().is_empty() || provisioner.chars().any(char::is_control) {
            return Err("[step_ca] provisioner is not the name of a provisioner".into());
        }
        if lifetime < LIFETIMES.0 || lifetime > LIFETIMES.1 {
            return Err("[step_ca] lifetime must be between \"1m\" and \"1d\"".into());
        }
        for (index, service) in services.iter().enumerate() {
            if services.iter().take(index).any(|earlier| earlier.account == service.account) {
                return Err(format!("[[step_ca.services]]: {} is there twice", service.account));
            }
        }
        Ok(StepCa { url, root_fingerprint, provisioner, lifetime, services })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Config, parse};

    const GOOD: &str = r#"
[step_ca]
url = "https://ca.example:9000/"
root_fingerprint = "E1880F872F0ECBAF3F6D10A6204C5C81594D47ECB4C2F9797C857CAED61F3F4B"
provisioner = "hostward"

[[step_ca.services]]
account = "jenkins"
user = "deploy"
hosts = ["web?.example", "!web9.example"]

[[step_ca.services]]
uid = 1500
user = "backup"
principals = ["backup", "zone:a"]
"#;

    fn read(text: &str) -> Result<Config, String> {
        parse(Path::new("/etc/hostward/hostward.toml"), text).map_err(|e| e.to_string())
    }

    /// What is said when `from` reads `to`, and the line that is named.
    fn wrong(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        read(&GOOD.replacen(from, to, 1)).unwrap_err()
    }

    #[test]
    fn a_host_without_backend_is_configured_by_this_alone() {
        let config = read(GOOD).unwrap();
        let ca = config.step_ca.as_ref().unwrap();
        assert_eq!(ca.url.as_str(), "https://ca.example:9000");
        assert_eq!(
            ca.root_fingerprint.to_string(),
            "e1880f872f0ecbaf3f6d10a6204c5c81594d47ecb4c2f9797c857caed61f3f4b"
        );
        assert_eq!(ca.lifetime, Seconds(300));
        assert_eq!(ca.services[0].account, Account::Name("jenkins".into()));
        assert_eq!(ca.services[0].principals, ["deploy"]);
        assert_eq!(ca.services[0].hosts, ["web?.example", "!web9.example"]);
        assert_eq!(ca.services[1].account, Account::Uid(1500));
        assert_eq!(ca.services[1].principals, ["backup", "zone:a"]);
        assert_eq!(ca.services[1].hosts, ["*"]);
        let again = read(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn what_is_in_one_value_is_told_with_its_line() {
        for (from, to, line, said) in [
            ("https://", "http://", 3, "https"),
            ("ca.example:9000/", "ca.example:9000/1.0", 3, "without a path"),
            ("ca.example:9000/", "joe:secret@ca.example", 3, "user name"),
            ("ca.example:9000/", "ca.example:900000", 3, "port"),
            ("E188", "E18", 4, "64 hexadecimal digits"),
            ("provisioner = ", "provisoner = ", 5, "provisoner"),
            ("account = \"jenkins\"", "account = \"jen kins\"", 8, "account"),
            ("uid = 1500", "uid = 0", 13, "uid 0"),
            ("uid = 1500", "uid = 65534", 13, "65534"),
            ("user = \"deploy\"", "user = \"-oProxyCommand=x\"", 9, "user"),
            ("web?.example", "web %h", 10, "hosts"),
            ("web?.example", "!web?.example", 10, "without `!`"),
            ("zone:a", "a,b", 15, "principals"),
        ] {
            let text = wrong(from, to);
            assert!(text.contains(&format!("line {line}")) && text.contains(said), "{to}: {text}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        assert!(wrong("uid = 1500", "uid = 1500\naccount = \"x\"").contains("either `account` or `uid`"));
        assert!(wrong("uid = 1500\n", "").contains("either `account` or `uid`"));
        assert!(wrong("uid = 1500", "account = \"jenkins\"").contains("account `jenkins` is there twice"));
        assert!(wrong("principals = [\"backup\", \"zone:a\"]", "principals = []").contains("principals"));
        assert!(wrong("[[step", "lifetime = \"10s\"\n[[step").contains("lifetime"));
        assert!(wrong("[[step", "lifetime = \"2d\"\n[[step").contains("lifetime"));
        assert!(wrong("\"hostward\"", "\" \"").contains("provisioner"));
        assert!(read("[step_ca]\nurl = \"https://ca.example\"\n").unwrap_err().contains("root_fingerprint"));
    }
}
