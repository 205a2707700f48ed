//! What the log of events has already, so that nothing is made twice.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use hostward_events::{Kind, Record, Source, digest};

const GAP: &str = "gap:";
const COMMAND: &str = "command:";
const ASKED: &str = "asked:";

/// What was made events of.
#[derive(Debug, Default)]
pub struct Told {
    /// Hashes of the ids of records and entries.
    inputs: HashSet<u128>,
    /// Series of refused logins, and the last of each.
    series: HashMap<String, DateTime<Utc>>,
    /// Where to read the journal from, and whether that is told itself.
    journal: Option<(String, bool)>,
    /// What happened before was told, in events that are gone by now.
    gone: Option<DateTime<Utc>>,
    /// The logins that sessions were in, by the sessions' own ids.
    logins: HashMap<String, String>,
    /// The lost records that are told, of which boot.
    lost: Option<(String, u64)>,
}

impl Told {
    /// An event of the log, in their order.
    pub fn learn(&mut self, record: &Record) {
        let Some(source) = record.input else { return };
        if let Some((boot, count)) = lost_of(&record.inputid) {
            self.lost = Some((boot.to_owned(), count));
            return;
        }
        self.inputs.insert(hash(source, &record.inputid));
        if source == Source::Journal && !record.inputid.starts_with(GAP) {
            let is_told = record.inputfrom.is_empty();
            let from = if is_told { &record.inputid } else { &record.inputfrom };
            self.journal = Some((from.clone(), is_told));
        }
        if record.kind == Kind::SessionOpened.name()
            && let Some(session) = record.data["unmapped"]["session"]["id"].as_str()
            && !record.sessionid.is_empty()
        {
            self.logins.insert(session.to_owned(), record.sessionid.clone());
        }
        if record.kind == Kind::SudoCommand.name()
            && let Some(id) = record.data["unmapped"]["record"].as_str()
        {
            self.inputs.insert(hash(Source::Records, &format!("{COMMAND}{id}")));
        }
        if record.kind == Kind::LoginDenied.name()
            && let Some(series) = record.data["unmapped"]["series"].as_str()
        {
            let until = self.series.entry(series.to_owned()).or_insert(record.time);
            *until = record.time.max(*until);
        }
    }

    /// Whether there is an event that was made of this.
    pub fn has(&self, source: Source, id: &str) -> bool {
        self.inputs.contains(&hash(source, id))
    }

    /// Whether there is an event of the command that this record of a session of sudo confirms.
    pub(crate) fn has_command(&self, record: &str) -> bool {
        self.has(Source::Records, &format!("{COMMAND}{record}")) || self.has_asked(record)
    }

    /// Whether there is one that was made of the record alone.
    pub(crate) fn has_asked(&self, record: &str) -> bool {
        self.has(Source::Records, &asked_id(record))
    }

    /// The login that a session was in, which may be over.
    pub(crate) fn login(&self, session: &str) -> Option<&str> {
        self.logins.get(session).map(String::as_str)
    }

    /// Up to when a series of refused logins is told.
    pub fn series(&self, series: &str) -> Option<DateTime<Utc>> {
        self.series.get(series).copied()
    }

    /// Where the journal is to be read from, as far as the log knows, and whether that entry is told itself.
    pub(crate) fn journal(&self) -> Option<(&str, bool)> {
        self.journal.as_ref().map(|(cursor, is_told)| (cursor.as_str(), *is_told))
    }

    /// The log no longer has what was before this, the oldest event that it has. For whoever has no position to go on from.
    pub fn begins_with(&mut self, oldest: &Record) {
        self.gone = (oldest.sequence > 1).then_some(oldest.time);
    }

    /// Whether the log had events of this time, and no longer has.
    pub(crate) fn is_gone(&self, at: DateTime<Utc>) -> bool {
        self.gone.is_some_and(|oldest| at < oldest)
    }

    /// How many records of a boot that were lost are told.
    pub fn lost(&self, boot: &str) -> u64 {
        self.lost.as_ref().filter(|(found, _)| found == boot).map_or(0, |(_, count)| *count)
    }
}

/// What an event was made of that tells of a gap before this entry.
pub(crate) fn gap_id(cursor: &str) -> String {
    format!("{GAP}{cursor}")
}

/// What the event was made of that tells of a command of sudo without what sudo wrote of it.
pub(crate) fn asked_id(record: &str) -> String {
    format!("{ASKED}{record}")
}

/// What an event that tells of lost records was made of: so many of this boot.
pub(crate) fn lost_id(boot: &str, count: u64) -> String {
    format!("lost:{boot}:{count}")
}

fn lost_of(id: &str) -> Option<(&str, u64)> {
    let (boot, count) = id.strip_prefix("lost:")?.split_once(':')?;
    Some((boot, count.parse().ok()?))
}

fn hash(source: Source, id: &str) -> u128 {
    let text = digest(format!("{source:?}\n{id}").as_bytes());
    u128::from_str_radix(&text[..32], 16).unwrap_or_default()
}
