//! Commands of sudo. The journal says what they were; that it was sudo who said so, a record of PAM's has to confirm,
//! which only root can write: sudo keeps the caller's uid, and who has a user namespace of their own can have a program
//! called `/usr/bin/sudo` say anything.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Account, Event, Source, Sudo, SudoOutcome};
use hostward_records::Record;
use serde::{Deserialize, Serialize};

use super::{Engine, Mark};
use crate::journal::{Entry, sudo};
use crate::sessions;

/// How long after a command its session may begin, or before: modules of PAM may take their time.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// How many sessions of sudo are remembered for commands that the journal has not told yet.
const MOST: usize = 4096;
/// How many commands wait for theirs.
const WAITING: usize = 4096;

/// What is known of commands that is not told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Commands {
    waiting: VecDeque<Waiting>,
    confirmed: VecDeque<Confirmed>,
    /// Whether the PAM module writes records here.
    pub has_records: bool,
}

/// A session of sudo, as PAM's record of it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Confirmed {
    boot: String,
    pid: u32,
    /// Microseconds since 1970.
    at: i64,
    /// Who asked, where PAM knows.
    by: Option<String>,
    /// The login that it is in.
    login: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    said: sudo::Said,
    entry: Entry,
    mark: Mark,
    sure: bool,
    seen: bool,
}

impl Commands {
    /// Those of a position, without what was told since: entries with these cursors.
    pub fn resumed(mut self, is_told: impl Fn(&str) -> bool) -> Self {
        self.waiting.retain(|waiting| !is_told(&waiting.entry.cursor));
        self
    }

    pub fn first(&self) -> impl Iterator<Item = &Mark> {
        self.waiting.iter().map(|waiting| &waiting.mark)
    }

    pub fn due(&self) -> Option<DateTime<Utc>> {
        self.waiting.front().map(|waiting| waiting.entry.at + PATIENCE)
    }

    fn confirmation(&self, entry: &Entry, by: &str) -> Option<&Confirmed> {
        self.confirmed.iter().rev().find(|confirmed| confirmed.fits(entry, by))
    }

    /// Forgets what no entry that is still to come can be confirmed by.
    fn forget(&mut self, at: DateTime<Utc>) {
        let before = (at - PATIENCE - PATIENCE).timestamp_micros();
        while self.confirmed.front().is_some_and(|confirmed| confirmed.at < before) {
            self.confirmed.pop_front();
        }
    }
}

impl Confirmed {
    fn fits(&self, entry: &Entry, by: &str) -> bool {
        let apart = (entry.at.timestamp_micros() - self.at).abs();
        self.boot == entry.boot
            && self.pid == entry.pid
            && self.by.as_deref().is_none_or(|found| found == by)
            && PATIENCE.num_microseconds().is_some_and(|patience| apart <= patience)
    }
}

impl Engine {
    /// A record says that a session was opened: if it is one of sudo's, a command is confirmed by it.
    pub(super) fn confirm(&mut self, record: &Record, id: &str) {
        if !matches!(record.service.as_str(), "sudo" | "sudo-i") {
            return;
        }
        let known = self.sessions.open_login(id).map(str::to_owned);
        let confirmed = Confirmed {
            boot: sessions::boot(record),
            pid: record.process.pid,
            at: sessions::at(record).timestamp_micros(),
            by: record.ruser.clone().filter(|by| !by.is_empty()),
            login: known.unwrap_or_else(|| id.to_owned()),
        };
        let (now, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.commands.waiting)
            .into_iter()
            .partition(|waiting| confirmed.fits(&waiting.entry, &waiting.said.by));
        self.commands.waiting = left.into();
        if self.commands.confirmed.len() >= MOST {
            self.commands.confirmed.pop_front();
        }
        self.commands.confirmed.push_back(confirmed.clone());
        for Waiting { said, entry, seen, .. } in now {
            self.command(&entry, said, Some(confirmed.login.clone()), seen);
        }
    }

    /// sudo, or somebody who says so, says something.
    pub(super) fn sudo(&mut self, entry: Entry, mark: Mark, sure: bool, seen: bool) {
        self.commands.forget(entry.at);
        let Some(said) = sudo::read(&entry.message) else { return };
        if self.told.has(Source::Journal, &entry.cursor) {
            return;
        }
        if !sure && !self.is_called(&entry, &said.by) {
            self.unsure += 1;
            return;
        }
        if said.refused.is_some() {
            // No session confirms a refusal. Whoever forges one accuses nobody but themselves.
            if sure || seen {
                let login = self.login_of(&entry);
                self.command(&entry, said, login, true);
            } else {
                self.unsure += 1;
            }
            return;
        }
        if let Some(confirmed) = self.commands.confirmation(&entry, &said.by) {
            let login = Some(confirmed.login.clone());
            return self.command(&entry, said, login, seen);
        }
        if self.commands.waiting.len() >= WAITING {
            self.commands.waiting.pop_front();
            self.unsure += 1;
        }
        self.commands.waiting.push_back(Waiting { said, entry, mark, sure, seen });
    }

    /// What was not confirmed in time is not told, unless root said it, or nothing can be confirmed: where the module writes
    /// no records at all.
    pub(super) fn give_up_commands(&mut self, now: DateTime<Utc>) {
        while self.commands.due().is_some_and(|due| due <= now) {
            let Some(Waiting { said, entry, sure, seen, .. }) = self.commands.waiting.pop_front() else {
                return;
            };
            if !sure && (self.commands.has_records || !seen) {
                self.unsure += 1;
            } else {
                let login = self.login_of(&entry);
                self.command(&entry, said, login, true);
            }
        }
    }

    fn command(&mut self, entry: &Entry, said: sudo::Said, login: Option<String>, seen: bool) {
        let is_unclear = said.is_ambiguous || !(seen || entry.uid == Some(0));
        let sudo = Sudo {
            by: Account { name: said.by, uid: entry.uid },
            run_as: said.run_as.map(|name| Account { name, uid: None }),
            group: said.group,
            command: said.command,
            directory: said.directory,
            tty: said.tty,
            pid: entry.pid,
            ambiguous: is_unclear.then(|| entry.message.clone()),
            outcome: said.refused.map_or(SudoOutcome::Allowed, SudoOutcome::Refused),
            login,
            boot: entry.boot.clone(),
        };
        let event = Event::sudo_command(entry.at, &sudo);
        self.push_of_journal(event, &entry.cursor);
    }
}
