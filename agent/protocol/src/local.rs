//! What the processes on one host say to each other.
//!
//! Over `/run/hostward/apply.sock` ([`ApplyRequest`] / [`ApplyReply`], answered by the root process) and
//! `/run/hostward/agent.sock` ([`AgentRequest`] / [`AgentReply`], answered by the network process, to root only).
//! One JSON object and a newline each way, one exchange a connection.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::events::Head;
use crate::report::{Finding, PolicyState, Report};

/// Socket of the root process.
pub const APPLY_SOCKET: &str = "/run/hostward/apply.sock";
/// Socket of the network process.
pub const AGENT_SOCKET: &str = "/run/hostward/agent.sock";
/// The longest request, in bytes.
pub const MAX_REQUEST_LEN: u64 = 64 << 10;
/// The longest reply, in bytes.
pub const MAX_REPLY_LEN: u64 = 64 << 20;

/// What the root process may be asked. Whatever else arrives ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ApplyRequest {
    /// From the agent or root: admit what is in the inbox, then apply. Answered with [`ApplyReply::Report`].
    Admit,
    /// From the agent: is there an enrollment token? Answered with [`ApplyReply::Enrollment`].
    ReadToken,
    /// From the agent: the enrollment ended well, or can never end well. The token is deleted. Answered with [`ApplyReply::Ok`].
    FinishEnrollment {
        /// How it ended.
        outcome: EnrollmentOutcome,
    },
    /// From root: observe, plan and apply from the committed store. Answered with [`ApplyReply::Report`].
    Apply {
        /// Whether a person asked, or the timer.
        cause: crate::report::Cause,
    },
    /// From root: what would be done. Answered with [`ApplyReply::Text`].
    Plan,
    /// From root: why somebody can or cannot log in, and what they may run. Answered with [`ApplyReply::Text`].
    Explain {
        /// The user name.
        user: String,
    },
    /// From root: remove everything that hostward wrote; homes stay. Answered with [`ApplyReply::Report`].
    Unenroll,
}

/// How an enrollment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum EnrollmentOutcome {
    /// The host is enrolled.
    Enrolled {
        /// Its id at the backend.
        host_id: String,
    },
    /// The backend refused for good.
    Refused {
        /// Why.
        reason: Finding,
    },
}

/// Answers of the root process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum ApplyReply {
    /// Done, nothing to tell.
    Ok,
    /// The outcome of an apply.
    Report(Box<Report>),
    /// What to enroll with.
    Enrollment(TokenState),
    /// The same for a person and for a program.
    Text {
        /// For a person.
        text: String,
        /// For a program.
        json: serde_json::Value,
    },
    /// It could not be done at all.
    Failed(Finding),
}

/// What became of the enrollment token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "token", rename_all = "kebab-case")]
pub enum TokenState {
    /// There is none.
    Absent,
    /// There is one, and root believes it to be well formed. Its pin stays with root.
    Ready {
        /// The backend's URL.
        url: String,
        /// Project id.
        project: String,
        /// The token's secret.
        secret: String,
        /// Which `root.json` the agent should put into the inbox first, where a pin says so.
        root_version: Option<u64>,
    },
    /// There is one that cannot be used; it is read again when it changes.
    Unusable(Finding),
}

impl std::fmt::Debug for TokenState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TokenState::Absent => f.write_str("Absent"),
            TokenState::Ready { url, project, .. } => {
                write!(f, "Ready {{ url: {url:?}, project: {project:?}, .. }}")
            }
            TokenState::Unusable(finding) => write!(f, "Unusable({finding:?})"),
        }
    }
}

/// What the network process may be asked, by root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AgentRequest {
    /// Poll now, and answer when what came of it is in force. Answered with [`AgentReply::Synced`].
    Sync,
    /// Tell the backend that the host leaves, then forget the identity. Answered with [`AgentReply::Unenrolled`], or
    /// with [`AgentReply::Forgotten`] where there is no backend to tell.
    Unenroll,
    /// Forget the identity and tell nobody. Answered with [`AgentReply::Forgotten`].
    Forget,
    /// Ask the backend which events of this host it has. Answered with [`AgentReply::EventHead`].
    EventHead,
}

/// Answers of the network process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum AgentReply {
    /// The poll succeeded, and this is what root made of it, where there was something new.
    Synced {
        /// Root's report, absent where nothing was new.
        report: Option<Box<Report>>,
    },
    /// The identity is gone.
    Unenrolled {
        /// Whether the backend knows; else why not.
        told_backend: Result<(), Finding>,
    },
    /// The identity is gone, and the backend was told nothing.
    Forgotten {
        /// As what the backend goes on listing this host; absent where the host was not enrolled.
        listed: Option<Listed>,
    },
    /// What the backend says.
    EventHead {
        /// The newest event up to which it has every one; absent while it has none.
        head: Option<Head>,
    },
    /// It could not be done.
    Failed(Finding),
}

/// What a backend knows a host as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The backend.
    pub url: String,
    /// The host's id there.
    pub host_id: String,
}

/// `/var/lib/hostward-agent/status.json`: what the network process knows. Written by a process that root does
/// not believe: shown, never acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Version of hostward.
    pub agent_version: String,
    /// How far enrollment has come.
    pub enrollment: EnrollmentState,
    /// The last complete exchange with the backend.
    pub last_contact: Option<DateTime<Utc>>,
    /// Why the last exchange failed, where it did.
    pub problem: Option<Finding>,
    /// When the next attempt is due, where one is.
    pub next_attempt: Option<DateTime<Utc>>,
    /// Backend's clock minus this host's, in seconds, as far as it is known.
    pub clock_offset: Option<i64>,
    /// `long-poll` or `interval`, and the seconds between polls.
    pub polling: Option<(String, u64)>,
    /// What is wrong with the enrollment token that was tried last, whether or not the host is enrolled.
    #[serde(default)]
    pub token: Option<TokenProblem>,
    /// The step-ca that issues certificates of service accounts, where the operator's configuration has one.
    #[serde(default)]
    pub step_ca: Option<StepCaStatus>,
    /// How it stands with events.
    #[serde(default)]
    pub events: EventsStatus,
}

/// How it stands with the step-ca.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCaStatus {
    /// Where it is.
    pub url: String,
    /// Name of the provisioner.
    pub provisioner: String,
    /// Whether it was asked at all since the agent started or read its configuration.
    pub asked: bool,
    /// What was wrong the last time, where something was.
    pub problem: Option<Finding>,
}

/// How it stands with events: those of the log, and their delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventsStatus {
    /// Whether the backend takes events; absent where that is not known, or where there is no backend.
    pub taken: Option<bool>,
    /// How many wait to be delivered.
    pub waiting: u64,
    /// The newest one up to which the backend has every one.
    pub acknowledged: Option<u64>,
    /// How many the backend will never take.
    pub refused: u64,
    /// How many were lost since the agent started.
    pub lost: u64,
    /// Why they are not delivered.
    pub problem: Option<Finding>,
    /// When that is tried again.
    pub next_attempt: Option<DateTime<Utc>>,
    /// The same for each other place that they go to.
    pub outputs: Vec<OutputStatus>,
}

/// How it stands with a place that events go to besides the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputStatus {
    /// `syslog`, `journal` or `otlp`.
    pub name: String,
    /// How many were handed over since the agent started.
    pub sent: u64,
    /// How many were gone before they could be.
    pub missed: u64,
    /// How many were refused for good.
    pub refused: u64,
    /// Why none are handed over.
    pub problem: Option<Finding>,
}

/// What is wrong with an enrollment token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenProblem {
    /// What, and what to do.
    #[serde(flatten)]
    pub finding: Finding,
    /// When it was found.
    pub at: DateTime<Utc>,
    /// When the token is tried again; absent where that is of no use until somebody acts.
    pub next_attempt: Option<DateTime<Utc>>,
}

/// How far enrollment has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum EnrollmentState {
    /// No identity and no token.
    AwaitingToken,
    /// A token is there and is being tried.
    Enrolling {
        /// The backend.
        url: String,
    },
    /// The token cannot be used, or the backend refused for good.
    Refused {
        /// Why, and what to do.
        reason: Finding,
    },
    /// What the host is enrolled as cannot be read, and is not used.
    Damaged {
        /// Why, and what to do.
        reason: Finding,
    },
    /// Enrolled.
    Enrolled {
        /// The backend.
        url: String,
        /// The host's id there.
        host_id: String,
        /// Project id.
        project: String,
    },
    /// The identity belongs to another machine of which this is a copy: it is not used, and kept aside.
    Clone {
        /// The id that the original has.
        host_id: String,
    },
}

/// `/var/lib/hostward/status.json`: what root knows and everybody may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Version of hostward.
    pub version: String,
    /// Project id, where the host is pinned to one.
    pub project: Option<String>,
    /// Where the root of trust came from: `root.json`, `configuration`, `token` or `first-use`.
    pub trust: Option<String>,
    /// The policy in force.
    pub policy: Option<PolicyState>,
    /// Why the newest policy that was offered is not in force, where it is not.
    pub admission: Option<Finding>,
    /// Steps of the last apply that failed.
    pub failures: Vec<Finding>,
    /// How many entries of the policy were refused; `hostward status` as root names them.
    pub refused: u32,
    /// How many warnings there are.
    pub warnings: u32,
    /// How many managed users can log in.
    pub users: u32,
    /// Passes found or did something that no report to the network process has said yet.
    #[serde(default)]
    pub untold: bool,
}
