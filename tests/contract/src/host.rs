//! A directory that is a host to the agent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hostward_events::{Reader, Record};
use hostward_protocol::local::{AgentStatus, EnrollmentState};
use tempfile::TempDir;

use crate::root::{Places, Root};
use crate::wait::{PATIENCE, explained};
use crate::{Agent, Backend, binary};

/// Which boot the agent is told that it is.
pub const BOOT: &str = "0123456789abcdef0123456789abcdef";

/// A host, with a script in root's place.
pub struct Host {
    /// Root.
    pub root: Root,
    dir: TempDir,
}

impl Host {
    /// A host that believes the backend's CA.
    pub fn new(backend: &Backend) -> Self {
        let host = Self::bare();
        host.configure(&format!("[backend]\nca_file = {:?}\n", backend.ca()));
        host
    }

    /// A host without configuration.
    pub fn bare() -> Self {
        let dir = tempfile::tempdir().expect("no directory");
        for name in ["etc", "root", "ssh", "state", "events", "step-ca", "metrics"] {
            std::fs::create_dir(dir.path().join(name)).expect("no directory");
        }
        let root = Root::start(Places {
            socket: dir.path().join("apply.sock"),
            inbox: dir.path().join("state/inbox"),
            status: dir.path().join("root/status.json"),
            token: dir.path().join("etc/enrollment.token"),
        });
        Host { root, dir }
    }

    /// Writes the configuration.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.etc("hostward.toml"), text).expect("cannot write the configuration");
    }

    /// Starts the agent.
    pub fn start(&self) -> Agent {
        self.start_with(&[])
    }

    /// Starts the agent with an environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Agent {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("cannot write the log");
        let child = Command::new(binary::agent())
            .arg("--state")
            .arg(self.path("state"))
            .arg("--etc")
            .arg(self.path("etc"))
            .arg("--apply-socket")
            .arg(self.path("apply.sock"))
            .arg("--agent-socket")
            .arg(self.path("agent.sock"))
            .arg("--ssh-agent-socket")
            .arg(self.path("ssh-agent.sock"))
            .arg("--step-ca")
            .arg(self.path("step-ca"))
            .arg("--ssh")
            .arg(self.path("ssh"))
            .arg("--host-status")
            .arg(self.path("root/status.json"))
            .arg("--events")
            .arg(self.path("events"))
            .arg("--metrics")
            .arg(self.metrics())
            .arg("--journal-socket")
            .arg(self.journal())
            .args(["--boot-id", BOOT])
            .arg("--records")
            .arg(self.path("records"))
            .arg("--spill")
            .arg(self.path("spill"))
            .arg("--grants")
            .arg(self.path("root/grants.json"))
            .args(["--journalctl", ""])
            .arg("--etc-ssh")
            .arg(self.path("ssh"))
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("cannot start the agent");
        Agent::new(child, self.path("agent.sock"))
    }

    /// A token is there, the agent runs, the first policy is in force.
    pub fn enrolled(backend: &Backend) -> (Self, Agent) {
        let host = Self::new(backend);
        let agent = host.enroll(backend);
        (host, agent)
    }

    /// Starts the agent with a token and waits for the first policy.
    pub fn enroll(&self, backend: &Backend) -> Agent {
        self.root.hand_out(&backend.token());
        let agent = self.start();
        self.until_enrolled();
        self.root.until_accepted(backend.version());
        agent
    }

    /// What the agent says.
    pub fn status(&self) -> Option<AgentStatus> {
        serde_json::from_slice(&std::fs::read(self.path("state/status.json")).ok()?).ok()
    }

    /// Waits until what the agent says is as wanted.
    pub fn until_status(&self, what: &str, wanted: impl Fn(&AgentStatus) -> bool) -> AgentStatus {
        let explain = || format!("{what}\nstatus: {:#?}\nlog:\n{}", self.status(), self.log());
        explained(PATIENCE, explain, || self.status().filter(&wanted))
    }

    /// Waits until it is enrolled, and returns its id.
    pub fn until_enrolled(&self) -> String {
        let id = |status: &AgentStatus| match &status.enrollment {
            EnrollmentState::Enrolled { host_id, .. } => Some(host_id.clone()),
            _ => None,
        };
        let status = self.until_status("enrolled", |status| id(status).is_some());
        id(&status).unwrap_or_default()
    }

    /// Waits until it says that something is wrong, by the finding's code.
    pub fn until_problem(&self, code: &str) -> AgentStatus {
        self.until_status(code, |s| s.problem.as_ref().is_some_and(|p| p.code == code))
    }

    /// Waits until the enrollment was refused for good, by the finding's code.
    pub fn until_refused(&self, code: &str) -> AgentStatus {
        self.until_status(
            code,
            |status| matches!(&status.enrollment, EnrollmentState::Refused { reason } if reason.code == code),
        )
    }

    /// All that the agent logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Where the agent's events are.
    pub fn events_dir(&self) -> PathBuf {
        self.path("events")
    }

    /// Figures for Prometheus.
    pub fn metrics(&self) -> PathBuf {
        self.path("metrics/hostward.prom")
    }

    /// Where the journal would be.
    pub fn journal(&self) -> PathBuf {
        self.path("journal.sock")
    }

    /// All events that are in the log, oldest first.
    pub fn events(&self) -> Vec<Record> {
        let read = Reader::new(&self.events_dir()).read_from(1, usize::MAX);
        // There is no log before the first event.
        let lines = read.map(|batch| batch.lines).unwrap_or_default();
        lines.iter().map(|line| Record::read(line).expect("a line that is no event")).collect()
    }

    /// Waits until there is an event of this type, and returns the newest.
    pub fn until_event(&self, kind: &str) -> Record {
        let find = || self.events().into_iter().rev().find(|event| event.kind == format!("hostward.{kind}"));
        explained(PATIENCE, || format!("{kind}\n{:#?}\nlog:\n{}", self.events(), self.log()), find)
    }

    /// A file of the operator's.
    pub fn etc(&self, name: &str) -> PathBuf {
        self.path("etc").join(name)
    }

    /// A file of sshd's.
    pub fn etc_ssh(&self, name: &str) -> PathBuf {
        self.path("ssh").join(name)
    }

    /// A file of the agent's.
    pub fn state(&self, name: &str) -> PathBuf {
        self.path("state").join(name)
    }

    /// Puts a file in place where root says something of SSH.
    pub fn put_ssh(&self, name: &str, text: &str) {
        std::fs::write(self.path("ssh/.new"), text).expect("cannot write");
        std::fs::rename(self.path("ssh/.new"), self.path("ssh").join(name)).expect("cannot rename");
    }

    /// The SSH agent's socket.
    pub fn ssh_agent(&self) -> PathBuf {
        self.path("ssh-agent.sock")
    }

    /// The host's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
