//! Where events come from.

use serde_json::{Value, json};

/// The host, as its events name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What the host calls itself.
    pub hostname: String,
    /// Its id at the backend, where it is enrolled.
    pub host_id: Option<String>,
    /// Which boot this is: 32 hexadecimal digits, empty where that is not known.
    pub boot_id: String,
    /// Version of hostward.
    pub version: String,
}

impl Origin {
    /// CloudEvents `source`: `urn:hostward:host:ID`, before enrollment `urn:hostward:local:HOSTNAME`.
    pub fn source(&self) -> String {
        match &self.host_id {
            Some(id) => host_source(id),
            None => format!("urn:hostward:local:{}", escaped(&self.hostname)),
        }
    }

    pub(crate) fn device(&self) -> Value {
        let mut device = json!({ "hostname": self.hostname, "type_id": 1, "type": "Server" });
        if let (Some(id), Value::Object(members)) = (&self.host_id, &mut device) {
            members.insert("uid".into(), id.as_str().into());
        }
        device
    }

    /// The host as that which somebody logs in to.
    pub(crate) fn endpoint(&self) -> Value {
        match &self.host_id {
            Some(id) => json!({ "hostname": self.hostname, "uid": id }),
            None => json!({ "hostname": self.hostname }),
        }
    }
}

/// CloudEvents `source` of what an enrolled host records.
pub fn host_source(host_id: &str) -> String {
    format!("urn:hostward:host:{}", escaped(host_id))
}

/// Percent-encoded but for the unreserved characters of RFC 3986.
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_urn_whatever_the_host_is_called() {
        let mut origin =
            Origin { hostname: "we b/1".into(), host_id: None, boot_id: String::new(), version: "1".into() };
        assert_eq!(origin.source(), "urn:hostward:local:we%20b%2F1");
        origin.host_id = Some("h-1".into());
        assert_eq!(origin.source(), "urn:hostward:host:h-1");
    }
}
