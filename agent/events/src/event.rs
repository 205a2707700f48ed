//! An event before it is in the log.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::input::Input;
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
    context: Context,
}

/// What of the envelope is not the same for every event of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Context {
    /// Another boot than the one in which it is recorded.
    pub boot_id: Option<String>,
    /// The login that it belongs to.
    pub session: Option<String>,
    /// What it was made of.
    pub input: Option<Input>,
    /// Another room than that of its type.
    pub quota: Option<Quota>,
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
            context: Context::default(),
        }
    }

    /// What it was made of, so that it is not made twice.
    #[must_use]
    pub fn made_of(mut self, input: Input) -> Self {
        self.context.input = Some(input);
        self
    }

    /// The boot that it happened in, where that is another than the one in which it is recorded.
    #[must_use]
    pub fn in_boot(mut self, boot_id: &str) -> Self {
        self.context.boot_id = Some(boot_id.replace('-', ""));
        self
    }

    /// The login that it belongs to.
    pub(crate) fn of_session(mut self, session: &str) -> Self {
        self.context.session = Some(session.to_owned());
        self
    }

    /// Takes another room than events of its type do.
    pub(crate) fn counted_as(mut self, quota: Quota) -> Self {
        self.context.quota = Some(quota);
        self
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
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
        self.context.quota.unwrap_or_else(|| self.kind.mapping().quota)
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
