//! The newest reports of each host.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use hostward_protocol::report::Report;
use serde::{Deserialize, Serialize};

use super::{Registry, RegistryError, read, write};
use crate::file::{self, FileError};

const KEPT_REPORTS: usize = 100;

/// A report as it arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredReport {
    /// From 1, for each host.
    pub number: u64,
    /// The host's id.
    pub host: String,
    /// When it arrived.
    pub received: DateTime<Utc>,
    /// The request's idempotency key.
    pub idempotency_key: Option<String>,
    /// What it says.
    pub report: Report,
}

impl Registry {
    /// Keeps a report, once for each idempotency key.
    pub fn add_report(
        &mut self,
        host: &str,
        report: Report,
        idempotency_key: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(), RegistryError> {
        let paths = self.report_paths(host)?;
        // A repeated request is one of the last few.
        if idempotency_key.is_some() {
            for path in paths.iter().rev().take(10) {
                if read::<StoredReport>(path)?.idempotency_key == idempotency_key {
                    return Ok(());
                }
            }
        }
        let number = match paths.last() {
            Some(path) => read::<StoredReport>(path)?.number + 1,
            None => 1,
        };
        let directory = self.report_directory(host);
        file::make_private_dir(&directory)?;
        let stored = StoredReport { number, host: host.to_owned(), received: now, idempotency_key, report };
        write(&directory.join(format!("{number:012}.json")), &stored)?;
        for path in paths.iter().rev().skip(KEPT_REPORTS - 1) {
            std::fs::remove_file(path).map_err(|e| FileError::new("remove", path, e))?;
        }
        Ok(())
    }

    /// The reports of a host, oldest first.
    pub fn reports(&self, host: &str) -> Result<Vec<StoredReport>, RegistryError> {
        self.report_paths(host)?.iter().map(|path| read(path)).collect()
    }

    /// The newest report of a host.
    pub fn last_report(&self, host: &str) -> Result<Option<StoredReport>, RegistryError> {
        self.report_paths(host)?.last().map(|path| read(path)).transpose()
    }

    pub(super) fn remove_reports(&self, host: &str) -> Result<(), RegistryError> {
        let directory = self.report_directory(host);
        match std::fs::remove_dir_all(&directory) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::new("remove", &directory, e).into())
            }
            _ => Ok(()),
        }
    }

    fn report_paths(&self, host: &str) -> Result<Vec<PathBuf>, FileError> {
        file::list(&self.report_directory(host))
    }

    fn report_directory(&self, host: &str) -> PathBuf {
        self.directory.join("reports").join(host)
    }
}
