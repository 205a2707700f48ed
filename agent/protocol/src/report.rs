//! The report: the outcome of each step of an apply, with who must act on a failure.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// `POST /v1/hosts/self/report`, schema `hostward/report/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// `hostward/report/1`
    pub schema: String,
    /// When the apply ended.
    pub at: DateTime<Utc>,
    /// Version of hostward.
    pub agent_version: String,
    /// The project that the host is pinned to, where it is.
    pub project: Option<String>,
    /// What caused this apply.
    pub cause: Cause,
    /// The policy in force afterwards.
    pub policy: Option<PolicyState>,
    /// Why the newest policy that was offered is not in force, where it is not.
    pub admission: Option<Finding>,
    /// Outcome of each step that was taken.
    pub steps: Vec<StepOutcome>,
    /// What was refused of the policy, one by one.
    pub refusals: Vec<Finding>,
    /// What had been changed behind hostward's back.
    pub drift: Vec<Finding>,
    /// What else somebody should know (a foreign broken sudoers file, an alias clash, a reboot that is due).
    pub warnings: Vec<Finding>,
    /// How many managed users can log in now.
    pub users: u32,
}

/// The schema of [`Report`].
pub const REPORT_SCHEMA: &str = "hostward/report/1";

/// What caused an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The agent put something into the inbox.
    Admission,
    /// The timer.
    Timer,
    /// An operator asked.
    Operator,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyState {
    /// Version of the timestamp, snapshot and targets metadata.
    pub version: u64,
    /// Version of the newest accepted root.
    pub root_version: u64,
    /// When its timestamp expires, or expired.
    pub expires: DateTime<Utc>,
    /// Whether it is past that, and what follows.
    pub staleness: Staleness,
}

/// How old the policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staleness {
    /// The timestamp has not expired.
    Fresh,
    /// It has; everything stays in force.
    Stale,
    /// Longer than `max_offline` ago; everything stays in force because the operator chose `keep`.
    OfflineKept,
    /// Longer than `max_offline` ago; managed users are locked because the operator chose `lock`.
    OfflineLocked,
}

/// Who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Responsible {
    /// The operator of this host (its configuration, its local files).
    Operator,
    /// Whoever administers the policy on the backend.
    Backend,
    /// Nobody: a condition of the host (full disk, a killed process) after which the next pass converges.
    Host,
}

/// Something that was found, whose it is to mend, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// A stable word for programs, such as `user-name-exists-locally`.
    pub code: String,
    /// What it is about, such as ``user `alice` (id u1)``.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// Who must act.
    pub responsible: Responsible,
    /// What to do.
    pub mend: String,
}

/// The outcome of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// The step, as `hostward plan` prints it.
    pub step: String,
    /// What it is about, for programs.
    #[serde(default)]
    pub about: About,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a step is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum About {
    /// The account database.
    Accounts {
        /// What changes in it, one by one.
        changes: Vec<AccountChange>,
        /// How many changes there are that are not named.
        #[serde(default)]
        more: u64,
    },
    /// Sudo rules.
    Sudo,
    /// Which SSH CAs are trusted, or which certificates are revoked.
    Trust,
    /// sshd's configuration, and the certificates that it presents.
    Sshd,
    /// Which local accounts stand for users, or what their ssh is told.
    Services,
    /// Sessions and processes of somebody who lost access.
    Sessions {
        /// The name they had.
        name: String,
        /// Their uid.
        uid: u32,
    },
    /// The home of somebody who left.
    Home {
        /// The name they had.
        name: String,
        /// Their uid.
        uid: u32,
        /// The home.
        home: String,
    },
    /// Something else: the pass itself, a directory of hostward's.
    #[default]
    #[serde(other)]
    Other,
}

/// One entry of the account database that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountChange {
    /// What becomes of it.
    pub change: Change,
    /// Whether it is a user or a group.
    pub entry: Entry,
    /// Its name, the new one where it changes.
    pub name: String,
    /// Its uid or gid.
    pub id: u32,
    /// What there is to say of it, such as `home, shell` or `with 2 members`; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Add,
    /// It goes.
    Remove,
    /// It stays, and differs.
    Change,
}

/// A kind of entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A user.
    User,
    /// A group.
    Group,
}

/// As a person reads it: `add user alice (70001)`.
impl std::fmt::Display for AccountChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match self.change {
            Change::Add => "add",
            Change::Remove => "remove",
            Change::Change => "change",
        };
        let entry = match self.entry {
            Entry::User => "user",
            Entry::Group => "group",
        };
        write!(f, "{verb} {entry} {} ({})", self.name, self.id)?;
        match (self.change, self.detail.as_str()) {
            (_, "") => Ok(()),
            (Change::Change, detail) => write!(f, ": {detail}"),
            (_, detail) => write!(f, " {detail}"),
        }
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// It took effect; what there is to say of it (sessions ended, for one).
    Done {
        /// Further detail, often empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// It did not; what was there before is still in force.
    Failed(Finding),
    /// Its precondition did not hold because an earlier step failed.
    Skipped {
        /// Which and why.
        reason: String,
    },
}

impl Report {
    /// That of a pass at `at` which has found and done nothing yet. `agent_version` is hostward's.
    pub fn new(cause: Cause, at: DateTime<Utc>, agent_version: &str) -> Self {
        Report {
            schema: REPORT_SCHEMA.into(),
            at,
            agent_version: agent_version.into(),
            project: None,
            cause,
            policy: None,
            admission: None,
            steps: Vec::new(),
            refusals: Vec::new(),
            drift: Vec::new(),
            warnings: Vec::new(),
            users: 0,
        }
    }

    /// Whether everything that was wanted is in force: nothing failed, nothing was refused admission.
    pub fn is_whole(&self) -> bool {
        self.admission.is_none() && self.steps.iter().all(|s| matches!(s.outcome, Outcome::Done { .. }))
    }

    /// How many entries of the policy were refused, each counted once however much is wrong with it.
    pub fn refused_entries(&self) -> usize {
        self.refusals.iter().map(|refusal| &refusal.subject).collect::<BTreeSet<_>>().len()
    }
}
