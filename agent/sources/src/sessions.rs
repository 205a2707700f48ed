//! The sessions that are open, and which login each began in.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use hostward_events::{Account, Closed, Event, Kind, Process, Remote, Session};
use hostward_records::Record;
use serde::{Deserialize, Serialize};

use crate::auth;

/// How many are kept in mind. What is beyond is forgotten, oldest first: its end is told with less.
const MOST: usize = 4096;
/// How many that ended are remembered, so that their end is told once.
const ENDED: usize = 1024;

/// Open sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sessions {
    open: VecDeque<Session>,
    ended: VecDeque<String>,
}

/// Where somebody is, for finding their login.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whereabouts<'a> {
    pub boot: &'a str,
    pub cgroup: Option<&'a str>,
    pub audit: Option<u32>,
    pub ancestors: &'a [hostward_records::Process],
}

impl Sessions {
    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The processes that hold them open.
    pub fn processes(&self) -> Vec<Process> {
        self.open.iter().map(|open| open.process).collect()
    }

    /// What the log says of them: an event that was recorded.
    pub fn learn(&mut self, record: &hostward_events::Record) {
        let is = |kind: Kind| record.kind == kind.name();
        if !(is(Kind::SessionOpened) || is(Kind::Su) || is(Kind::SessionClosed)) {
            return;
        }
        let Some(session) = Session::of(record) else { return };
        self.open.retain(|open| open.id != session.id);
        if is(Kind::SessionClosed) {
            self.end(session.id);
        } else {
            self.begin(session);
        }
    }

    /// Whether that it was opened is known already.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.ended.iter().any(|ended| ended == id) || self.open.iter().any(|open| open.id == id)
    }

    /// A session was opened.
    pub(crate) fn opened(
        &mut self,
        record: &Record,
        id: &str,
        grants: impl Fn(&str) -> Vec<String>,
    ) -> (Session, Event) {
        let session = self.session(record, id, grants);
        self.open.retain(|open| open.id != session.id);
        self.begin(session.clone());
        let event = Event::session_opened(at(record), &session);
        (session, event)
    }

    /// A session was closed; `None` where that was told already.
    pub(crate) fn closed(&mut self, record: &Record, id: Option<&str>) -> Option<Event> {
        if id.is_some_and(|id| self.ended.iter().any(|ended| ended == id)) {
            return None;
        }
        let boot = boot(record);
        let is_it = |open: &Session| match id {
            Some(id) => open.id == id,
            // Whoever closes does not know what was opened: the same process did, or its child.
            None => {
                open.boot == boot
                    && open.service == record.service
                    && open.user.name == record.user
                    && (open.process == process(record.process)
                        || record.ancestors.iter().any(|ancestor| process(*ancestor) == open.process))
            }
        };
        let session = match self.open.iter().rposition(is_it) {
            Some(at) => self.open.remove(at)?,
            None => self.session(record, id.unwrap_or(&record.id.to_string()), |_| Vec::new()),
        };
        self.end(session.id.clone());
        Some(Event::session_closed(at(record), &session, Closed::Told))
    }

    /// Ends those of other boots, and those whose process is gone.
    pub(crate) fn gone(
        &mut self,
        now: DateTime<Utc>,
        boot: &str,
        is_there: impl Fn(Process) -> bool,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let (mut left, mut ended) = (VecDeque::new(), Vec::new());
        for session in self.open.drain(..) {
            let how = match session.boot == boot {
                true if is_there(session.process) => {
                    left.push_back(session);
                    continue;
                }
                true => Closed::ProcessGone,
                false => Closed::Rebooted,
            };
            events.push(Event::session_closed(now, &session, how));
            ended.push(session.id);
        }
        self.open = left;
        ended.into_iter().for_each(|id| self.end(id));
        events
    }

    /// The login that an open session began in.
    pub(crate) fn open_login(&self, id: &str) -> Option<&str> {
        self.open.iter().find(|open| open.id == id).map(|open| open.login.as_str())
    }

    /// The login that somebody is in: by the session's scope, by the kernel's audit session, by descent.
    pub(crate) fn login_of(&self, of: Whereabouts<'_>) -> Option<&str> {
        let here = || self.open.iter().rev().filter(|open| open.boot == of.boot);
        let scope = of.cgroup.and_then(scope);
        let by_scope = scope.and_then(|wanted| {
            here().find(|open| open.cgroup.as_deref().and_then(self::scope) == Some(wanted))
        });
        let by_audit = || {
            of.audit
                .filter(|audit| *audit != u32::MAX)
                .and_then(|audit| here().find(|open| open.audit == Some(audit)))
        };
        let by_descent = || {
            of.ancestors.iter().find_map(|ancestor| here().find(|open| open.process == process(*ancestor)))
        };
        by_scope.or_else(by_audit).or_else(by_descent).map(|open| open.login.as_str())
    }

    fn begin(&mut self, session: Session) {
        if self.open.len() >= MOST {
            self.open.pop_front();
        }
        self.open.push_back(session);
    }

    fn end(&mut self, id: String) {
        if self.ended.len() >= ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }

    fn session(&self, record: &Record, id: &str, grants: impl Fn(&str) -> Vec<String>) -> Session {
        let boot = boot(record);
        let is_within = matches!(record.service.as_str(), "su" | "su-l" | "sudo" | "sudo-i");
        let login = is_within.then(|| {
            self.login_of(Whereabouts {
                boot: &boot,
                cgroup: record.cgroup.as_deref(),
                audit: record.audit_session,
                ancestors: &record.ancestors,
            })
        });
        let ruser = record.ruser.as_deref().filter(|ruser| is_within && !ruser.is_empty());
        let rhost = record.rhost.as_deref().filter(|rhost| !rhost.is_empty());
        // What services say that have no terminal.
        let tty = record.tty.as_deref().filter(|tty| !matches!(*tty, "" | "ssh" | "cron"));
        Session {
            id: id.to_owned(),
            login: login.flatten().unwrap_or(id).to_owned(),
            service: record.service.clone(),
            user: Account { name: record.user.clone(), uid: record.uid },
            managed: record.managed,
            by: ruser.map(|name| Account { name: name.to_owned(), uid: None }),
            tty: tty.map(str::to_owned),
            remote: rhost.map(|host| Remote { host: host.to_owned(), port: None }),
            authentication: record.auth.as_deref().and_then(auth::of_ssh),
            grants: if record.managed && !is_within { grants(&record.user) } else { Vec::new() },
            process: process(record.process),
            boot,
            cgroup: record.cgroup.clone(),
            audit: record.audit_session,
            opened: i64::try_from(record.time).unwrap_or(i64::MAX),
        }
    }
}

/// When a record says that it happened.
pub(crate) fn at(record: &Record) -> DateTime<Utc> {
    i64::try_from(record.time).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default()
}

/// The boot of a record: 32 digits.
pub(crate) fn boot(record: &Record) -> String {
    record.boot.replace('-', "")
}

fn process(process: hostward_records::Process) -> Process {
    Process { pid: process.pid, start: process.start }
}

/// `session-3.scope` of a control group that is in one.
fn scope(cgroup: &str) -> Option<&str> {
    cgroup.split('/').find(|part| part.starts_with("session-") && part.ends_with(".scope"))
}
