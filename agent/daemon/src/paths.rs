//! Where things are. Fixed for an installed host; the hidden flags exist so that tests can run the real
//! binary in a directory of their own.

use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use hostward_protocol::grants::GRANTS_FILE;
use hostward_protocol::local::APPLY_SOCKET;

/// Command line of the agent. On an installed host it is told which boot this is, and nothing else.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "hostward-agent",
    version,
    about = "hostward's network process; started by hostward.service"
)]
pub struct Options {
    /// For tests: the agent's state directory.
    #[arg(long, hide = true, default_value = "/var/lib/hostward-agent")]
    pub state: PathBuf,
    /// For tests: the directory of the operator's configuration.
    #[arg(long, hide = true, default_value = "/etc/hostward")]
    pub etc: PathBuf,
    /// For tests: the root process's socket.
    #[arg(long, hide = true, default_value = APPLY_SOCKET)]
    pub apply_socket: PathBuf,
    /// For tests: where to make the control socket that systemd hands over on an installed host.
    #[arg(long, hide = true)]
    pub agent_socket: Option<PathBuf>,
    /// For tests: where to make the SSH agent's socket that systemd hands over on an installed host.
    #[arg(long, hide = true)]
    pub ssh_agent_socket: Option<PathBuf>,
    /// For tests: the directory of what root says of SSH.
    #[arg(long, hide = true, default_value = "/var/lib/hostward/ssh")]
    pub ssh: PathBuf,
    /// For tests: the directory of what everybody may know of the step-ca.
    #[arg(long, hide = true, default_value = "/var/lib/hostward-step-ca")]
    pub step_ca: PathBuf,
    /// For tests: what root tells everybody.
    #[arg(long, hide = true, default_value = "/var/lib/hostward/status.json")]
    pub host_status: PathBuf,
    /// For tests: where events go.
    #[arg(long, hide = true, default_value = hostward_events::DIRECTORY)]
    pub events: PathBuf,
    /// For tests: where figures for Prometheus go.
    #[arg(long, hide = true, default_value = "/run/hostward/metrics/hostward.prom")]
    pub metrics: PathBuf,
    /// For tests: the journal's socket.
    #[arg(long, hide = true, default_value = "/run/systemd/journal/socket")]
    pub journal_socket: PathBuf,
    /// For tests: the PAM module's records.
    #[arg(long, hide = true, default_value = hostward_records::DIRECTORY)]
    pub records: PathBuf,
    /// For tests: the records for which the disk has no room.
    #[arg(long, hide = true, default_value = hostward_records::SPILL_DIRECTORY)]
    pub spill: PathBuf,
    /// For tests: what root says of grants.
    #[arg(long, hide = true, default_value = GRANTS_FILE)]
    pub grants: PathBuf,
    /// For tests: what reads the journal; empty for nothing. Where `/usr` is not merged, `/bin` is where it is.
    #[arg(
        long,
        hide = true,
        default_value = "/bin/journalctl",
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub journalctl: PathBuf,
    /// Which boot this is, as `%b` of systemd.unit(5) has it: the service does not see /proc/sys.
    #[arg(long, hide = true, default_value = "")]
    pub boot_id: String,
    /// For tests: the directory of sshd's configuration and keys.
    #[arg(long, hide = true, default_value = "/etc/ssh")]
    pub etc_ssh: PathBuf,
}

impl Options {
    /// The operator's configuration.
    pub fn config(&self) -> PathBuf {
        self.etc.join("hostward.toml")
    }

    /// The operator's own root of trust, where there is one.
    pub fn pinned_root(&self) -> PathBuf {
        self.etc.join("root.json")
    }

    /// The host's key and what it is enrolled as.
    pub fn identity(&self) -> PathBuf {
        self.state.join("identity")
    }

    /// What is put before root.
    pub fn inbox(&self) -> PathBuf {
        self.state.join("inbox")
    }

    /// What root accepted last.
    pub fn accepted(&self) -> PathBuf {
        self.state.join("accepted.json")
    }

    /// What the backend was last told of the host.
    pub fn told(&self) -> PathBuf {
        self.state.join("told.json")
    }

    /// What root's reports said so far, of which there are events.
    pub fn known(&self) -> PathBuf {
        self.state.join("known.json")
    }

    /// How far a place that events go to has come.
    pub fn siem_position(&self, name: &str) -> PathBuf {
        self.state.join(format!("siem-{name}.json"))
    }

    /// Which events are for which backend.
    pub fn delivery(&self) -> PathBuf {
        self.state.join("delivery.json")
    }

    /// How far PAM's records and the journal were read.
    pub fn sources(&self) -> PathBuf {
        self.state.join("sources.json")
    }

    /// What root said of grants when that was recorded last.
    pub fn told_grants(&self) -> PathBuf {
        self.state.join("grants.json")
    }

    /// Which boot this is: 32 hexadecimal digits.
    pub fn boot(&self) -> String {
        self.boot_id.replace('-', "")
    }

    /// For which keys and names the certificates in the inbox are.
    pub fn certified(&self) -> PathBuf {
        self.state.join("certified.json")
    }

    /// What the agent tells root.
    pub fn status(&self) -> PathBuf {
        self.state.join("status.json")
    }

    /// The step-ca's host CAs, for ssh.
    pub fn step_ca_known_hosts(&self) -> PathBuf {
        self.step_ca.join("known_hosts")
    }

    /// The directory that root's status file is in, and its name.
    pub fn host_status_place(&self) -> (&Path, &std::ffi::OsStr) {
        let name = self.host_status.file_name().unwrap_or_default();
        let parent = self.host_status.parent().unwrap_or(Path::new("/"));
        (parent, name)
    }
}
