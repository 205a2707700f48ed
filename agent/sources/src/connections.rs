//! sshd's connections, until somebody is let in or goes: what it says of one comes in several messages of its process.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Account, Authentication, Denial, DenialReason, Remote};

use serde::{Deserialize, Serialize};

use crate::engine::Mark;
use crate::journal::Entry;
use crate::journal::sshd::Said;

/// How many are followed at a time; sshd's own limit is a tenth of it.
const MOST: usize = 1024;
/// How long one is followed: longer than sshd gives anybody to log in.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Connections of which it is not known how they end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections(#[serde(with = "crate::pairs")] BTreeMap<(String, u32), Connection>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Connection {
    user: Option<String>,
    remote: Option<Remote>,
    reason: Option<DenialReason>,
    authentication: Option<Authentication>,
    said: Option<String>,
    failed: u64,
    first: Mark,
    last: Mark,
    at: DateTime<Utc>,
}

/// A login that was refused, what its end was made of, and where it begins.
pub(crate) struct Refused {
    pub denial: Denial,
    pub last: Mark,
    pub first: Mark,
}

impl Connections {
    /// Where the first message of each stands.
    pub fn first(&self) -> impl Iterator<Item = &Mark> {
        self.0.values().map(|connection| &connection.first)
    }

    /// When the first of them is given up.
    pub fn due(&self) -> Option<DateTime<Utc>> {
        self.0.values().map(|connection| connection.at + PATIENCE).min()
    }

    /// What sshd says of the connection that `entry`'s process has.
    pub fn hear(&mut self, entry: &Entry, said: Said, mark: Mark) -> Vec<Refused> {
        let key = (entry.boot.clone(), entry.pid);
        if said == Said::Accepted {
            self.0.remove(&key);
            return Vec::new();
        }
        let mut over = self.make_room(&key);
        let connection = self.0.entry(key.clone()).or_insert_with(|| Connection {
            user: None,
            remote: None,
            reason: None,
            authentication: None,
            said: None,
            failed: 0,
            first: mark.clone(),
            last: mark.clone(),
            at: entry.at,
        });
        connection.last = mark;
        connection.at = entry.at;
        if connection.take(said, &entry.message)
            && let Some(connection) = self.0.remove(&key)
        {
            over.extend(connection.refused(&entry.boot));
        }
        over
    }

    /// Those that nothing was heard of for too long.
    pub fn given_up(&mut self, now: DateTime<Utc>) -> Vec<Refused> {
        let old: Vec<_> =
            self.0.iter().filter(|(_, c)| c.at + PATIENCE <= now).map(|(key, _)| key.clone()).collect();
        old.into_iter().filter_map(|key| self.0.remove(&key)?.refused(&key.0)).collect()
    }

    fn make_room(&mut self, key: &(String, u32)) -> Vec<Refused> {
        if self.0.len() < MOST || self.0.contains_key(key) {
            return Vec::new();
        }
        let oldest = self.0.iter().min_by_key(|(_, c)| c.first.number).map(|(key, _)| key.clone());
        oldest.and_then(|key| self.0.remove(&key)?.refused(&key.0)).into_iter().collect()
    }
}

impl Connection {
    /// Takes what was said. Whether it is over.
    fn take(&mut self, said: Said, message: &str) -> bool {
        let keep = |said: &mut Option<String>| *said = Some(message.to_owned());
        match said {
            Said::NoSuchUser(user, remote) => {
                (self.user, self.remote) = (Some(user), Some(remote));
                self.reason = Some(DenialReason::NoSuchUser);
                keep(&mut self.said);
                false
            }
            Said::NotAllowed(user, remote) => {
                self.user = Some(user);
                self.remote = remote;
                self.reason = Some(DenialReason::NotAllowed);
                keep(&mut self.said);
                false
            }
            Said::Why(reason, authentication) => {
                // The source address is why the options refuse it.
                let is_known = reason == DenialReason::UnusableCertificate
                    && self.reason == Some(DenialReason::SourceAddress);
                if !is_known {
                    self.reason = Some(reason);
                }
                if authentication.is_some() {
                    self.authentication = authentication;
                }
                keep(&mut self.said);
                false
            }
            Said::Failed { user, remote, authentication } => {
                let is_key = authentication.method == "publickey";
                self.failed += u64::from(!is_key);
                let reason = if is_key { DenialReason::KeyNotAccepted } else { DenialReason::WrongPassword };
                self.reason.get_or_insert(reason);
                if self.reason == Some(DenialReason::KeyNotAccepted) {
                    self.reason = Some(reason);
                }
                (self.user, self.remote) = (Some(user), Some(remote));
                if self.authentication.as_ref().is_none_or(|had| had.key.is_none()) || is_key {
                    self.authentication = Some(authentication);
                }
                self.said.get_or_insert_with(|| message.to_owned());
                false
            }
            Said::AccountRefused(user) => {
                self.user = Some(user);
                self.reason = Some(DenialReason::AccountRefused);
                keep(&mut self.said);
                true
            }
            Said::Accepted => true,
            Said::Over { user, remote } => {
                if self.user.is_none() {
                    self.user = user;
                }
                if let Some(remote) = remote {
                    self.remote = Some(remote);
                }
                true
            }
        }
    }

    /// The refusal, unless they never said who they wanted to be: somebody looked whether sshd is there.
    fn refused(self, boot: &str) -> Option<Refused> {
        let denial = Denial {
            service: "sshd".into(),
            user: Account { name: self.user?, uid: None },
            // The port differs from one to the next, and these are told as one.
            remote: self.remote.map(|remote| Remote { port: None, ..remote }),
            by: None,
            reason: self.reason.unwrap_or(DenialReason::NotAuthenticated),
            authentication: self.authentication,
            count: self.failed.max(1),
            first: self.at,
            last: self.at,
            said: self.said,
            boot: boot.to_owned(),
            login: None,
            series: String::new(),
        };
        Some(Refused { denial, last: self.last, first: self.first })
    }
}
