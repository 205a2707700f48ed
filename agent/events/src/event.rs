//! An event before it is in the log.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::kind::{Kind, Quota};
use crate::ocsf::{self, Severity, Status};

/// An event before it is in the log, which gives it its number, its place in the chain and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    kind: Kind,
    time: DateTime<Utc>,
    subject: String,
    data: Map<String, Value>,
    unmapped: Map<String, Value>,
}

impl Event {
    pub(crate) fn new(
        kind: Kind,
        time: DateTime<Utc>,
        severity: Severity,
        subject: &str,
        message: &str,
    ) -> Self {
        let mapping = kind.mapping();
        Event {
            kind,
            time,
            subject: ocsf::text(subject),
            data: ocsf::object(mapping.class, mapping.activity, severity, message),
            unmapped: Map::new(),
        }
    }

    /// A member of the OCSF class.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    /// Whether it succeeded, and why not.
    pub(crate) fn outcome(mut self, status: Status, detail: Option<(&str, &str)>) -> Self {
        for (name, value) in ocsf::status(status) {
            self.data.insert(name.to_owned(), value);
        }
        if let Some((code, detail)) = detail {
            self = self.with("status_code", ocsf::text(code)).with("status_detail", ocsf::text(detail));
        }
        self
    }

    /// Something that the class has no member for.
    pub(crate) fn unmapped(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.unmapped.insert(name.to_owned(), value.into());
        self
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// When it happened.
    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    /// Whom or what it is about.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whose room it takes.
    pub fn quota(&self) -> Quota {
        self.kind.mapping().quota
    }

    /// The OCSF object, without what the log adds.
    pub(crate) fn data(&self) -> Map<String, Value> {
        let mut data = self.data.clone();
        if !self.unmapped.is_empty() {
            data.insert("unmapped".into(), Value::Object(self.unmapped.clone()));
        }
        data
    }
}
