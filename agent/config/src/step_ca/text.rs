//! Values of `[step_ca]` that are parsed once, here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `https://HOST[:PORT]`, without a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct CaUrl(String);

impl CaUrl {
    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CaUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("https://") else {
            return Err(format!("`{text}` is not an https URL such as \"https://ca.example:9000\""));
        };
        if rest.contains('@') {
            return Err("the URL of step-ca must not contain a user name or password".into());
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(format!("`{text}`: give the URL of step-ca without a path"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if host.is_empty()
            || !host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'))
        {
            return Err(format!("`{text}` names no host"));
        }
        if let Some(port) = port
            && port.parse::<u16>().is_err()
        {
            return Err(format!("`{port}` in `{text}` is no port"));
        }
        Ok(CaUrl(format!("https://{authority}")))
    }
}

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mistake = || {
            format!(
                "`{text}` is no fingerprint: 64 hexadecimal digits, as `step certificate fingerprint` prints them"
            )
        };
        let mut bytes = [0; 32];
        let digits: Vec<u32> = text.chars().map_while(|c| c.to_digit(16)).collect();
        if digits.len() != 64 || text.len() != 64 {
            return Err(mistake());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair
                .iter()
                .try_fold(0_u8, |byte, digit| Some(byte << 4 | u8::try_from(*digit).ok()?))
                .ok_or_else(mistake)?;
        }
        Ok(Fingerprint(bytes))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
