//! `ExportLogsServiceRequest` of opentelemetry-proto, in JSON.

use hostward_events::Record;
use serde_json::{Value, json};

use crate::siem::fields;

/// What events are called there.
const SCOPE: &str = "hostward";

/// A request with these events; beside each its line in the log.
pub fn request(records: &[(Record, &[u8])]) -> Vec<u8> {
    // All are of this host, but it may have had another name or id.
    let mut resources: Vec<(Value, Vec<Value>)> = Vec::new();
    for (record, line) in records {
        let resource = resource(record);
        let log = log_record(record, line);
        match resources.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, logs)) => logs.push(log),
            None => resources.push((resource, vec![log])),
        }
    }
    let resources: Vec<Value> = resources
        .into_iter()
        .map(|(resource, logs)| {
            json!({
                "resource": resource,
                "scopeLogs": [{ "scope": { "name": SCOPE, "version": env!("CARGO_PKG_VERSION") }, "logRecords": logs }],
            })
        })
        .collect();
    // Strings and numbers only: it cannot fail.
    serde_json::to_vec(&json!({ "resourceLogs": resources })).unwrap_or_default()
}

fn resource(record: &Record) -> Value {
    let device = &record.data["device"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let named = [
        ("service.name", "hostward".to_owned()),
        ("host.name", text(&device["hostname"])),
        ("host.id", text(&device["uid"])),
    ];
    json!({ "attributes": attributes(named.into_iter()) })
}

fn log_record(record: &Record, line: &[u8]) -> Value {
    let nanoseconds = record.time.timestamp_nanos_opt().unwrap_or_default().max(0).to_string();
    // Of the ranges of opentelemetry-proto: INFO, INFO2, WARN, ERROR, FATAL, FATAL2.
    let severity = match record.data["severity_id"].as_u64() {
        Some(2) => 10,
        Some(3) => 13,
        Some(4) => 17,
        Some(5) => 21,
        Some(6) => 22,
        _ => 9,
    };
    let named = fields::of(record).into_iter().map(|(name, value)| (format!("hostward.{name}"), value));
    let line = String::from_utf8_lossy(line).into_owned();
    let all = named.chain([("hostward.event".to_owned(), line)]);
    json!({
        "timeUnixNano": nanoseconds,
        "observedTimeUnixNano": nanoseconds,
        "severityNumber": severity,
        "severityText": record.data["severity"].as_str().unwrap_or_default(),
        "eventName": record.kind,
        "body": { "stringValue": record.message() },
        "attributes": attributes(all),
    })
}

fn attributes<N: Into<String>>(named: impl Iterator<Item = (N, String)>) -> Vec<Value> {
    named
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| json!({ "key": name.into(), "value": { "stringValue": value } }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_host_are_together() {
        let record = fields::tests::record();
        let body = request(&[(record.clone(), b"{}"), (record, b"{}")]);
        let body: Value = serde_json::from_slice(&body).unwrap();
        let logs = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        assert_eq!(
            (body["resourceLogs"].as_array().map(Vec::len), logs.as_array().map(Vec::len)),
            (Some(1), Some(2))
        );
        assert_eq!(logs[0]["timeUnixNano"], "1800000000123456789");
        assert_eq!(logs[0]["severityNumber"], 13);
    }
}
