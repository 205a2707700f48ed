//! Events of hosts, each kept once: what a host's log is held against.

mod chain;
mod file;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use hostward_protocol::events::{Acknowledgement, Head, RefusedEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Registry, RegistryError};
use crate::digest::sha256_hex;
pub use chain::{Break, Gap};
use chain::{Chain, Link};
use file::{EventFile, Line};

/// How many requests are remembered, to be looked at and to be known again.
const MOST_REQUESTS: usize = 10_000;
/// How many refusals are told in an answer.
const MOST_REFUSED: usize = 100;

/// What a backend must read of an event to keep it in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Seen {
    specversion: String,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    sequence: String,
    prevhash: String,
}

/// A request that brought events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// When.
    pub at: DateTime<Utc>,
    /// Number of the first event in it.
    pub first: u64,
    /// And of the last.
    pub last: u64,
    /// Bytes of the body.
    pub bytes: usize,
    /// How many of the events had been brought before.
    pub had: usize,
    /// The request's idempotency key and the hash of its body.
    pub request: Option<(String, String)>,
}

/// How it stands with a host's events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventState {
    /// Up to which every one is there.
    pub head: Option<Head>,
    /// How many are kept.
    pub kept: u64,
    /// Numbers of those that were refused.
    pub refused: Vec<u64>,
    /// Numbers that the host said it has no events for.
    pub gaps: Vec<Gap>,
    /// Places at which the chain is broken.
    pub breaks: Vec<Break>,
    /// The requests that brought them, the oldest first.
    pub deliveries: VecDeque<Delivery>,
}

/// Why a batch is not taken.
pub enum BatchRefusal {
    /// Its element with this index is no event.
    NoEvent(usize),
    /// An event does not follow the one before it in the batch.
    OutOfOrder(u64),
    /// The idempotency key was used for another batch.
    OtherRequest,
    /// Another event with this number was taken before.
    Diverged(u64),
    /// An event is one that is never taken, and the batch with it.
    Unacceptable(u64),
}

/// What is not taken although it is an event.
#[derive(Clone, Debug, Default)]
pub struct Distaste {
    /// Events whose type begins so.
    pub kind: Option<String>,
    /// Whether the whole batch is refused for one of them.
    pub whole: bool,
}

/// A batch as it came.
pub struct Batch<'a> {
    /// The body: a JSON array of events.
    pub body: &'a [u8],
    /// The event that the host has before the first of these; the number before where absent.
    pub after: Option<u64>,
    /// Idempotency key.
    pub key: Option<String>,
}

#[derive(Default)]
pub(super) struct HostEvents {
    chain: Chain,
    ids: HashSet<String>,
    refused: Vec<u64>,
    deliveries: VecDeque<Delivery>,
    file: Option<EventFile>,
}

impl Registry {
    /// Takes a batch of events of a host.
    pub fn add_events(
        &mut self,
        host: &str,
        batch: Batch<'_>,
        distaste: &Distaste,
        now: DateTime<Utc>,
    ) -> Result<Result<Acknowledgement, BatchRefusal>, RegistryError> {
        let path = self.event_path(host);
        let events = opened(&mut self.events, host, path)?;
        events.add(batch, distaste, now)
    }

    /// The newest event up to which every one of a host is there.
    pub fn event_head(&mut self, host: &str) -> Result<Option<Head>, RegistryError> {
        let path = self.event_path(host);
        Ok(opened(&mut self.events, host, path)?.chain.head())
    }

    /// How it stands with a host's events.
    pub fn event_state(&mut self, host: &str) -> Result<EventState, RegistryError> {
        let path = self.event_path(host);
        let events = opened(&mut self.events, host, path)?;
        Ok(EventState {
            head: events.chain.head(),
            kept: events.ids.len() as u64,
            refused: events.refused.clone(),
            gaps: events.chain.gaps(),
            breaks: events.chain.breaks(),
            deliveries: events.deliveries.clone(),
        })
    }

    /// The events of a host, in the order in which they came. They outlive the host.
    pub fn events(&self, host: &str) -> Result<Vec<Box<RawValue>>, RegistryError> {
        EventFile::read(&self.event_path(host))
    }

    fn event_path(&self, host: &str) -> PathBuf {
        self.directory.join("events").join(format!("{host}.jsonl"))
    }
}

fn opened<'a>(
    all: &'a mut HashMap<String, HostEvents>,
    host: &str,
    path: PathBuf,
) -> Result<&'a mut HostEvents, RegistryError> {
    if !all.contains_key(host) {
        let mut events = HostEvents::default();
        let file = EventFile::open(path, |line| events.replay(line))?;
        events.file = Some(file);
        all.insert(host.to_owned(), events);
    }
    Ok(all.entry(host.to_owned()).or_default())
}

impl HostEvents {
    /// Takes what an earlier run had taken.
    fn replay(&mut self, line: Line) {
        match line {
            Line::Event(raw) => {
                if let Some((number, seen)) = read(&raw) {
                    self.chain.put(number, link(&raw, &seen));
                    self.ids.insert(seen.id);
                }
            }
            Line::Refused(raw) => {
                if let Some((number, seen)) = read(&raw) {
                    self.chain.put(number, link(&raw, &seen));
                    self.refused.push(number);
                }
            }
            Line::Gap(gap) => self.chain.skip(gap),
        }
    }

    fn add(
        &mut self,
        batch: Batch<'_>,
        distaste: &Distaste,
        now: DateTime<Utc>,
    ) -> Result<Result<Acknowledgement, BatchRefusal>, RegistryError> {
        let request = batch.key.map(|key| (key, sha256_hex(batch.body)));
        if let Some((key, body)) = &request {
            let known = self.deliveries.iter().filter_map(|delivery| delivery.request.as_ref());
            if known.clone().any(|(old, hash)| old == key && hash != body) {
                return Ok(Err(BatchRefusal::OtherRequest));
            }
        }
        let elements: Vec<Box<RawValue>> = match serde_json::from_slice(batch.body) {
            Ok(elements) => elements,
            Err(_) => return Ok(Err(BatchRefusal::NoEvent(0))),
        };
        let mut events = Vec::new();
        for (index, raw) in elements.into_iter().enumerate() {
            let Some((number, seen)) = read(&raw) else {
                return Ok(Err(BatchRefusal::NoEvent(index)));
            };
            if events.last().is_some_and(|(last, _, _): &(u64, _, _)| number != last + 1) {
                return Ok(Err(BatchRefusal::OutOfOrder(number)));
            }
            events.push((number, raw, seen));
        }
        let (Some((first, ..)), Some((last, ..))) = (events.first(), events.last()) else {
            return Ok(Err(BatchRefusal::NoEvent(0)));
        };
        let (first, last) = (*first, *last);
        if batch.after.is_some_and(|after| after >= first) {
            return Ok(Err(BatchRefusal::OutOfOrder(first)));
        }
        let differs = |(number, raw, seen): &&(u64, Box<RawValue>, Seen)| {
            self.chain.get(*number).is_some_and(|link| *link != self::link(raw, seen))
        };
        if let Some((number, ..)) = events.iter().find(differs) {
            return Ok(Err(BatchRefusal::Diverged(*number)));
        }
        let unwanted = |seen: &Seen| distaste.kind.as_ref().is_some_and(|kind| seen.kind.starts_with(kind));
        if let Some((number, ..)) = events.iter().find(|(.., seen)| distaste.whole && unwanted(seen)) {
            return Ok(Err(BatchRefusal::Unacceptable(*number)));
        }

        let (mut lines, mut had) = (Vec::new(), 0);
        if let Some(gap) = batch.after.and_then(|after| Gap::between(after, first))
            && !self.chain.gaps().contains(&gap)
        {
            self.chain.skip(gap);
            lines.push(Line::Gap(gap));
        }
        let mut refused = Vec::new();
        for (number, raw, seen) in events {
            if unwanted(&seen) && refused.len() < MOST_REFUSED {
                let detail = format!("events of the type `{}` are not taken here", seen.kind);
                refused.push(RefusedEvent { sequence: number, detail });
            }
            if self.chain.get(number).is_some() {
                had += 1;
                continue;
            }
            self.chain.put(number, link(&raw, &seen));
            if unwanted(&seen) {
                self.refused.push(number);
                lines.push(Line::Refused(raw));
            } else {
                self.ids.insert(seen.id);
                lines.push(Line::Event(raw));
            }
        }
        if let Some(file) = &mut self.file {
            file.append(&lines)?;
        }
        if self.deliveries.len() == MOST_REQUESTS {
            self.deliveries.pop_front();
        }
        self.deliveries.push_back(Delivery { at: now, first, last, bytes: batch.body.len(), had, request });
        Ok(Ok(Acknowledgement { acknowledged: self.chain.head(), refused }))
    }
}

fn read(raw: &RawValue) -> Option<(u64, Seen)> {
    let seen: Seen = serde_json::from_str(raw.get()).ok()?;
    let is_number = seen.sequence.len() == 20 && seen.sequence.bytes().all(|byte| byte.is_ascii_digit());
    let number = seen.sequence.parse().ok().filter(|number| is_number && *number > 0)?;
    (seen.specversion == "1.0" && !seen.id.is_empty()).then_some((number, seen))
}

/// The hash is that of the bytes as they came, which are those of the line in the host's log.
fn link(raw: &RawValue, seen: &Seen) -> Link {
    Link { hash: sha256_hex(raw.get().as_bytes()), previous: seen.prevhash.clone() }
}
