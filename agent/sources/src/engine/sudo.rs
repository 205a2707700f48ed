//! Commands of sudo. The journal says what they were; that it was sudo who said so, a record of PAM's has to confirm,
//! which only root can write: sudo keeps the caller's uid, and who has a user namespace of their own can have a program
//! called `/usr/bin/sudo` say anything. Of a session whose command the journal does not have, the record itself says what
//! sudo was asked for.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Account, Event, Input, Source, Sudo, SudoExited, SudoOutcome, digest};
use hostward_records::Record;
use serde::{Deserialize, Serialize};

use super::{Engine, Mark};
use crate::journal::{Entry, sudo};
use crate::sessions;
use crate::told::{Told, asked_id};

/// How long after a command its session may begin, or before: modules of PAM may take their time.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// How many sessions of sudo are remembered for commands that the journal has not told yet.
const MOST: usize = 4096;
/// How many commands wait for theirs.
const WAITING: usize = 4096;
/// How many commands are remembered for the entry that says how they ended.
const RUNNING: usize = 1024;
/// From so many bytes on sudo may have divided a message: `syslog_maxlen` is 980.
const LONG: usize = 900;
/// How many sessions wait for what sudo says of them.
const UNHEARD: usize = 512;

/// What is known of commands that is not told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Commands {
    waiting: VecDeque<Waiting>,
    confirmed: VecDeque<Confirmed>,
    #[serde(default)]
    unheard: VecDeque<Unheard>,
    #[serde(default)]
    running: VecDeque<Running>,
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
    /// The record.
    #[serde(default)]
    record: String,
    /// It is told without what sudo wrote, which came too late or never.
    #[serde(default)]
    is_told: bool,
    /// The command is told as sudo wrote it, or the log says so.
    #[serde(default)]
    has_command: bool,
}

/// A command that is told, and whose end may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    boot: String,
    pid: u32,
    record: String,
    login: String,
    /// Digest of the command, as sudo wrote it.
    command: String,
}

/// A session of which the journal says nothing yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unheard {
    record: String,
    at: DateTime<Utc>,
    /// Since when there was nothing more to be read.
    since: Option<DateTime<Utc>>,
    boot: String,
    pid: u32,
    by: String,
    run_as: String,
    run_as_uid: Option<u32>,
    tty: Option<String>,
    directory: Option<String>,
    command_line: Option<String>,
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
    /// Those of a position, without what was told since.
    pub fn resumed(mut self, told: &Told) -> Self {
        self.waiting.retain(|waiting| !told.has(Source::Journal, &waiting.entry.cursor));
        self.unheard.retain(|unheard| !told.has_command(&unheard.record));
        for confirmed in &mut self.confirmed {
            confirmed.is_told |= told.has_asked(&confirmed.record);
            confirmed.has_command |= told.has_command(&confirmed.record);
        }
        self
    }

    pub fn first(&self) -> impl Iterator<Item = &Mark> {
        self.waiting.iter().map(|waiting| &waiting.mark)
    }

    pub fn due(&self) -> Option<DateTime<Utc>> {
        let unconfirmed = self.waiting.front().map(|waiting| waiting.entry.at + PATIENCE);
        // Those that wait from now on are behind those that did before.
        let unheard =
            self.unheard.front().map(|unheard| unheard.since.map_or(unheard.at, |at| at + PATIENCE));
        let unseen = self.unheard.back().filter(|unheard| unheard.since.is_none()).map(|unheard| unheard.at);
        [unconfirmed, unheard, unseen].into_iter().flatten().min()
    }

    fn confirmation(&self, entry: &Entry, by: &str) -> Option<&Confirmed> {
        self.confirmed.iter().rev().find(|confirmed| confirmed.fits(entry, by))
    }

    /// sudo says that a command ended, if it is one that is told.
    fn ended(&mut self, entry: &Entry, command: &str) -> Option<Running> {
        let command = digest(command.as_bytes());
        let is_it = |running: &Running| {
            running.pid == entry.pid && running.boot == entry.boot && running.command == command
        };
        let at = self.running.iter().rposition(is_it)?;
        self.running.remove(at)
    }

    fn runs(&mut self, entry: &Entry, command: Option<&str>, confirmed: &Confirmed) {
        if self.running.len() >= RUNNING {
            self.running.pop_front();
        }
        self.running.push_back(Running::of(entry, command.unwrap_or_default(), confirmed));
        for known in &mut self.confirmed {
            known.has_command |= known.record == confirmed.record;
        }
    }

    /// sudo said what the session is that this record is of.
    fn heard(&mut self, record: &str) {
        self.unheard.retain(|unheard| unheard.record != record);
    }

    /// Forgets what no entry that is still to come can be confirmed by.
    fn forget(&mut self, at: DateTime<Utc>) {
        let before = (at - PATIENCE - PATIENCE).timestamp_micros();
        while self.confirmed.front().is_some_and(|confirmed| confirmed.at < before) {
            self.confirmed.pop_front();
        }
    }
}

impl Running {
    fn of(entry: &Entry, command: &str, confirmed: &Confirmed) -> Self {
        Running {
            boot: entry.boot.clone(),
            pid: entry.pid,
            record: confirmed.record.clone(),
            login: confirmed.login.clone(),
            command: digest(command.as_bytes()),
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
    /// A record says that a session was opened: if it is one of sudo's, a command is confirmed by it. `is_old`: the log had
    /// what there is to tell of it, and may not have it any more.
    pub(super) fn confirm(&mut self, record: &Record, id: &str, is_old: bool) {
        if !matches!(record.service.as_str(), "sudo" | "sudo-i") {
            return;
        }
        let known = self.sessions.open_login(id).or_else(|| self.told.login(id)).map(str::to_owned);
        let confirmed = Confirmed {
            boot: sessions::boot(record),
            pid: record.process.pid,
            at: sessions::at(record).timestamp_micros(),
            by: record.ruser.clone().filter(|by| !by.is_empty()),
            login: known.unwrap_or_else(|| id.to_owned()),
            record: record.id.to_string(),
            is_told: self.told.has_asked(&record.id.to_string()),
            has_command: self.told.has_command(&record.id.to_string()),
        };
        let is_known = is_old || confirmed.has_command;
        let (now, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.commands.waiting)
            .into_iter()
            .partition(|waiting| confirmed.fits(&waiting.entry, &waiting.said.by));
        self.commands.waiting = left.into();
        if self.commands.confirmed.len() >= MOST {
            self.commands.confirmed.pop_front();
        }
        self.commands.confirmed.push_back(confirmed.clone());
        if now.is_empty() && !is_known {
            if self.commands.unheard.len() >= UNHEARD {
                self.tell_unheard();
            }
            self.commands.unheard.push_back(unheard(record, &confirmed));
        }
        for Waiting { said, entry, seen, .. } in now {
            self.command(&entry, said, Some(&confirmed), seen);
        }
    }

    /// sudo, or somebody who says so, says something.
    pub(super) fn sudo(&mut self, entry: Entry, mark: Mark, sure: bool, seen: bool) {
        self.commands.forget(entry.at);
        let Some(said) = sudo::read(&entry.message) else { return };
        let exit = said.command.as_deref().and_then(sudo::exit);
        let exit = exit.map(|(command, exit)| (command.to_owned(), exit));
        if self.told.has(Source::Journal, &entry.cursor) {
            // How it ends is to come, or is this.
            let ended = exit.and_then(|(command, _)| self.commands.ended(&entry, &command));
            let confirmed = self.commands.confirmation(&entry, &said.by).cloned();
            if let (None, Some(confirmed)) = (ended, confirmed) {
                self.commands.runs(&entry, said.command.as_deref(), &confirmed);
            }
            return;
        }
        // It has the process of one that is confirmed, so that it needs nothing else.
        if let Some((command, exit)) = &exit
            && let Some(running) = self.commands.ended(&entry, command)
        {
            return self.exited(&entry, said, command.clone(), exit.clone(), running);
        }
        // Of a long command the end is cut off, so that both entries begin alike.
        if entry.message.len() >= LONG
            && self.commands.ended(&entry, said.command.as_deref().unwrap_or_default()).is_some()
        {
            return;
        }
        if !sure && !self.is_called(&entry, &said.by) {
            self.unsure += 1;
            return;
        }
        if said.refused.is_some() {
            // No session confirms a refusal. Whoever forges one accuses nobody but themselves.
            if sure || seen {
                self.command(&entry, said, None, true);
            } else {
                self.unsure += 1;
            }
            return;
        }
        if let Some(confirmed) = self.commands.confirmation(&entry, &said.by).cloned() {
            self.commands.heard(&confirmed.record);
            return match exit {
                // The command was read in another life of the agent's.
                Some((command, exit)) if confirmed.has_command => {
                    self.exited(&entry, said, command, exit, Running::of(&entry, "", &confirmed));
                }
                _ if confirmed.is_told => {}
                _ => self.command(&entry, said, Some(&confirmed), seen),
            };
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
        let is_over = |waiting: &Waiting| waiting.entry.at + PATIENCE <= now;
        while self.commands.waiting.front().is_some_and(is_over) {
            let Some(Waiting { said, entry, sure, seen, .. }) = self.commands.waiting.pop_front() else {
                break;
            };
            let is_end = said.command.as_deref().and_then(sudo::exit).is_some();
            if is_end && self.commands.has_records {
                // Of a command that began before what is remembered.
                continue;
            }
            if !sure && (self.commands.has_records || !seen) {
                self.unsure += 1;
            } else {
                self.command(&entry, said, None, true);
            }
        }
        for unheard in &mut self.commands.unheard {
            unheard.since.get_or_insert(now);
        }
        let is_over = |unheard: &Unheard| unheard.since.is_some_and(|since| since + PATIENCE <= now);
        while self.commands.unheard.front().is_some_and(is_over) {
            self.tell_unheard();
        }
    }

    /// Tells of the oldest session that the journal says nothing of what its record says.
    fn tell_unheard(&mut self) {
        let Some(unheard) = self.commands.unheard.pop_front() else { return };
        for confirmed in &mut self.commands.confirmed {
            confirmed.is_told |= confirmed.record == unheard.record;
        }
        let sudo = Sudo {
            by: Account { name: unheard.by, uid: None },
            run_as: Some(Account { name: unheard.run_as, uid: unheard.run_as_uid }),
            group: None,
            command: None,
            asked: Some(unheard.command_line.unwrap_or_default()),
            record: None,
            directory: unheard.directory,
            tty: unheard.tty,
            pid: unheard.pid,
            ambiguous: None,
            outcome: SudoOutcome::Allowed,
            login: Some(unheard.login),
            boot: unheard.boot,
        };
        let event = Event::sudo_command(unheard.at, &sudo);
        let input = Input { source: Source::Records, id: asked_id(&unheard.record), from: None };
        self.events.push(event.made_of(input));
    }

    fn exited(
        &mut self,
        entry: &Entry,
        said: sudo::Said,
        command: String,
        exit: sudo::Exit,
        running: Running,
    ) {
        let exited = SudoExited {
            by: Account { name: said.by, uid: entry.uid },
            run_as: said.run_as.map(|name| Account { name, uid: None }),
            command,
            pid: entry.pid,
            code: exit.code,
            signal: exit.signal,
            login: running.login,
            boot: running.boot,
            record: running.record,
        };
        self.push_of_journal(Event::sudo_exited(entry.at, &exited), &entry.cursor);
    }

    /// `confirmed`: the session that it is of, where a record says so.
    fn command(&mut self, entry: &Entry, said: sudo::Said, confirmed: Option<&Confirmed>, seen: bool) {
        let login = confirmed.map_or_else(|| self.login_of(entry), |confirmed| Some(confirmed.login.clone()));
        if let Some(confirmed) = confirmed {
            self.commands.runs(entry, said.command.as_deref(), confirmed);
        }
        let is_unclear = said.is_ambiguous || !(seen || entry.uid == Some(0));
        let sudo = Sudo {
            by: Account { name: said.by, uid: entry.uid },
            run_as: said.run_as.map(|name| Account { name, uid: None }),
            group: said.group,
            command: said.command,
            asked: None,
            record: confirmed.map(|confirmed| confirmed.record.clone()),
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

fn unheard(record: &Record, confirmed: &Confirmed) -> Unheard {
    Unheard {
        record: confirmed.record.clone(),
        at: sessions::at(record),
        since: None,
        boot: confirmed.boot.clone(),
        pid: confirmed.pid,
        by: confirmed.by.clone().unwrap_or_default(),
        run_as: record.user.clone(),
        run_as_uid: record.uid,
        tty: record.tty.clone(),
        directory: record.directory.clone(),
        command_line: record.command_line.clone(),
        login: confirmed.login.clone(),
    }
}
