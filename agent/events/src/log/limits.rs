//! How much the log may hold.

use chrono::TimeDelta;

use crate::kind::Quota;

const MIB: u64 = 1 << 20;

/// How much the log may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of refused logins.
    pub denials: u64,
    /// Bytes of sessions, sudo and su.
    pub sessions: u64,
    /// Bytes of what hostward itself did.
    pub own: u64,
    /// Bytes in one file.
    pub segment: u64,
    /// Where nobody takes events, how old they are before they make room for new ones.
    pub keep: TimeDelta,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            denials: 8 * MIB,
            sessions: 32 * MIB,
            own: 16 * MIB,
            segment: 4 * MIB,
            keep: TimeDelta::days(30),
        }
    }
}

impl Limits {
    pub(super) fn of(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Denials => self.denials,
            Quota::Sessions => self.sessions,
            Quota::Own => self.own,
        }
    }
}
