//! Which events are for which backend: `delivery.json`, and what follows from it for a host that enrolls anew.

use std::path::Path;

use hostward_events::{FilesError, Reader, Record, host_source};
use serde::{Deserialize, Serialize};

use crate::identity::Enrollment;

/// How much of the log is read at once.
const PORTION: usize = 1 << 20;

/// `delivery.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The host's id at the backend.
    pub host_id: String,
    /// The backend.
    pub url: String,
    /// Project id.
    pub project: String,
    /// The first event that is for it.
    pub from: u64,
    /// How many events it will never take.
    #[serde(default)]
    pub refused: u64,
    /// Which of them it does not know to be passed over, as no later one was delivered.
    #[serde(default)]
    pub skipped: Vec<u64>,
}

impl Delivered {
    /// For an enrollment, from an event on.
    pub fn new(enrollment: &Enrollment, from: u64) -> Self {
        Delivered {
            host_id: enrollment.host_id.clone(),
            url: enrollment.url.clone(),
            project: enrollment.project.clone(),
            from,
            refused: 0,
            skipped: Vec::new(),
        }
    }

    /// Whether it is of the same project of the same backend, as whatever host.
    pub fn is_of(&self, enrollment: &Enrollment) -> bool {
        self.url == enrollment.url && self.project == enrollment.project
    }
}

/// The first event that is for the backend of `enrollment`, which got none yet. What was recorded before the first
/// enrollment is for it; what was recorded as another host, for another project maybe, is not, nor is what lies between.
pub fn first_for(log: &Path, enrollment: &Enrollment) -> Result<u64, FilesError> {
    let ours = host_source(&enrollment.host_id);
    let mut reader = Reader::new(log);
    let (mut next, mut first, mut own) = (1, None, None);
    let mut was_other = false;
    loop {
        let batch = match reader.read_from(next, PORTION) {
            Err(FilesError::Absent { .. }) => break,
            batch => batch?,
        };
        if batch.lines.is_empty() {
            break;
        }
        for (line, number) in batch.lines.iter().zip(&batch.numbers) {
            first.get_or_insert(*number);
            let Some(record) = Record::read(line) else { continue };
            if record.source == ours {
                own.get_or_insert(*number);
            } else if record.source.starts_with(&host_source("")) {
                was_other = true;
                own = None;
            }
        }
        next = batch.next;
    }
    Ok(if was_other { own.unwrap_or(next) } else { first.unwrap_or(1) })
}
