//! Which SSH certificates were given to hosts and services. In memory: it is for looking at.

use chrono::{DateTime, Utc};
use hostward_protocol::api::CallerHint;
use serde::{Deserialize, Serialize};
use ssh_key::Certificate;

use super::Registry;

/// How many are remembered.
const MOST: usize = 10_000;

/// A certificate that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// When.
    pub at: DateTime<Utc>,
    /// Id of the host that asked.
    pub host: String,
    /// Its key id.
    pub key_id: String,
    /// Its serial number.
    pub serial: u64,
    /// Its principals.
    pub principals: Vec<String>,
    /// Seconds since the epoch at which it is no longer good.
    pub valid_before: u64,
    /// Who asked on the host, by the host's word; absent for a host's own.
    pub hint: Option<CallerHint>,
}

impl Issued {
    /// What there is to say of a certificate's line.
    pub(crate) fn new(host: &str, line: &str, hint: Option<CallerHint>, now: DateTime<Utc>) -> Issued {
        let certificate = Certificate::from_openssh(line).ok();
        let certificate = certificate.as_ref();
        Issued {
            at: now,
            host: host.to_owned(),
            key_id: certificate.map_or_else(String::new, |c| c.key_id().to_owned()),
            serial: certificate.map_or(0, Certificate::serial),
            principals: certificate.map_or_else(Vec::new, |c| c.valid_principals().to_vec()),
            valid_before: certificate.map_or(0, Certificate::valid_before),
            hint,
        }
    }
}

impl Registry {
    /// Notes one.
    pub(crate) fn issued(&mut self, issued: Issued) {
        if self.issued.len() == MOST {
            self.issued.pop_front();
        }
        self.issued.push_back(issued);
    }

    /// All, the oldest first.
    pub fn all_issued(&self) -> impl Iterator<Item = &Issued> {
        self.issued.iter()
    }
}
