//! One event as a line of the log: CloudEvents 1.0 in JSON.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::event::{Context, Event};
use crate::input::{Input, Source};
use crate::kind::Quota;
use crate::ocsf;
use crate::origin::Origin;

/// `prevhash` of the first event: 64 zeros.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The longest line, in bytes, its newline included. No event comes near it.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// An event of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `1.0`
    pub specversion: String,
    /// Unique for ever.
    pub id: String,
    /// The host: [`Origin::source`].
    pub source: String,
    /// The type: [`crate::Kind::name`].
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened, RFC 3339.
    pub time: DateTime<Utc>,
    /// Whom or what it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// `application/json`
    pub datacontenttype: String,
    /// Its number, 1 for the first of the log, as 20 digits so that numbers sort as text.
    #[serde(with = "digits")]
    pub sequence: u64,
    /// Which boot it happened in, where that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bootid: String,
    /// SHA-256 of the line before without its newline, hex; [`GENESIS`] for the first.
    pub prevhash: String,
    /// Whose room it takes.
    pub quota: Quota,
    /// The login that it belongs to, where it belongs to one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sessionid: String,
    /// Where what it was made of stood, where it was made of something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Source>,
    /// [`Input::id`]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inputid: String,
    /// [`Input::from`]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub inputfrom: String,
    /// An object of an OCSF class.
    pub data: Value,
}

/// What of a line counts for its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub sequence: u64,
    pub previous: String,
    pub quota: Quota,
    pub time: DateTime<Utc>,
}

/// Where the next line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub sequence: u64,
    pub previous: String,
}

impl Place {
    /// The place after a line.
    pub fn after(sequence: u64, line: &[u8]) -> Self {
        Place { sequence: sequence + 1, previous: digest(line) }
    }
}

/// The line of an event, without its newline. `run` is unique to this start of the writer.
pub(crate) fn line(event: &Event, origin: &Origin, place: &Place, run: &str) -> Vec<u8> {
    let id = format!("{run}-{}", place.sequence);
    let mut data = event.data();
    complete(&mut data, event, origin, place.sequence, &id);
    let Context { boot_id, session, input, .. } = event.context().clone();
    let (input, inputid, inputfrom) = match input {
        Some(Input { source, id, from }) => (Some(source), id, from.unwrap_or_default()),
        None => (None, String::new(), String::new()),
    };
    let record = Record {
        specversion: "1.0".into(),
        id,
        source: origin.source(),
        kind: event.kind().name().into(),
        time: event.time(),
        subject: event.subject().into(),
        datacontenttype: "application/json".into(),
        sequence: place.sequence,
        bootid: boot_id.unwrap_or_else(|| origin.boot_id.clone()),
        prevhash: place.previous.clone(),
        quota: event.quota(),
        sessionid: session.unwrap_or_default(),
        input,
        inputid,
        inputfrom,
        data: Value::Object(data),
    };
    // Strings and numbers only: it cannot fail.
    serde_json::to_vec(&record).unwrap_or_default()
}

fn complete(data: &mut Map<String, Value>, event: &Event, origin: &Origin, sequence: u64, id: &str) {
    data.insert("time".into(), event.time().timestamp_millis().into());
    data.insert("device".into(), origin.device());
    if event.kind().mapping().class == ocsf::AUTHENTICATION {
        data.insert("dst_endpoint".into(), origin.endpoint());
    }
    data.insert(
        "metadata".into(),
        json!({
            "version": ocsf::VERSION,
            "profiles": ["host"],
            "product": { "name": "hostward", "vendor_name": "hostward", "version": origin.version },
            "uid": id,
            "event_code": event.kind().name(),
            "sequence": sequence,
            "log_name": "hostward",
        }),
    );
}

/// SHA-256, hex.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Reads what counts for the place of a line, without its newline; `None` where it is no event.
pub(crate) fn link(line: &[u8]) -> Option<Link> {
    #[derive(Deserialize)]
    struct Seen<'a> {
        specversion: Cow<'a, str>,
        #[serde(with = "digits")]
        sequence: u64,
        prevhash: Cow<'a, str>,
        quota: Quota,
        time: DateTime<Utc>,
        #[serde(rename = "data")]
        _data: serde::de::IgnoredAny,
    }
    let seen: Seen<'_> = serde_json::from_slice(line).ok()?;
    let Seen { specversion, sequence, prevhash, quota, time, .. } = seen;
    (specversion == "1.0" && sequence > 0 && sequence < u64::MAX).then(|| Link {
        sequence,
        previous: prevhash.into_owned(),
        quota,
        time,
    })
}

impl Record {
    /// Reads a line, without its newline; `None` where it is no event.
    pub fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// What happened, as a person reads it.
    pub fn message(&self) -> &str {
        self.data["message"].as_str().unwrap_or_default()
    }

    /// Everybody whom it names: the user that it is about, the one that acted, the service user.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        let data = &self.data;
        let unmapped = &data["unmapped"];
        let named = [&data["user"], &data["actor"]["user"], &unmapped["user"]].map(|user| &user["name"]);
        named.into_iter().chain([&unmapped["service_user"]]).filter_map(Value::as_str)
    }
}

/// A number as 20 digits: what CloudEvents' extension `sequence` wants is a text that sorts.
mod digits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:020}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text.len() != 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(serde::de::Error::custom("a sequence is 20 digits"));
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}
