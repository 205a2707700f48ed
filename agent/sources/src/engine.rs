//! Records and journal entries in, events out. What time it is, and who lives on the host, is told from outside.

mod grants;
mod position;
mod sudo;

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Account, Denial, DenialReason, Event, Input, Missing, Process, Remote, Source};
use hostward_records::{Reason, Record, What};
use serde::{Deserialize, Serialize};

use crate::auth;
use crate::connections::{Connections, Refused};
use crate::denials::{Denials, GRACE};
use crate::journal::{Entry, Speaker, sshd, su};
use crate::records::Place;
use crate::sessions::{self, Sessions, Whereabouts};
use crate::told::{Told, gap_id, lost_id};
pub use position::Position;
use sudo::Commands;

/// How many refusals by PAM are remembered, so that what sshd and su say of them is not told once more.
const DENIED: usize = 256;
/// How often it is said that entries of the journal are confirmed by nothing.
const TELL_UNSURE: TimeDelta = TimeDelta::hours(1);

/// Where in the journal something stands, and how many entries were before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    pub(crate) number: u64,
    pub(crate) cursor: String,
}

/// What the engine asks of the host.
pub trait Host {
    /// The name of the account with this uid, if one has it.
    fn name_of(&self, uid: u32) -> Option<String>;
    /// The groups whose grants let a managed user in.
    fn grants_of(&self, user: &str) -> Vec<String>;
}

/// Makes events of records and entries.
pub struct Engine {
    host: Box<dyn Host + Send>,
    told: Told,
    sessions: Sessions,
    records: Denials<Place>,
    journal: Denials<Mark>,
    connections: Connections,
    commands: Commands,
    denied: VecDeque<(String, u32)>,
    /// The last entry.
    mark: Option<Mark>,
    /// Where reading the journal begins: an entry that must still be there, and whether it is behind us.
    resumed: Option<(String, bool)>,
    unsure: u64,
    unsure_told: Option<DateTime<Utc>>,
    events: Vec<Event>,
}

impl Engine {
    /// Goes on from a position; `told` is what the log has that the position does not know of.
    pub fn resume(position: Position, told: Told, host: Box<dyn Host + Send>) -> Self {
        let read = position.mark.as_ref().map(|mark| (mark.cursor.clone(), true));
        let resumed = read.or_else(|| told.journal().map(|(cursor, is_told)| (cursor.to_owned(), is_told)));
        Engine {
            host,
            sessions: position.sessions,
            records: position.record_denials.resumed(|series| told.series(series)),
            journal: position.journal_denials.resumed(|series| told.series(series)),
            connections: position.connections,
            commands: position.commands.resumed(&told),
            denied: position.denied,
            mark: position.mark,
            resumed,
            unsure: position.unsure,
            unsure_told: position.unsure_told,
            events: Vec::new(),
            told,
        }
    }

    /// The events that were made since the last time, in order. Each is to be recorded before the next position is kept.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What is open.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The entry with which reading the journal is to begin, from now on; `None` where nothing of it was read yet.
    pub fn read_journal(&mut self) -> Option<&str> {
        if let Some(mark) = &self.mark {
            self.resumed = Some((mark.cursor.clone(), true));
        }
        self.resumed.as_ref().map(|(cursor, _)| cursor.as_str())
    }

    /// A record of the PAM module, in order.
    pub fn record(&mut self, record: &Record, place: Place) {
        let at = sessions::at(record);
        self.advance(at);
        let id = record.id.to_string();
        self.commands.has_records = true;
        if let What::Denied { reason, .. } = record.what {
            self.denied_by_pam(record, reason, place);
            return;
        }
        let is_known =
            matches!(record.what, What::Opened(session) if self.sessions.has(&session.to_string()));
        if is_known || self.told.has(Source::Records, &id) || self.told.is_gone(at) {
            // What it says of sessions the log says as well; commands are confirmed by it all the same.
            if let What::Opened(session) = record.what {
                let is_gone = self.told.is_gone(at);
                self.confirm(record, &session.to_string(), is_gone);
            }
            return;
        }
        let event = match record.what {
            What::Opened(session) => {
                let session = session.to_string();
                let host = &self.host;
                let (_, event) = self.sessions.opened(record, &session, |user| host.grants_of(user));
                self.confirm(record, &session, false);
                Some(event)
            }
            What::Closed(session) => {
                let session = session.map(|session| session.to_string());
                self.sessions.closed(record, session.as_deref())
            }
            What::Denied { .. } => None,
        };
        if let Some(event) = event {
            self.events.push(event.made_of(Input { source: Source::Records, id, from: None }));
        }
    }

    /// Lines of the records that are none, and were passed over.
    pub fn damaged(&mut self, count: u64, now: DateTime<Utc>) {
        self.events.push(Event::input_lost(now, Source::Records, Some(count), &Missing::Damaged));
    }

    /// How many records the module could not write since the boot, as it counts them; `before` are known.
    pub fn lost(&mut self, boot: &str, count: u64, before: u64, now: DateTime<Utc>) {
        let before = before.max(self.told.lost(boot));
        if count > before {
            let event = Event::input_lost(now, Source::Records, Some(count - before), &Missing::NotWritten);
            let input = Input { source: Source::Records, id: lost_id(boot, count), from: None };
            self.events.push(event.made_of(input));
        }
    }

    /// An entry of the journal, in order; the records that were there before it came to be read.
    pub fn entry(&mut self, entry: Entry) {
        let number = self.mark.as_ref().map_or(0, |mark| mark.number + 1);
        let mark = Mark { number, cursor: entry.cursor.clone() };
        match self.resumed.take() {
            Some((cursor, true)) if cursor == entry.cursor => return,
            Some((cursor, false)) if cursor == entry.cursor => {}
            Some((cursor, _)) => self.gap(&entry, &cursor),
            None => {}
        }
        self.advance(entry.at);
        self.mark = Some(mark.clone());
        match entry.speaker() {
            Speaker::Sshd => self.sshd(&entry, mark),
            Speaker::Sudo { sure, seen } => self.sudo(entry, mark, sure, seen),
            Speaker::Su { seen, .. } => self.su(&entry, mark, seen),
            Speaker::Journald => self.suppressed(&entry),
            Speaker::Nobody => {}
        }
    }

    /// Whether the journal is being read: what it does not say by now it may say later, if it is not.
    pub fn followed(&mut self, is_followed: bool) {
        self.commands.is_followed = is_followed;
    }

    /// Nothing more is there to be read at the moment: what waited for more is told.
    pub fn idle(&mut self, now: DateTime<Utc>) {
        self.give_up(now);
        self.flush(now);
        if self.unsure > 0 && self.unsure_told.is_none_or(|told| now - told >= TELL_UNSURE) {
            let count = std::mem::take(&mut self.unsure);
            self.unsure_told = Some(now);
            self.events.push(Event::input_lost(now, Source::Journal, Some(count), &Missing::Unsure));
        }
    }

    /// When to say [`Engine::idle`] again, if nothing comes until then.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        let unsure = (self.unsure > 0)
            .then(|| self.unsure_told.map_or(DateTime::UNIX_EPOCH, |told| told + TELL_UNSURE));
        let due =
            [self.records.due(), self.journal.due(), self.connections.due(), self.commands.due(), unsure];
        due.into_iter().flatten().min()
    }

    /// Ends the sessions whose processes are gone, or were in another boot. All records must have been read since the
    /// processes were looked at, or a session that was closed in order would be told to be gone.
    pub fn end_gone(&mut self, now: DateTime<Utc>, boot: &str, is_there: impl Fn(Process) -> bool) {
        self.events.extend(self.sessions.gone(now, boot, is_there));
    }

    /// What was read last is gone, and what came behind it may be.
    fn gap(&mut self, entry: &Entry, cursor: &str) {
        let id = gap_id(cursor);
        if !self.told.has(Source::Journal, &id) {
            let event = Event::input_lost(entry.at, Source::Journal, None, &Missing::Gap);
            self.events.push(event.made_of(Input { source: Source::Journal, id, from: None }));
        }
    }

    fn denied_by_pam(&mut self, record: &Record, reason: Reason, place: Place) {
        if self.denied.len() >= DENIED {
            self.denied.pop_front();
        }
        self.denied.push_back((sessions::boot(record), record.process.pid));
        let reason = match reason {
            Reason::Suspended => DenialReason::Suspended,
            Reason::Expired => DenialReason::Expired,
            Reason::OutsideWindow => DenialReason::OutsideWindow,
            Reason::Stale => DenialReason::Stale,
        };
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let at = sessions::at(record);
        let boot = sessions::boot(record);
        let login = self.sessions.login_of(Whereabouts {
            boot: &boot,
            cgroup: record.cgroup.as_deref(),
            audit: record.audit_session,
            ancestors: &record.ancestors,
        });
        let is_remote = record.service == "sshd";
        let denial = Denial {
            service: record.service.clone(),
            user: Account { name: record.user.clone(), uid: record.uid },
            remote: text(&record.rhost).map(|host| Remote { host, port: None }),
            by: text(&record.ruser).map(|name| Account { name, uid: None }),
            reason,
            authentication: record.auth.as_deref().and_then(auth::of_ssh),
            count: 1,
            first: at,
            last: at,
            said: None,
            login: login.filter(|_| !is_remote).map(str::to_owned),
            boot: boot.clone(),
            series: String::new(),
        };
        let told = &self.told;
        self.records.add(denial, record.id.to_string(), place, |series| told.series(series));
    }

    fn sshd(&mut self, entry: &Entry, mark: Mark) {
        let Some(said) = sshd::read(&entry.message) else { return };
        // PAM's own record of it has more.
        if matches!(said, sshd::Said::AccountRefused(_)) && self.is_denied_by_pam(entry) {
            let _told_by_the_record = self.connections.hear(entry, sshd::Said::Accepted, mark);
            return;
        }
        let refused = self.connections.hear(entry, said, mark);
        self.refused(refused);
    }

    fn refused(&mut self, refused: Vec<Refused>) {
        let told = &self.told;
        for Refused { denial, last, first } in refused {
            self.journal.add(denial, last.cursor, first, |series| told.series(series));
        }
    }

    fn su(&mut self, entry: &Entry, mark: Mark, seen: bool) {
        let Some((to, by, tty)) = su::refused(&entry.message) else { return };
        if self.is_denied_by_pam(entry) {
            return;
        }
        // Whoever says it can only say it of themselves.
        if !seen || !self.is_called(entry, &by) {
            self.unsure += 1;
            return;
        }
        let login = self.login_of(entry);
        let said = tty.map(|tty| format!("on {tty}"));
        let denial = Denial {
            service: "su".into(),
            user: Account { name: to, uid: None },
            remote: None,
            by: Some(Account { name: by, uid: entry.uid }),
            reason: DenialReason::WrongPassword,
            authentication: None,
            count: 1,
            first: entry.at,
            last: entry.at,
            said,
            boot: entry.boot.clone(),
            login,
            series: String::new(),
        };
        let told = &self.told;
        self.journal.add(denial, mark.cursor.clone(), mark, |series| told.series(series));
    }

    fn suppressed(&mut self, entry: &Entry) {
        let Some((count, unit)) = entry.dropped.clone() else { return };
        let counts = unit.starts_with("ssh")
            || unit.starts_with("session-")
            || unit.starts_with("user@")
            || unit.starts_with("cron");
        if counts && !self.told.has(Source::Journal, &entry.cursor) {
            let missing = Missing::Suppressed(unit);
            let event =
                Event::input_lost(entry.at, Source::Journal, Some(count), &missing).in_boot(&entry.boot);
            self.push_of_journal(event, &entry.cursor);
        }
    }

    fn is_denied_by_pam(&self, entry: &Entry) -> bool {
        self.denied.iter().any(|(boot, pid)| *boot == entry.boot && *pid == entry.pid)
    }

    /// Whether the account that the kernel saw has this name.
    fn is_called(&self, entry: &Entry, name: &str) -> bool {
        entry.uid.and_then(|uid| self.host.name_of(uid)).is_some_and(|found| found == name)
    }

    fn login_of(&self, entry: &Entry) -> Option<String> {
        let whereabouts = Whereabouts {
            boot: &entry.boot,
            cgroup: entry.cgroup.as_deref(),
            audit: entry.audit,
            ancestors: &[],
        };
        self.sessions.login_of(whereabouts).map(str::to_owned)
    }

    /// The oldest entry that something still waits with.
    fn first_pending(&self) -> Option<&Mark> {
        self.connections.first().chain(self.journal.first()).chain(self.commands.first()).min()
    }

    fn push_of_journal(&mut self, event: Event, cursor: &str) {
        let from = self.first_pending().map(|mark| mark.cursor.clone()).filter(|from| from != cursor);
        let input = Input { source: Source::Journal, id: cursor.to_owned(), from };
        self.events.push(event.made_of(input));
    }

    /// What comes now happened at `at`: minutes before it are over.
    fn advance(&mut self, at: DateTime<Utc>) {
        let is_due = |due: Option<DateTime<Utc>>| due.is_some_and(|due| due <= at - GRACE);
        if is_due(self.records.due()) || is_due(self.journal.due()) {
            self.flush(at - GRACE);
        }
    }

    fn give_up(&mut self, now: DateTime<Utc>) {
        let refused = self.connections.given_up(now);
        self.refused(refused);
        self.give_up_commands(now);
    }

    fn flush(&mut self, now: DateTime<Utc>) {
        for told in self.records.over(now) {
            let input = Input { source: Source::Records, id: told.id, from: None };
            self.events.push(Event::login_denied(&told.denial).made_of(input));
        }
        // Those that are told now are as good as pending until all of them are in the log.
        let from = self.first_pending().map(|mark| mark.cursor.clone());
        for told in self.journal.over(now) {
            let input = Input { source: Source::Journal, id: told.id, from: from.clone() };
            self.events.push(Event::login_denied(&told.denial).made_of(input));
        }
    }
}
