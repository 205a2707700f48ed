//! A record as a line, and a line as a record.
//!
//! Every text is cut to its room as it is escaped, and the authentication gets what the others leave, so that a line never
//! exceeds [`MAX_LINE`], whatever a remote party calls itself.

use serde::{Deserialize, Serialize};

use crate::MAX_LINE;
use crate::id::Id;
use crate::record::{Process, Reason, Record, What};

/// The member `v` of what is written.
pub const VERSION: u32 = 1;

/// Room of each text, in bytes as it is escaped.
const SHORT: usize = 64;
const NAME: usize = 256;
const PATH: usize = 768;
/// How many ancestors are written.
const ANCESTORS: usize = 8;

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// More than [`MAX_LINE`].
    #[error("a record has {length} bytes, and may have {MAX_LINE}")]
    TooLong {
        /// How many it has, the newline included.
        length: usize,
    },
    /// Not JSON, or not with the members of a record: a write that a crash cut, mostly.
    #[error("a line is no record")]
    Malformed(#[source] serde_json::Error),
    /// Of a module that is newer than who reads.
    #[error("a record has version {found}, and {VERSION} is known")]
    Version {
        /// The member `v`.
        found: u32,
    },
    /// The members contradict the kind.
    #[error("a record of kind `{kind}` has no `{member}`")]
    Lacking {
        /// The member `kind`.
        kind: &'static str,
        /// The one that it must have.
        member: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    SessionOpened,
    SessionClosed,
    Denied,
}

#[derive(Deserialize)]
struct Head {
    v: u32,
}

/// The members as they are written, in this order.
#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    id: Id,
    kind: Kind,
    time: u64,
    boot: String,
    service: String,
    user: String,
    uid: Option<u32>,
    managed: bool,
    tty: Option<String>,
    rhost: Option<String>,
    ruser: Option<String>,
    session: Option<Id>,
    pid: u32,
    ppid: u32,
    start: u64,
    audit_session: Option<u32>,
    loginuid: Option<u32>,
    cgroup: Option<String>,
    xdg_session: Option<String>,
    reason: Option<Reason>,
    until: Option<u64>,
    ancestors: Vec<Process>,
    auth: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command_line: Option<String>,
}

impl Record {
    /// As it is appended: one line with its newline, at most [`MAX_LINE`] bytes. Texts that are too long are cut.
    pub fn line(&self) -> Vec<u8> {
        let mut wire = Wire::from(self);
        if let Some(auth) = &self.auth {
            // The quotes and the newline take three bytes, and `null` gives four.
            let room = (MAX_LINE + 1).saturating_sub(wire.bytes().len());
            wire.auth = Some(cut(auth, room).to_owned());
        }
        if let Some(command_line) = &self.command_line {
            // The member's name, quotes and the newline.
            let room = MAX_LINE.saturating_sub(wire.bytes().len() + r#","command_line":"""#.len() + 1);
            wire.command_line = Some(cut(command_line, room).to_owned()).filter(|text| !text.is_empty());
        }
        terminated(wire.bytes())
    }

    /// Of a line without its newline. What is not known of it is passed over.
    pub fn parse(line: &[u8]) -> Result<Self, ParseError> {
        if line.len() >= MAX_LINE {
            return Err(ParseError::TooLong { length: line.len() + 1 });
        }
        let Head { v } = serde_json::from_slice(line).map_err(ParseError::Malformed)?;
        if v != VERSION {
            return Err(ParseError::Version { found: v });
        }
        serde_json::from_slice::<Wire>(line).map_err(ParseError::Malformed)?.try_into()
    }
}

impl Wire {
    fn bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists of them: there is nothing in it that JSON cannot say.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn terminated(mut line: Vec<u8>) -> Vec<u8> {
    line.push(b'\n');
    line
}

/// As much of the start as has at most `room` bytes once it is escaped.
fn cut(text: &str, room: usize) -> &str {
    let mut escaped = 0;
    for (at, character) in text.char_indices() {
        escaped += match character {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            other => other.len_utf8(),
        };
        if escaped > room {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

impl From<&Record> for Wire {
    fn from(record: &Record) -> Self {
        let some = |text: &Option<String>, room| text.as_deref().map(|text| cut(text, room).to_owned());
        let (kind, session, reason, until) = match record.what {
            What::Opened(session) => (Kind::SessionOpened, Some(session), None, None),
            What::Closed(session) => (Kind::SessionClosed, session, None, None),
            What::Denied { reason, until } => (Kind::Denied, None, Some(reason), until),
        };
        Self {
            v: VERSION,
            id: record.id,
            kind,
            time: record.time,
            boot: cut(&record.boot, SHORT).to_owned(),
            service: cut(&record.service, SHORT).to_owned(),
            user: cut(&record.user, NAME).to_owned(),
            uid: record.uid,
            managed: record.managed,
            tty: some(&record.tty, SHORT),
            rhost: some(&record.rhost, NAME),
            ruser: some(&record.ruser, NAME),
            session,
            pid: record.process.pid,
            ppid: record.parent,
            start: record.process.start,
            audit_session: record.audit_session,
            loginuid: record.loginuid,
            cgroup: some(&record.cgroup, PATH),
            xdg_session: some(&record.xdg_session, SHORT),
            reason,
            until,
            ancestors: record.ancestors.iter().copied().take(ANCESTORS).collect(),
            auth: None,
            directory: some(&record.directory, PATH),
            command_line: None,
        }
    }
}

impl TryFrom<Wire> for Record {
    type Error = ParseError;

    fn try_from(wire: Wire) -> Result<Self, ParseError> {
        let lacking = |kind, member| ParseError::Lacking { kind, member };
        let what = match wire.kind {
            Kind::SessionOpened => {
                What::Opened(wire.session.ok_or_else(|| lacking("session-opened", "session"))?)
            }
            Kind::SessionClosed => What::Closed(wire.session),
            Kind::Denied => What::Denied {
                reason: wire.reason.ok_or_else(|| lacking("denied", "reason"))?,
                until: wire.until,
            },
        };
        Ok(Self {
            id: wire.id,
            what,
            time: wire.time,
            boot: wire.boot,
            service: wire.service,
            user: wire.user,
            uid: wire.uid,
            managed: wire.managed,
            tty: wire.tty,
            rhost: wire.rhost,
            ruser: wire.ruser,
            auth: wire.auth,
            directory: wire.directory,
            command_line: wire.command_line,
            process: Process { pid: wire.pid, start: wire.start },
            parent: wire.ppid,
            audit_session: wire.audit_session,
            loginuid: wire.loginuid,
            cgroup: wire.cgroup,
            xdg_session: wire.xdg_session,
            ancestors: wire.ancestors,
        })
    }
}
