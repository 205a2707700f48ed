//! Whether the log is whole: numbers without a gap, each line's hash in the one after it.
//!
//! Whoever can write all of the log can also compute it anew from some point on: only somebody else who has the hash of a
//! later event can tell. So a chain that is whole says that nothing is damaged, and a [`Head`] that somebody else has
//! says that everything up to it is as it was.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::files::{self, FilesError, Head};
use crate::line::{GENESIS, Place, digest, link};

/// What is to be said of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many events were looked at.
    pub events: u64,
    /// The number of the oldest; those before it are gone.
    pub first: Option<u64>,
    /// The newest.
    pub last: Option<Head>,
    /// Behind the newest there is a part of a line: it is being written, or a crash left it.
    pub is_unfinished: bool,
    /// The first place that is not as it was written.
    pub difference: Option<Difference>,
    /// Whether the log still has what `acknowledged` is of, and it is the same.
    pub reaches_acknowledged: bool,
    /// What the backend has, where it has something.
    pub acknowledged: Option<Head>,
}

/// A place that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What differs.
    pub what: What,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The line is no event.
    NoEvent,
    /// Another event should be there.
    Sequence {
        /// This one.
        expected: u64,
        /// This one is.
        found: u64,
    },
    /// The event before it was changed, or this one was written by somebody else.
    Chain {
        /// This one.
        sequence: u64,
    },
    /// The backend has another event with this number.
    Acknowledged {
        /// This one.
        sequence: u64,
    },
    /// The backend has events that are not there any more.
    Missing {
        /// Up to this one.
        acknowledged: u64,
        /// The log ends with this one.
        last: u64,
    },
}

/// Reads the whole log in `dir`, up to the first difference, and holds it against what the backend has.
pub fn verify(dir: &Path) -> Result<Verdict, FilesError> {
    verify_against(dir, files::acknowledged(dir)?)
}

/// The same, held against what the backend says itself.
pub fn verify_against(dir: &Path, acknowledged: Option<Head>) -> Result<Verdict, FilesError> {
    let mut verdict = Verdict {
        events: 0,
        first: None,
        last: None,
        is_unfinished: false,
        difference: None,
        reaches_acknowledged: false,
        acknowledged,
    };
    let mut place: Option<Place> = None;
    let files = files::open_all(dir)?;
    let mut end = (PathBuf::new(), 0);
    for file in &files {
        let mut number = 0;
        let is_newest = file.first.is_none();
        files::lines(BufReader::new(&file.file), |raw| {
            number += 1;
            if !raw.ended && is_newest {
                verdict.is_unfinished = true;
                return true;
            }
            let what = match link(raw.bytes).filter(|_| raw.ended) {
                None => Some(What::NoEvent),
                Some(event) => {
                    let what =
                        difference(&event, place.as_ref(), (number == 1).then_some(file.first).flatten())
                            .or_else(|| against(&mut verdict, event.sequence, raw.bytes));
                    if what.is_none() {
                        verdict.events += 1;
                        verdict.first.get_or_insert(event.sequence);
                        let next = Place::after(event.sequence, raw.bytes);
                        verdict.last = Some(Head { sequence: event.sequence, hash: next.previous.clone() });
                        place = Some(next);
                    }
                    what
                }
            };
            verdict.difference = what.map(|what| Difference { path: file.path.clone(), line: number, what });
            verdict.difference.is_none()
        })
        .map_err(|source| FilesError::Read { path: file.path.clone(), source })?;
        if verdict.difference.is_some() {
            return Ok(verdict);
        }
        end = (file.path.clone(), number);
    }
    verdict.difference = missing(&verdict).map(|what| Difference { path: end.0, line: end.1, what });
    Ok(verdict)
}

fn difference(event: &crate::line::Link, place: Option<&Place>, named: Option<u64>) -> Option<What> {
    let expected = match (place, named) {
        (Some(place), _) => place.sequence,
        (None, Some(named)) => named,
        (None, None) => event.sequence,
    };
    if event.sequence != expected {
        return Some(What::Sequence { expected, found: event.sequence });
    }
    let previous = match place {
        Some(place) => Some(place.previous.as_str()),
        None if event.sequence == 1 => Some(GENESIS),
        None => None,
    };
    let is_chained = previous.is_none_or(|previous| previous == event.previous);
    (!is_chained).then_some(What::Chain { sequence: event.sequence })
}

fn against(verdict: &mut Verdict, sequence: u64, line: &[u8]) -> Option<What> {
    let head = verdict.acknowledged.as_ref().filter(|head| head.sequence == sequence)?;
    if head.hash != digest(line) {
        return Some(What::Acknowledged { sequence });
    }
    verdict.reaches_acknowledged = true;
    None
}

fn missing(verdict: &Verdict) -> Option<What> {
    let acknowledged = verdict.acknowledged.as_ref()?.sequence;
    let last = verdict.last.as_ref().map_or(0, |head| head.sequence);
    (last < acknowledged).then_some(What::Missing { acknowledged, last })
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            What::NoEvent => f.write_str("the line is no event"),
            What::Sequence { expected, found } => {
                write!(f, "event {expected} should be here, and it is event {found}")
            }
            What::Chain { sequence } => write!(
                f,
                "event {sequence} does not follow from the line before it: that one was changed, or this one was put here"
            ),
            What::Acknowledged { sequence } => {
                write!(f, "the backend has another event {sequence} than this one: the log was rewritten")
            }
            What::Missing { acknowledged, last } => {
                write!(
                    f,
                    "the backend has events up to {acknowledged}, and the log ends with {last}: events were removed"
                )
            }
        }
    }
}
