//! Where reading goes on. It only spares reading again: what is lost with it, the log knows.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::sudo::Commands;
use super::{Engine, Mark};
use crate::connections::Connections;
use crate::denials::Denials;
use crate::records::{FilePosition, Place, Records};
use crate::sessions::Sessions;

/// Where reading goes on, and what is known by then. The log has all events up to `sequence`, and more may be in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// The last event of the log that is known to have been written.
    pub sequence: u64,
    /// From when on the journal counts if nothing of it was read: seconds since 1970.
    pub since: i64,
    /// The records that the module says are lost, of which boot.
    pub lost: (String, u64),
    /// How far each file of records was read.
    pub records: Vec<FilePosition>,
    /// Open sessions.
    pub sessions: Sessions,
    /// The last entry of the journal that was read.
    pub(super) mark: Option<Mark>,
    pub(super) record_denials: Denials<Place>,
    pub(super) journal_denials: Denials<Mark>,
    pub(super) connections: Connections,
    pub(super) commands: Commands,
    /// Processes whose users PAM refused lately, by boot.
    pub(super) denied: VecDeque<(String, u32)>,
    pub(super) unsure: u64,
    pub(super) unsure_told: Option<DateTime<Utc>>,
}

impl Engine {
    /// The position once the log has all events that were taken, the last of them numbered `sequence`.
    pub fn position(&self, records: &Records, sequence: u64, since: i64, lost: (String, u64)) -> Position {
        Position {
            sequence,
            since,
            lost,
            records: records.positions(),
            sessions: self.sessions.clone(),
            mark: self.mark.clone(),
            record_denials: self.records.clone(),
            journal_denials: self.journal.clone(),
            connections: self.connections.clone(),
            commands: self.commands.clone(),
            denied: self.denied.clone(),
            unsure: self.unsure,
            unsure_told: self.unsure_told,
        }
    }
}
