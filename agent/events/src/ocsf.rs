//! What every object of the Open Cybersecurity Schema Framework has, version 1.3.0 (<https://schema.ocsf.io/1.3.0>).

use serde_json::{Map, Value, json};

/// The version of the schema.
pub const VERSION: &str = "1.3.0";

/// The longest text that is taken from elsewhere, in characters.
const MAX_TEXT: usize = 1024;

/// A class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its number.
    pub uid: u32,
    /// Its caption.
    pub name: &'static str,
    category: (u32, &'static str),
}

/// An activity of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Its number; 99 is one that the schema has no word for.
    pub id: u32,
    /// Its caption.
    pub name: &'static str,
}

const SYSTEM: (u32, &str) = (1, "System Activity");
const FINDINGS: (u32, &str) = (2, "Findings");
const IDENTITY: (u32, &str) = (3, "Identity & Access Management");
const DISCOVERY: (u32, &str) = (5, "Discovery");
const APPLICATION: (u32, &str) = (6, "Application Activity");

const fn class(uid: u32, name: &'static str, category: (u32, &'static str)) -> Class {
    Class { uid, name, category }
}

pub(crate) const PROCESS_ACTIVITY: Class = class(1007, "Process Activity", SYSTEM);
pub(crate) const EVENT_LOG: Class = class(1008, "Event Log Activity", SYSTEM);
pub(crate) const COMPLIANCE_FINDING: Class = class(2003, "Compliance Finding", FINDINGS);
pub(crate) const ACCOUNT_CHANGE: Class = class(3001, "Account Change", IDENTITY);
pub(crate) const AUTHENTICATION: Class = class(3002, "Authentication", IDENTITY);
pub(crate) const ENTITY_MANAGEMENT: Class = class(3004, "Entity Management", IDENTITY);
pub(crate) const USER_ACCESS: Class = class(3005, "User Access Management", IDENTITY);
pub(crate) const CONFIG_STATE_CHANGE: Class = class(5019, "Device Config State Change", DISCOVERY);
pub(crate) const APPLICATION_LIFECYCLE: Class = class(6002, "Application Lifecycle", APPLICATION);

/// How much somebody should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Informational,
    Low,
    Medium,
    High,
}

impl Severity {
    fn id(self) -> (u32, &'static str) {
        match self {
            Severity::Informational => (1, "Informational"),
            Severity::Low => (2, "Low"),
            Severity::Medium => (3, "Medium"),
            Severity::High => (4, "High"),
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    Failure,
}

/// The members that all classes have, but for those that the log adds: `metadata`, `device`, `time`.
pub(crate) fn object(
    class: Class,
    activity: Activity,
    severity: Severity,
    message: &str,
) -> Map<String, Value> {
    let (severity_id, severity) = severity.id();
    let (category_uid, category_name) = class.category;
    let members = json!({
        "activity_id": activity.id,
        "activity_name": activity.name,
        "category_uid": category_uid,
        "category_name": category_name,
        "class_uid": class.uid,
        "class_name": class.name,
        "type_uid": u64::from(class.uid) * 100 + u64::from(activity.id),
        "type_name": format!("{}: {}", class.name, activity.name),
        "severity_id": severity_id,
        "severity": severity,
        "message": text(message),
    });
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// `status_id` and `status` of classes where they say whether something succeeded.
pub(crate) fn status(status: Status) -> [(&'static str, Value); 2] {
    let (id, name) = match status {
        Status::Success => (1, "Success"),
        Status::Failure => (2, "Failure"),
    };
    [("status_id", id.into()), ("status", name.into())]
}

/// Text from elsewhere, cut to what a line has room for.
pub(crate) fn text(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
