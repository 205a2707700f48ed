//! What root says of who has which grant, and what of it was told.

use std::path::{Path, PathBuf};

use chrono::Utc;
use hostward_protocol::grants::Grants;
use hostward_sources::Engine;

use crate::disk::{self, Durability};

/// What root says, and what it said when that was told last.
pub struct Granted {
    says: PathBuf,
    told: PathBuf,
    /// What is being told, until the log has it.
    untold: Option<Vec<u8>>,
}

impl Granted {
    /// `says` is root's file, `told` the agent's copy of it.
    pub fn new(says: &Path, told: PathBuf) -> Self {
        Granted { says: says.into(), told, untold: None }
    }

    /// Tells what changed, if anything did.
    pub fn look(&mut self, engine: &mut Engine) {
        // A host that left its project has none; one that cannot be read says nothing.
        let now = match std::fs::read(&self.says) {
            Ok(now) => now,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                log::warn!("cannot read `{}`: {error}", self.says.display());
                return;
            }
        };
        let before = self.untold.take().unwrap_or_else(|| std::fs::read(&self.told).unwrap_or_default());
        if now != before {
            let grants = |json: &[u8]| Grants::parse(json).unwrap_or_default();
            engine.granted(&grants(&before), &grants(&now), Utc::now());
            self.untold = Some(now);
        }
    }

    /// The log has what was told.
    pub fn keep(&mut self) {
        if let Some(told) = self.untold.take()
            && let Err(error) = disk::replace(&self.told, &told, Durability::Lazy)
        {
            log::warn!("{error}");
        }
    }
}
