//! Commands of sudo. The journal says what they were; that it was sudo who said so, a record of PAM's has to confirm,
//! which only root can write: sudo keeps the caller's uid, and who has a user namespace of their own can have a program
//! called `/usr/bin/sudo` say anything. The record also says what sudo was asked for. That is told beside what sudo wrote,
//! and in its place where the journal does not have it, or says something that cannot be.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Account, Event, Input, Source, Sudo, SudoExited, SudoOutcome};
use hostward_records::Record;
use serde::{Deserialize, Serialize};

use super::{Engine, Mark};
use crate::journal::{Entry, sudo};
use crate::sessions;
use crate::told::{Told, asked_id};

/// How long after a command its session may begin, or before: modules of PAM may take their time.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// How long what the journal says is waited for while the journal cannot be read.
const WITHOUT_JOURNAL: TimeDelta = TimeDelta::minutes(10);
/// For how long the end of a command is waited for.
const DAY: TimeDelta = TimeDelta::days(1);
/// How many sessions of sudo are remembered.
const MOST: usize = 4096;
/// How many commands wait for their sessions, and how many bytes their entries may have together.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 8 << 20;
/// The longest entry that is read. sudo divides its own at 980 bytes, but for JSON.
const LONGEST: usize = 64 << 10;
/// From so many bytes on the entry that says how a command ended may be divided where the first was not.
const LONG: usize = 700;
/// How much of an entry is remembered.
const REMEMBERED: usize = 1024;

/// What is known of commands that is not told, or whose end is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commands {
    waiting: VecDeque<Waiting>,
    sessions: VecDeque<Session>,
    /// Whether the PAM module writes records here.
    pub has_records: bool,
    /// Whether the journal is being read.
    #[serde(skip)]
    pub is_followed: bool,
}

/// A session of sudo, as PAM's record says it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    record: String,
    boot: String,
    pid: u32,
    at: DateTime<Utc>,
    /// Who asked, where PAM knows.
    by: Option<String>,
    /// Their uid, once sudo spoke.
    by_uid: Option<u32>,
    run_as: String,
    run_as_uid: Option<u32>,
    tty: Option<String>,
    directory: Option<String>,
    command_line: Option<String>,
    /// The login that it is in.
    login: String,
    /// Since when there was nothing more to be read.
    since: Option<DateTime<Utc>>,
    state: State,
    /// What sudo wrote of the command, as far as it is remembered; empty where another life of the agent's read it.
    message: String,
    /// sudo went on in another entry.
    is_divided: bool,
    has_ended: bool,
}

/// What is told of a session's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Untold,
    /// What the record says.
    Asked,
    /// What sudo wrote.
    Written,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    said: sudo::Said,
    entry: Entry,
    mark: Mark,
    sure: bool,
    seen: bool,
    /// As of a session.
    is_divided: bool,
}

impl Commands {
    /// Those of a position, without what was told since.
    pub fn resumed(mut self, told: &Told) -> Self {
        self.waiting.retain(|waiting| !told.has(Source::Journal, &waiting.entry.cursor));
        for session in &mut self.sessions {
            if session.state == State::Untold {
                session.state = state(told, &session.record);
            }
        }
        self
    }

    pub fn first(&self) -> impl Iterator<Item = &Mark> {
        self.waiting.iter().map(|waiting| &waiting.mark)
    }

    pub fn due(&self) -> Option<DateTime<Utc>> {
        let unconfirmed = self.waiting.front().map(|waiting| waiting.entry.at + PATIENCE);
        let untold = self.sessions.iter().filter(|session| session.state == State::Untold);
        let unheard = untold.map(|session| match session.since {
            Some(since) => since + PATIENCE,
            None if self.is_followed => session.at,
            None => session.at + WITHOUT_JOURNAL,
        });
        unconfirmed.into_iter().chain(unheard).min()
    }

    fn of_process(&self, entry: &Entry) -> Option<usize> {
        self.sessions.iter().rposition(|session| session.is_of(entry))
    }

    fn confirmation(&self, entry: &Entry, by: &str) -> Option<usize> {
        self.sessions.iter().rposition(|session| session.fits(entry, by))
    }

    /// sudo goes on with what it said last.
    fn divide(&mut self, entry: &Entry, session: Option<usize>) {
        let is_it =
            |waiting: &&mut Waiting| waiting.entry.pid == entry.pid && waiting.entry.boot == entry.boot;
        if let Some(waiting) = self.waiting.iter_mut().rfind(is_it) {
            waiting.is_divided = true;
        } else if let Some(session) = session.and_then(|at| self.sessions.get_mut(at)) {
            session.is_divided = true;
        }
    }

    /// Forgets what no entry that is still to come can be about.
    fn forget(&mut self, at: DateTime<Utc>) {
        let is_recent = |session: &Session| session.at >= at - PATIENCE - PATIENCE;
        self.sessions.retain(|session| {
            session.state == State::Untold
                || !session.has_ended && session.at >= at - DAY
                || is_recent(session)
        });
    }

    fn wait(&mut self, waiting: Waiting) -> u64 {
        self.waiting.push_back(waiting);
        let mut dropped = 0;
        let bytes =
            |waiting: &VecDeque<Waiting>| waiting.iter().map(|w| w.entry.message.len()).sum::<usize>();
        while self.waiting.len() > WAITING || bytes(&self.waiting) > WAITING_BYTES {
            self.waiting.pop_front();
            dropped += 1;
        }
        dropped
    }
}

impl Session {
    fn of(record: &Record, login: String, state: State) -> Self {
        Session {
            record: record.id.to_string(),
            boot: sessions::boot(record),
            pid: record.process.pid,
            at: sessions::at(record),
            by: record.ruser.clone().filter(|by| !by.is_empty()),
            by_uid: None,
            run_as: record.user.clone(),
            run_as_uid: record.uid,
            tty: record.tty.clone(),
            directory: record.directory.clone(),
            command_line: record.command_line.clone(),
            login,
            since: None,
            state,
            message: String::new(),
            is_divided: false,
            has_ended: false,
        }
    }

    fn is_of(&self, entry: &Entry) -> bool {
        self.boot == entry.boot && self.pid == entry.pid
    }

    fn fits(&self, entry: &Entry, by: &str) -> bool {
        self.is_of(entry)
            && self.by.as_deref().is_none_or(|found| found == by)
            && (entry.at - self.at).abs() <= PATIENCE
    }

    /// What sudo wrote first is what its end is known by.
    fn remember(&mut self, entry: &Entry) {
        if self.message.is_empty() {
            self.message = remembered(&entry.message).to_owned();
            self.by_uid = entry.uid;
        }
    }

    /// Whether an entry that may say how a command ended is one about this one.
    fn ends_with(&self, head: &str) -> bool {
        self.state != State::Untold && !self.has_ended && self.message == remembered(head)
    }

    /// Whether an entry is the first part of one that says how it ended, and begins as the one of the command did.
    fn ends_in_parts_with(&self, message: &str) -> bool {
        let may_be = self.is_divided || self.message.len() >= LONG;
        let message = remembered(message);
        may_be
            && !self.has_ended
            && !self.message.is_empty()
            && (self.message == message || format!("{} ;", self.message).starts_with(message))
    }

    /// Whether what was asked for would look like an end by itself.
    fn may_look_like_an_end(&self) -> bool {
        self.command_line.as_deref().is_none_or(|text| text.contains("EXIT=") || text.contains(sudo::CUT))
    }

    /// Whether what sudo is said to have written is not what this session can be of: somebody else wrote it, or a directory
    /// or an argument looks like more than it is.
    fn contradicts(&self, said: &sudo::Said) -> bool {
        let is_plain = |path: &str| {
            path.len() < REMEMBERED / 2
                && path.starts_with('/')
                && path.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\')
                && !path.ends_with(" (deleted)")
        };
        let elsewhere = match (&self.directory, &said.directory) {
            (Some(directory), Some(written)) if is_plain(directory) => {
                directory != written && written != "unknown"
            }
            _ => false,
        };
        let another_user =
            said.run_as.as_ref().is_some_and(|user| !user.starts_with('#') && *user != self.run_as);
        let another_command = match (&self.command_line, &said.command) {
            (Some(asked), Some(command)) => !may_stand_for(asked, command),
            _ => false,
        };
        elsewhere || another_user || another_command
    }
}

/// Whether sudo may have run this when it was asked so: a program of that name, or a shell or an editor of its choice.
fn may_stand_for(asked: &str, command: &str) -> bool {
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let program = base(command.split(' ').next().unwrap_or_default());
    let is_choice = |word: &str| match word.strip_prefix('-') {
        Some(long) if long.starts_with('-') => ["-l", "-s", "-e"].iter().any(|start| long.starts_with(start)),
        Some(short) => short.contains(['i', 's', 'e']),
        None => false,
    };
    let is_quoted = command.starts_with(['\'', '"']) || program.contains(['\\', '#']);
    is_quoted
        || asked.contains(sudo::CUT)
        || asked.split(' ').any(|word| is_choice(word) || base(word) == program)
}

fn remembered(message: &str) -> &str {
    let end = (0..=REMEMBERED.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    message.get(..end.unwrap_or_default()).unwrap_or_default()
}

fn state(told: &Told, record: &str) -> State {
    match (told.has_asked(record), told.has_command(record)) {
        (true, _) => State::Asked,
        (false, true) => State::Written,
        (false, false) => State::Untold,
    }
}

impl Engine {
    /// A record says that a session was opened: if it is one of sudo's, a command is confirmed by it. `is_old`: the log had
    /// what there is to tell of it, and may not have it any more.
    pub(super) fn confirm(&mut self, record: &Record, id: &str, is_old: bool) {
        if !matches!(record.service.as_str(), "sudo" | "sudo-i") {
            return;
        }
        let login = self.sessions.open_login(id).or_else(|| self.told.login(id)).unwrap_or(id).to_owned();
        let state = match state(&self.told, &record.id.to_string()) {
            State::Untold if is_old => State::Written,
            state => state,
        };
        let session = Session::of(record, login, state);
        // Their process is another one by now.
        while let Some(at) = self
            .commands
            .sessions
            .iter()
            .position(|other| other.pid == session.pid && other.boot == session.boot)
        {
            self.leave(at);
        }
        if self.commands.sessions.len() >= MOST {
            let over = self.commands.sessions.iter().position(|other| other.has_ended);
            self.leave(over.unwrap_or(0));
        }
        let (now, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.commands.waiting)
            .into_iter()
            .partition(|waiting| session.fits(&waiting.entry, &waiting.said.by));
        self.commands.waiting = left.into();
        self.commands.sessions.push_back(session);
        let at = self.commands.sessions.len() - 1;
        for Waiting { said, entry, seen, is_divided, .. } in now {
            self.of_session(at, &entry, said, seen);
            if let Some(session) = self.commands.sessions.get_mut(at) {
                session.is_divided |= is_divided;
            }
        }
    }

    /// A session is not remembered any more.
    fn leave(&mut self, at: usize) {
        if self.commands.sessions.get(at).is_some_and(|session| session.state == State::Untold) {
            self.tell_asked(at);
        }
        self.commands.sessions.remove(at);
    }

    /// sudo, or somebody who says so, says something.
    pub(super) fn sudo(&mut self, entry: Entry, mark: Mark, sure: bool, seen: bool) {
        self.commands.forget(entry.at);
        if entry.message.len() > LONGEST {
            self.unsure += 1;
            return;
        }
        let of_process = self.commands.of_process(&entry);
        if sudo::is_continued(&entry.message) {
            self.commands.divide(&entry, of_process);
            return;
        }
        let Some(said) = sudo::read(&entry.message) else { return };
        let end = sudo::end(&entry.message);
        if self.told.has(Source::Journal, &entry.cursor) {
            if let Some(session) = of_process.and_then(|at| self.commands.sessions.get_mut(at)) {
                let is_end =
                    end.is_some_and(|(head, _)| session.message.is_empty() || session.ends_with(head));
                if is_end && !session.may_look_like_an_end() {
                    session.has_ended = true;
                } else {
                    session.remember(&entry);
                }
            }
            return;
        }
        if let Some(at) = of_process
            && let Some(session) = self.commands.sessions.get_mut(at)
        {
            if let Some((head, exit)) = &end
                && session.ends_with(head)
            {
                return self.exited(at, &entry, sudo::command(head), exit.clone());
            }
            if session.ends_in_parts_with(&entry.message) {
                session.has_ended = true;
                return;
            }
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
        match self.commands.confirmation(&entry, &said.by) {
            Some(at) => self.of_session(at, &entry, said, seen),
            None => {
                self.unsure +=
                    self.commands.wait(Waiting { said, entry, mark, sure, seen, is_divided: false })
            }
        }
    }

    /// sudo says something of a session.
    fn of_session(&mut self, at: usize, entry: &Entry, said: sudo::Said, seen: bool) {
        let Some(session) = self.commands.sessions.get_mut(at) else { return };
        let end = sudo::end(&entry.message).filter(|_| !session.may_look_like_an_end());
        match (end, session.state) {
            // The journal lost what it ends, or another life of the agent's read it.
            (Some((head, exit)), state) if session.message.is_empty() => {
                if state == State::Untold {
                    self.tell_asked(at);
                }
                self.exited(at, entry, sudo::command(head), exit);
            }
            // It comes too late.
            (_, State::Asked) => session.remember(entry),
            // A second one is a command's within the command, where the operator has those logged.
            (_, State::Untold | State::Written) => self.command(entry, said, Some(at), seen),
        }
    }

    /// What was not confirmed in time is not told, unless root said it of root, or nothing can be confirmed: where the module
    /// writes no records at all.
    pub(super) fn give_up_commands(&mut self, now: DateTime<Utc>) {
        let is_over = |waiting: &Waiting| waiting.entry.at + PATIENCE <= now;
        while self.commands.waiting.front().is_some_and(is_over) {
            let Some(Waiting { said, entry, sure, seen, .. }) = self.commands.waiting.pop_front() else {
                break;
            };
            let has_records = self.commands.has_records;
            if has_records && sudo::end(&entry.message).is_some() {
                // Of a command that began before what is remembered.
                continue;
            }
            let is_roots = sure && said.by == "root";
            if is_roots || (!has_records && (sure || seen)) {
                self.command(&entry, said, None, true);
            } else {
                self.unsure += 1;
            }
        }
        let is_followed = self.commands.is_followed;
        for session in &mut self.commands.sessions {
            if is_followed || session.at + WITHOUT_JOURNAL <= now {
                session.since.get_or_insert(now);
            }
        }
        let is_over = |session: &Session| {
            session.state == State::Untold && session.since.is_some_and(|since| since + PATIENCE <= now)
        };
        while let Some(at) = self.commands.sessions.iter().position(is_over) {
            self.tell_asked(at);
        }
    }

    /// Tells what the record says of a session.
    fn tell_asked(&mut self, at: usize) {
        let Some(session) = self.commands.sessions.get_mut(at) else { return };
        session.state = State::Asked;
        let session = session.clone();
        let sudo = Sudo {
            by: Account { name: session.by.unwrap_or_default(), uid: None },
            run_as: Some(Account { name: session.run_as, uid: session.run_as_uid }),
            group: None,
            command: None,
            asked: Some(session.command_line.unwrap_or_default()),
            record: None,
            directory: session.directory,
            tty: session.tty,
            pid: session.pid,
            ambiguous: None,
            outcome: SudoOutcome::Allowed,
            login: Some(session.login),
            boot: session.boot,
        };
        let event = Event::sudo_command(session.at, &sudo);
        let input = Input { source: Source::Records, id: asked_id(&session.record), from: None };
        self.events.push(event.made_of(input));
    }

    fn exited(&mut self, at: usize, entry: &Entry, command: &str, exit: sudo::Exit) {
        let Some(session) = self.commands.sessions.get_mut(at) else { return };
        session.has_ended = true;
        // Who it was is what the record says, whatever sudo's process says of itself by now.
        let exited = SudoExited {
            by: Account { name: session.by.clone().unwrap_or_default(), uid: session.by_uid },
            run_as: Some(Account { name: session.run_as.clone(), uid: session.run_as_uid }),
            command: command.to_owned(),
            pid: session.pid,
            code: exit.code,
            signal: exit.signal,
            login: session.login.clone(),
            boot: session.boot.clone(),
            record: session.record.clone(),
        };
        self.push_of_journal(Event::sudo_exited(entry.at, &exited), &entry.cursor);
    }

    /// `session`: the one that it is of, where a record says so.
    fn command(&mut self, entry: &Entry, said: sudo::Said, session: Option<usize>, seen: bool) {
        let session = session.and_then(|at| self.commands.sessions.get_mut(at)).map(|session| {
            session.state = State::Written;
            session.remember(entry);
            session.by_uid = entry.uid;
            session.clone()
        });
        let login =
            session.as_ref().map_or_else(|| self.login_of(entry), |session| Some(session.login.clone()));
        let said_run_as = said.run_as.clone().map(|name| Account { name, uid: None });
        let contradicted = session.as_ref().filter(|session| session.contradicts(&said));
        let is_unclear = said.is_ambiguous || contradicted.is_some() || !(seen || entry.uid == Some(0));
        let (command, run_as, directory) = match contradicted {
            Some(session) if session.command_line.is_some() => {
                let user = Account { name: session.run_as.clone(), uid: session.run_as_uid };
                (None, Some(user), session.directory.clone())
            }
            _ => (said.command, said_run_as, said.directory),
        };
        let sudo = Sudo {
            by: Account { name: said.by, uid: entry.uid },
            run_as,
            group: said.group,
            command,
            asked: session.as_ref().and_then(|session| session.command_line.clone()),
            record: session.map(|session| session.record),
            directory,
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
