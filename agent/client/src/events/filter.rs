//! Which events somebody wants to see.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Kind, Record};

use crate::cli::EventsOptions;
use crate::input::InputError;

/// Which events somebody wants to see.
pub struct Filter {
    since: Option<DateTime<Utc>>,
    user: Option<String>,
    kind: Option<String>,
}

impl Filter {
    /// What the options say.
    pub fn new(options: &EventsOptions, now: DateTime<Utc>) -> Result<Self, InputError> {
        Ok(Filter {
            since: options.since.as_deref().map(|text| moment(text, now)).transpose()?,
            user: options.user.clone(),
            kind: options.kind.as_deref().map(kind).transpose()?,
        })
    }

    /// Whether this is one of them.
    pub fn wants(&self, record: &Record) -> bool {
        self.since.is_none_or(|since| record.time >= since)
            && self.kind.as_deref().is_none_or(|kind| is_within(&record.kind, kind))
            && self.user.as_deref().is_none_or(|user| record.users().any(|named| named == user))
    }
}

/// RFC 3339, or how long ago: `2h`, `30m`, `1day 12h`.
fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, InputError> {
    let unusable = || InputError::NoTime { given: text.into() };
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let ago: Duration = humantime::parse_duration(text).map_err(|_| unusable())?;
    let ago = TimeDelta::from_std(ago).map_err(|_| unusable())?;
    now.checked_sub_signed(ago).ok_or_else(unusable)
}

/// A type, or the beginning of some, with or without `hostward.`.
fn kind(text: &str) -> Result<String, InputError> {
    let whole = if text.starts_with("hostward.") { text.to_owned() } else { format!("hostward.{text}") };
    if Kind::ALL.iter().any(|kind| is_within(kind.name(), &whole)) {
        return Ok(whole);
    }
    let mut groups: Vec<&str> = Kind::ALL.iter().filter_map(|kind| kind.name().split('.').nth(1)).collect();
    groups.sort_unstable();
    groups.dedup();
    Err(InputError::NoEventType { given: text.into(), known: groups.join(", ") })
}

fn is_within(kind: &str, beginning: &str) -> bool {
    kind.strip_prefix(beginning).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn record(kind: &str, data: serde_json::Value) -> Record {
        let line = serde_json::json!({
            "specversion": "1.0", "id": "a-1", "source": "urn:x", "type": kind, "time": now(), "subject": "alice",
            "datacontenttype": "application/json", "sequence": "00000000000000000001", "prevhash": "", "quota": "own",
            "data": data,
        });
        Record::read(line.to_string().as_bytes()).unwrap()
    }

    fn filter(since: Option<&str>, user: Option<&str>, kind: Option<&str>) -> Result<Filter, InputError> {
        let options = EventsOptions {
            since: since.map(Into::into),
            user: user.map(Into::into),
            kind: kind.map(Into::into),
            ..EventsOptions::default()
        };
        Filter::new(&options, now())
    }

    #[test]
    fn times_are_absolute_or_ago() {
        let at = |text| moment(text, now()).unwrap().timestamp() - now().timestamp();
        assert_eq!((at("2h"), at("30m"), at("7d"), at("90s")), (-7200, -1800, -7 * 86_400, -90));
        assert_eq!(at("2027-01-15T09:00:00+01:00"), 0);
        for bad in ["", "yesterday", "2", "-2h", "99999999999999999y", "2027-01-15"] {
            assert!(moment(bad, now()).unwrap_err().to_string().contains("--since"), "{bad}");
        }
    }

    #[test]
    fn types_are_whole_words() {
        let issued = record("hostward.certificate.issued", serde_json::json!({}));
        for wanted in
            ["certificate", "certificate.issued", "hostward.certificate", "hostward.certificate.issued"]
        {
            assert!(filter(None, None, Some(wanted)).unwrap().wants(&issued), "{wanted}");
        }
        assert!(!filter(None, None, Some("certificate.refused")).unwrap().wants(&issued));
        let wrong = filter(None, None, Some("certificat")).err().unwrap().to_string();
        assert!(wrong.contains("agent, certificate"), "{wrong}");
    }

    #[test]
    fn users_are_found_wherever_they_are_named() {
        for data in [
            serde_json::json!({ "user": { "name": "alice" } }),
            serde_json::json!({ "actor": { "user": { "name": "alice" } } }),
            serde_json::json!({ "unmapped": { "service_user": "alice" } }),
            serde_json::json!({ "unmapped": { "user": { "name": "alice" } } }),
        ] {
            let record = record("hostward.agent.started", data.clone());
            assert!(filter(None, Some("alice"), None).unwrap().wants(&record), "{data}");
            assert!(!filter(None, Some("ali"), None).unwrap().wants(&record));
        }
    }
}
