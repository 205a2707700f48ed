//! Certificates for the host's own SSH keys: asked for once the backend knows the keys, and again at half of their life.
//!
//! They go into the inbox; whether sshd presents them is root's to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hostward_protocol::api::{HostCertificates as Answer, HostInfo};
use hostward_protocol::problem::Code;
use hostward_protocol::report::Finding;
use serde::{Deserialize, Serialize};
use ssh_key::Certificate;

use crate::backend::{Api, Fault};
use crate::backoff::{Backoff, jittered};
use crate::disk::{self, DiskError, Durability};
use crate::enrollment::disk_finding;
use crate::identity::{Identity, sha256_base64url};
use crate::inbox::{HOST_CERTIFICATES, Inbox};
use crate::job::Job;
use crate::paths::Options;
use crate::random;

/// How long until a backend that signs none, or none of use, is asked again.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The most lines and bytes that go into the inbox.
const MOST: usize = 16;
const MAX_LEN: usize = 256 << 10;

/// Keeps certificates for this host's keys.
pub struct HostCertificates {
    options: Arc<Options>,
    identity: Arc<Identity>,
    api: Api,
    host: HostInfo,
    /// What is in the inbox.
    held: Option<Held>,
    /// Not before this.
    ask_at: Instant,
    failures: Backoff,
    useless: Backoff,
    job: Job<Result<Answer, Fault>>,
    /// What is being asked for.
    asking: String,
}

/// What is in the inbox: `certified.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// Hash of the host's id, keys and names that were certified.
    described: String,
    /// When half of their life is over.
    renew_at: DateTime<Utc>,
}

/// What came of a job.
pub struct Finished(Result<Answer, Fault>);

/// What the rest of the agent is told.
#[derive(Debug)]
pub enum News {
    /// There is something new in the inbox.
    Arrived,
    /// The backend signs none.
    None,
    /// It failed, and how long until it is tried again.
    Failed(Finding, Duration),
}

impl HostCertificates {
    /// Starts with what an earlier run left.
    pub fn new(
        options: Arc<Options>,
        identity: Arc<Identity>,
        api: Api,
        host: HostInfo,
        now: Instant,
    ) -> Self {
        let there = options.inbox().join(HOST_CERTIFICATES).is_file();
        let held = disk::read_json(&options.certified()).ok().flatten().filter(|_| there);
        HostCertificates {
            options,
            identity,
            api,
            host,
            held,
            ask_at: now,
            failures: Backoff::backend(),
            useless: Backoff::patient(),
            job: Job::default(),
            asking: String::new(),
        }
    }

    /// What the host says of itself now.
    pub fn set_host(&mut self, host: HostInfo, now: Instant) {
        if host != self.host {
            self.host = host;
            self.ask_at = now;
        }
    }

    /// When there is something to start. By the clock on the wall each time: it may be set meanwhile.
    pub fn due(&self, now: Instant, wall: DateTime<Utc>) -> Option<Instant> {
        if self.job.is_running() || self.host.ssh_host_keys.is_empty() {
            return None;
        }
        let renew_in = match &self.held {
            Some(held) if held.described == self.described() => (held.renew_at - wall).to_std(),
            _ => Ok(Duration::ZERO),
        };
        Some(self.ask_at.max(now + renew_in.unwrap_or_default()))
    }

    /// Starts what is due.
    pub fn start(&mut self, now: Instant, wall: DateTime<Utc>) {
        if self.due(now, wall).is_none_or(|due| due > now) {
            return;
        }
        self.asking = self.described();
        let (api, identity) = (self.api.clone(), self.identity.clone());
        let keys = self.host.ssh_host_keys.clone();
        let idempotency_key = random::id();
        self.job.start(async move { api.host_certificates(&identity, keys, &idempotency_key).await });
    }

    /// What comes of what is under way.
    pub async fn finished(&mut self) -> Finished {
        Finished(self.job.finished().await)
    }

    /// Goes on from there.
    pub fn conclude(&mut self, finished: Finished, now: Instant, wall: DateTime<Utc>) -> News {
        match finished.0 {
            Ok(answer) => {
                self.failures.reset();
                match self.keep(&answer, now, wall) {
                    Ok(()) => News::Arrived,
                    Err(error) => {
                        let delay = self.wait(PATIENCE, now);
                        News::Failed(disk_finding(&error.into()), delay)
                    }
                }
            }
            // Backends that do not know the request are of an earlier version.
            Err(fault) if fault.code() == Some(Code::NoCertificates) || fault.is_absent() => {
                self.wait(jittered(PATIENCE, random::fraction()), now);
                News::None
            }
            Err(fault) => {
                let mut delay = self.failures.next_or(fault.retry_after(), random::fraction());
                if fault.is_lasting() {
                    delay = delay.max(Duration::from_secs(30));
                }
                self.wait(delay, now);
                let subject = format!("backend `{}`", self.identity.enrollment.url);
                News::Failed(fault.finding(&subject), delay)
            }
        }
    }

    fn wait(&mut self, delay: Duration, now: Instant) -> Duration {
        self.ask_at = now + delay;
        delay
    }

    fn keep(&mut self, answer: &Answer, now: Instant, wall: DateTime<Utc>) -> Result<(), DiskError> {
        let lines = answer.certificates.iter().map(|line| line.trim()).filter(|line| !line.contains('\n'));
        let text: String = lines.take(MOST).map(|line| format!("{line}\n")).collect();
        let renew_at = renewal(&answer.certificates, wall).filter(|_| text.len() <= MAX_LEN);
        // Root says in its report what is wrong with certificates that are of no use.
        let Some(renew_at) = renew_at else {
            let delay = self.useless.next(random::fraction());
            self.wait(delay, now);
            self.held = None;
            return self.put(&text);
        };
        self.useless.reset();
        self.put(&text)?;
        let held = Held { described: self.asking.clone(), renew_at };
        disk::replace_json(&self.options.certified(), &held, Durability::Lazy)?;
        self.held = Some(held);
        Ok(())
    }

    fn put(&self, text: &str) -> Result<(), DiskError> {
        let text = if text.len() <= MAX_LEN { text } else { "" };
        Inbox::open(self.options.inbox())?.put(HOST_CERTIFICATES, text.as_bytes())
    }

    /// A hash of everything that a certificate depends on.
    fn described(&self) -> String {
        let host = &self.host;
        let all = (
            &self.identity.enrollment.host_id,
            &host.ssh_host_keys,
            (&host.hostname, &host.fqdn, &host.canonical_name, &host.alt_names, &host.access_address),
            &host.instance_id,
        );
        sha256_base64url(&serde_json::to_vec(&all).unwrap_or_default())
    }
}

/// When half of the life of the first of them is over; `None` where there is none whose half is still to come.
fn renewal(lines: &[String], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let half = |line: &String| {
        let certificate = Certificate::from_openssh(line.trim()).ok()?;
        let (after, before) = (certificate.valid_after(), certificate.valid_before());
        let half = after.saturating_add(before.saturating_sub(after) / 2);
        // One that never ends is asked for again in a year.
        let most = u64::try_from(now.timestamp()).ok()?.saturating_add(365 * 24 * 3600);
        DateTime::from_timestamp(i64::try_from(half.min(most)).ok()?, 0)
    };
    lines.iter().filter_map(half).min().filter(|half| *half > now)
}

#[cfg(test)]
mod tests {
    use ssh_key::PrivateKey;
    use ssh_key::certificate::{Builder, CertType};
    use ssh_key::private::Ed25519Keypair;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn certificate(from: i64, until: u64) -> String {
        let key = |seed| PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]));
        let after = u64::try_from(at(from).timestamp()).unwrap();
        let subject = key(1).public_key().key_data().clone();
        let mut builder = Builder::new([0; 16], subject, after, until).unwrap();
        builder.cert_type(CertType::Host).unwrap().valid_principal("web1").unwrap();
        builder.sign(&key(2)).unwrap().to_openssh().unwrap()
    }

    #[test]
    fn the_first_half_life_counts() {
        let until = |seconds| u64::try_from(at(seconds).timestamp()).unwrap();
        let two = [certificate(-60, until(1000)), certificate(-60, until(3540))];
        assert_eq!(renewal(&two, at(0)), Some(at(470)));
        assert_eq!(renewal(&two[1..], at(0)), Some(at(1740)));
        assert_eq!(renewal(&two, at(470)), None, "it is over");
        assert_eq!(renewal(&["x".into()], at(0)), None);
        assert_eq!(renewal(&[], at(0)), None);
        let forever = [certificate(-60, i64::MAX as u64)];
        assert_eq!(renewal(&forever, at(0)), Some(at(365 * 24 * 3600)));
    }
}
