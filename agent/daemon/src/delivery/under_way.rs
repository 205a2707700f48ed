//! What is being sent, how far it is, and how fast it goes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hostward_events::{Head, Reader};

use super::SPACING;
use super::lanes::{Lane, Lanes, MOST, Span};
use super::record::Delivered;
use super::send::Sent;
use crate::job::Job;

/// The most bytes in a batch.
const MAX_BYTES: usize = 512 << 10;
/// A slow backend, or a slow line, gets no smaller ones than this.
const MIN_BYTES: usize = 16 << 10;
/// A batch that took longer than this makes the next one smaller.
const SLOW: Duration = Duration::from_secs(2);
/// How long the first event waits for others of the same moment.
const GATHER: Duration = Duration::from_millis(200);
/// The same in the second lane while it is full.
const BRISK: Duration = Duration::from_millis(250);
/// The longest rest while there is much to catch up with.
const MAX_REST: Duration = Duration::from_secs(30);
/// How many heads are remembered.
const KNOWN: usize = 8;

/// What is sent, once it is known where to begin.
pub struct UnderWay {
    pub delivered: Delivered,
    pub lanes: Lanes,
    pub acknowledged: Option<Head>,
    /// It is not written down yet that this is acknowledged.
    pub unsaid: bool,
    pub known: VecDeque<Head>,
    pub backlog: Way,
    pub live: Way,
    pub bytes: usize,
    /// The most that the backend reads, as far as it is known.
    pub ceiling: usize,
    pub most: u64,
    /// Where the log ended when it turned out to have lost what is to be sent.
    pub gone: Option<u64>,
}

/// One of the lanes at work.
pub struct Way {
    pub job: Job<Sent>,
    pub reader: Option<Reader>,
    pub at: Instant,
}

impl UnderWay {
    /// Nothing is sent yet; `unsaid` is whether what is acknowledged is to be written down.
    pub fn new(
        delivered: Delivered,
        lanes: Lanes,
        acknowledged: Option<Head>,
        unsaid: bool,
        now: Instant,
    ) -> Self {
        let way = || Way { job: Job::default(), reader: None, at: now };
        UnderWay {
            delivered,
            lanes,
            acknowledged,
            unsaid,
            known: VecDeque::new(),
            backlog: way(),
            live: way(),
            bytes: MAX_BYTES,
            ceiling: MAX_BYTES,
            most: MOST,
            gone: None,
        }
    }

    /// Batches were too much for the backend or the way to it.
    pub fn send_less(&mut self) {
        self.bytes = (self.bytes / 2).max(MIN_BYTES.min(self.ceiling));
    }

    pub fn due(&self) -> Option<Instant> {
        let at = |lane| self.next(lane).map(|_| self.way(lane).at);
        [at(Lane::Live), at(Lane::Backlog)].into_iter().flatten().min()
    }

    pub fn next(&self, lane: Lane) -> Option<Span> {
        if self.way(lane).job.is_running() || self.gone == Some(self.lanes.end()) {
            return None;
        }
        self.lanes.next(lane)
    }

    pub fn way(&self, lane: Lane) -> &Way {
        match lane {
            Lane::Backlog => &self.backlog,
            Lane::Live => &self.live,
        }
    }

    pub fn way_mut(&mut self, lane: Lane) -> &mut Way {
        match lane {
            Lane::Backlog => &mut self.backlog,
            Lane::Live => &mut self.live,
        }
    }

    pub fn extend(&mut self, end: u64, now: Instant) {
        for lane in [Lane::Live, Lane::Backlog] {
            let was_idle = self.lanes.next(lane).is_none();
            let mut after = self.lanes.clone();
            after.extend(end);
            if was_idle && after.next(lane).is_some() {
                let way = self.way_mut(lane);
                way.at = way.at.max(now + GATHER);
            }
        }
        self.lanes.extend(end);
    }

    pub fn remember(&mut self, head: Head) {
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(head);
    }

    pub fn pace(&mut self, lane: Lane, took: Duration, is_full: bool, now: Instant) {
        self.most = (self.most * 2).min(MOST);
        if took > SLOW {
            self.send_less();
        } else if took < SLOW / 2 {
            self.bytes = (self.bytes * 2).min(self.ceiling);
        }
        let rest = match lane {
            Lane::Live if is_full => BRISK,
            // A backend that is slow has as long to itself as it has with this host.
            Lane::Backlog if self.lanes.is_split() => took.clamp(SPACING, MAX_REST),
            _ => SPACING,
        };
        self.way_mut(lane).at = now + rest;
    }
}
