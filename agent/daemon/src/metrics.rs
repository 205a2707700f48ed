//! Figures for Prometheus: a file that the textfile collector of node_exporter reads.
//!
//! The agent may write to its own directories only, so the file is in one of those, and whoever collects looks there.
//! Ages are not among the figures: times are, so that the file is as right in an hour as it is now and need not be written
//! when nothing happens.

mod render;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hostward_protocol::local::{AgentStatus, HostStatus};

use crate::policy;

/// How often the file is written, at most.
const SPACING: Duration = Duration::from_secs(5);

/// The file, as far as the operator wants one.
pub struct Metrics {
    path: PathBuf,
    host_status: PathBuf,
    is_wanted: bool,
    host: Option<HostStatus>,
    text: String,
    is_written: bool,
    not_before: Instant,
}

/// What is counted here and nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that are in the log.
    pub recorded: u64,
    /// Certificates for service accounts since the agent started.
    pub issued: u64,
    /// Those that were not given.
    pub refused: u64,
}

impl Metrics {
    /// The file at `path`; what root says of itself is at `host_status`.
    pub fn new(path: &Path, host_status: &Path, now: Instant) -> Self {
        Metrics {
            path: path.into(),
            host_status: host_status.into(),
            is_wanted: false,
            host: policy::host_status(host_status),
            text: String::new(),
            is_written: true,
            not_before: now,
        }
    }

    /// Whether it is wanted. One that is not is removed.
    pub fn set_wanted(&mut self, is_wanted: bool) {
        if !is_wanted && let Err(error) = crate::disk::remove(&self.path) {
            log::warn!("{error}");
        }
        self.is_wanted = is_wanted;
        self.text.clear();
    }

    /// Root wrote its status.
    pub fn look(&mut self) {
        self.host = policy::host_status(&self.host_status);
    }

    /// When it is to be written.
    pub fn due(&self) -> Option<Instant> {
        (self.is_wanted && !self.is_written).then_some(self.not_before)
    }

    /// Writes what there is to say, where it is something else and not too soon.
    pub fn publish(&mut self, agent: &AgentStatus, counts: Counts, now: Instant) {
        if !self.is_wanted {
            return;
        }
        let text = render::text(agent, self.host.as_ref(), counts);
        if text != self.text {
            self.text = text;
            self.is_written = false;
        }
        if self.is_written || now < self.not_before {
            return;
        }
        self.not_before = now + SPACING;
        // What cannot be written now is written with the next change.
        self.is_written = true;
        if let Err(error) = self.write() {
            log::warn!(
                "cannot write `{}`: {error}; `systemd-tmpfiles --create hostward.conf` makes its directory",
                self.path.display()
            );
        }
    }

    /// In one step, for everybody to read. The name of the new one does not end in `.prom`.
    fn write(&self) -> std::io::Result<()> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
        file.write_all(self.text.as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}
