//! Who has how much room, and what makes more.
//!
//! A kind that is out of room gets more only by what somebody else has already, or what is older than it has to be
//! kept: then the oldest file goes. Otherwise its newest events are not taken. No kind takes another's room.

use std::collections::VecDeque;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::Limits;
use crate::files::{Head, full_name};
use crate::kind::Quota;

/// Room for events that tell of losses, beyond what hostward's own events have.
const RESERVE: u64 = 64 << 10;
/// A kind that has this much has room again, in bytes: an event.
const SOME: u64 = 4 << 10;

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Sequence of its first event.
    pub first: Option<u64>,
    /// Sequence of its last event.
    pub last: u64,
    /// When the newest event in it happened.
    pub newest: DateTime<Utc>,
    /// Bytes of it.
    pub length: u64,
    /// Bytes of each kind; what is no event is counted as hostward's own.
    pub bytes: [u64; 3],
}

/// Who has how much room.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub limits: Limits,
    pub current: Content,
    pub acknowledged: Option<Head>,
    /// Whether somebody takes events, so that what they do not have yet is kept for them however old it is.
    pub is_taken: bool,
    full: VecDeque<Content>,
    /// Bytes of each kind in all files.
    used: [u64; 3],
}

impl Room {
    pub fn new(limits: Limits, full: Vec<Content>, current: Content, acknowledged: Option<Head>) -> Self {
        let mut used = current.bytes;
        for content in &full {
            add(&mut used, content.bytes);
        }
        let is_taken = acknowledged.is_some();
        Room { limits, current, acknowledged, is_taken, full: full.into(), used }
    }

    /// Whether an event of a kind has room, or something may go for it.
    pub fn has_some(&self, quota: Quota, now: DateTime<Utc>) -> bool {
        self.fits(quota, SOME, [0; 3], self.limits.of(quota)) || self.may_go(now)
    }

    /// Whether there is room for `length` bytes beside those of a batch, once what may go for them is gone.
    pub fn take(
        &mut self,
        dir: &Path,
        quota: Quota,
        length: u64,
        batch: [u64; 3],
        now: DateTime<Utc>,
    ) -> bool {
        self.take_within(dir, quota, length, batch, self.limits.of(quota), now)
    }

    /// The same for an event that tells of losses.
    pub fn take_for_loss(&mut self, dir: &Path, length: u64, batch: [u64; 3], now: DateTime<Utc>) -> bool {
        let limit = self.limits.own.saturating_add(RESERVE);
        self.take_within(dir, Quota::Own, length, batch, limit, now)
    }

    fn take_within(
        &mut self,
        dir: &Path,
        quota: Quota,
        length: u64,
        batch: [u64; 3],
        limit: u64,
        now: DateTime<Utc>,
    ) -> bool {
        while !self.fits(quota, length, batch, limit) {
            if !self.may_go(now) || !self.remove_oldest(dir) {
                return false;
            }
        }
        true
    }

    fn fits(&self, quota: Quota, length: u64, batch: [u64; 3], limit: u64) -> bool {
        let index = quota.index();
        self.used[index] + batch[index] + length <= limit
    }

    /// Whether the oldest file may be deleted. The one with the last event stays, or the next would not know its place.
    fn may_go(&self, now: DateTime<Utc>) -> bool {
        let Some(oldest) = self.full.front() else {
            return false;
        };
        let has_head = self.full.len() == 1 && self.current.first.is_none();
        let is_had = self.acknowledged.as_ref().is_some_and(|head| head.sequence >= oldest.last);
        let until = oldest.newest.checked_add_signed(self.limits.keep);
        let is_old = !self.is_taken && until.is_some_and(|until| until < now);
        (is_had || is_old) && !has_head
    }

    fn remove_oldest(&mut self, dir: &Path) -> bool {
        let Some(first) = self.full.front().and_then(|oldest| oldest.first) else {
            return false;
        };
        let path = dir.join(full_name(first));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                ::log::warn!("cannot remove `{}`: {error}", path.display());
                false
            }
            _ => {
                if let Some(gone) = self.full.pop_front() {
                    for (used, bytes) in self.used.iter_mut().zip(gone.bytes) {
                        *used = used.saturating_sub(bytes);
                    }
                }
                true
            }
        }
    }

    /// Lines with these numbers are in the file that is written to.
    pub fn wrote(&mut self, first: u64, last: u64, bytes: [u64; 3], newest: DateTime<Utc>) {
        self.current.first.get_or_insert(first);
        self.current.last = last;
        self.current.newest = self.current.newest.max(newest);
        self.current.length += bytes.iter().sum::<u64>();
        add(&mut self.current.bytes, bytes);
        add(&mut self.used, bytes);
    }

    /// The file that was written to is full.
    pub fn rotated(&mut self) {
        self.full.push_back(std::mem::take(&mut self.current));
    }
}

fn add(to: &mut [u64; 3], bytes: [u64; 3]) {
    for (to, bytes) in to.iter_mut().zip(bytes) {
        *to += bytes;
    }
}
