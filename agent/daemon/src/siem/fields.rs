//! What of an event is told apart from its text, by names that are the same everywhere.

use hostward_events::Record;
use serde_json::Value;

/// How grave it is, as syslog numbers it.
pub fn priority(record: &Record) -> u8 {
    match record.data["severity_id"].as_u64() {
        Some(2) => 5,
        Some(3) => 4,
        Some(4) => 3,
        Some(5) => 2,
        Some(6) => 1,
        _ => 6,
    }
}

/// Type without `hostward.`.
pub fn kind(record: &Record) -> &str {
    record.kind.strip_prefix("hostward.").unwrap_or(&record.kind)
}

/// Names, in lower case, and values, none empty.
pub fn of(record: &Record) -> Vec<(&'static str, String)> {
    let data = &record.data;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let all = [
        ("id", record.id.clone()),
        ("type", record.kind.clone()),
        ("sequence", record.sequence.to_string()),
        ("source", record.source.clone()),
        ("subject", record.subject.clone()),
        ("boot", record.bootid.clone()),
        ("class", text(&data["class_uid"])),
        ("activity", text(&data["activity_name"])),
        ("severity", text(&data["severity"])),
        ("status", text(&data["status"])),
        ("code", text(&data["status_code"])),
        ("user", text(&data["user"]["name"])),
        ("actor", text(&data["actor"]["user"]["name"])),
        ("session", text(&data["session"]["uid"])),
        ("service", text(&data["service"]["name"])),
        ("src", text(&data["src_endpoint"]["ip"])),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A session that was refused, with everything in its text that could break a line.
    pub fn record() -> Record {
        let line = serde_json::json!({
            "specversion": "1.0", "id": "ab-7", "source": "urn:hostward:host:h1", "type": "hostward.login.denied",
            "time": "2027-01-15T08:00:00.123456789Z", "subject": "al]i\"ce\\", "datacontenttype": "application/json",
            "sequence": "00000000000000000007", "bootid": "b".repeat(32), "prevhash": "0".repeat(64), "quota": "denials",
            "data": {
                "class_uid": 3002, "activity_name": "Logon", "severity_id": 3, "severity": "Medium", "status": "Failure",
                "status_code": "expired", "user": { "name": "alice" }, "src_endpoint": { "ip": "192.0.2.7" },
                "device": { "hostname": "web1" }, "time": 1_800_000_000_123_u64,
                "message": "login of alice\nrefused: ü",
            },
        });
        Record::read(line.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let fields = of(&record());
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"src") && !names.contains(&"session"), "{names:?}");
        assert_eq!((priority(&record()), kind(&record())), (4, "login.denied"));
    }
}
