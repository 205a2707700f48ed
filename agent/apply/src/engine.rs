//! One pass, as a story: what is offered is admitted, the host observed, a plan made, its steps taken, and a report
//! written. And the smaller things that may be asked.
//!
//! Only one pass runs at a time, in one process at a time. What is in force stays in force whatever fails.

mod ask;
mod background;
mod pass;
mod unenroll;

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_config::Config;
use hostward_plan::facts::ManagedFile;
use hostward_protocol::grants::GRANTS_FILE;
use hostward_protocol::local::{ApplyReply, ApplyRequest};
use hostward_protocol::report::{Cause, Finding, Responsible};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::durable::{self, WriteError};
use crate::enrollment;
use crate::finding::{chain, finding};
use crate::observe::{self, LocalError};
use crate::root::{
    DATABASE, LEDGER, LOCK, REPORT, RUN, Root, SSHD_CONFIG, STATUS, TAKEN_TOKEN, TRUST, UNTOLD,
};
use background::Background;

/// When the second look for processes of people who left is taken: by then what was being started has started.
pub const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Why nothing can be done at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// `/run/hostward` cannot be used.
    #[error("cannot use `/run/hostward`")]
    Run(#[source] WriteError),
    /// The lock cannot be taken.
    #[error("cannot lock `/run/hostward/apply.lock`")]
    Lock(#[source] std::io::Error),
    /// The local account files cannot be read.
    #[error("cannot look up the agent's user")]
    Accounts(#[source] LocalError),
    /// There is no user for the agent.
    #[error("there is no local user `hostward`: the package is not installed whole")]
    NoAgent,
}

/// What works for whoever asks.
#[derive(Debug)]
pub struct Engine {
    root: Root,
    agent_uid: u32,
    work: Mutex<()>,
    background: Background,
    second_look: Duration,
    /// Held as long as the process lives.
    _lock: File,
}

impl Engine {
    /// Takes the lock, waiting for another process to end, and removes what a killed one left. `second_look` after
    /// sessions were ended, processes of the same people are looked for once more.
    pub fn open(root: Root, second_look: Duration) -> Result<Arc<Engine>, EngineError> {
        durable::directory(&root.path(RUN), 0o755).map_err(EngineError::Run)?;
        let lock = lock(&root).map_err(EngineError::Lock)?;
        let agent_uid =
            observe::agent_uid(&root).map_err(EngineError::Accounts)?.ok_or(EngineError::NoAgent)?;
        sweep(&root);
        Ok(Arc::new(Engine {
            root,
            agent_uid,
            work: Mutex::default(),
            background: Background::default(),
            second_look,
            _lock: lock,
        }))
    }

    /// The uid of the network process.
    pub fn agent_uid(&self) -> u32 {
        self.agent_uid
    }

    /// Answers a request, at the time `now`.
    pub fn answer(self: &Arc<Self>, request: &ApplyRequest, now: DateTime<Utc>) -> ApplyReply {
        let _working = self.working();
        match request {
            ApplyRequest::Admit => ApplyReply::Report(Box::new(self.pass(Cause::Admission, now))),
            ApplyRequest::Apply { cause } => ApplyReply::Report(Box::new(self.pass(*cause, now))),
            ApplyRequest::Plan => self.plan(now).unwrap_or_else(ApplyReply::Failed),
            ApplyRequest::Explain { user } => self.explain(user, now).unwrap_or_else(ApplyReply::Failed),
            ApplyRequest::Unenroll => self.unenroll(now).unwrap_or_else(ApplyReply::Failed),
            ApplyRequest::ReadToken => self
                .config()
                .and_then(|config| {
                    enrollment::read_token(&self.root, &config).map_err(|error| error.finding())
                })
                .map_or_else(ApplyReply::Failed, ApplyReply::Enrollment),
            ApplyRequest::FinishEnrollment { outcome } => match enrollment::finish(&self.root, outcome) {
                Ok(()) => ApplyReply::Ok,
                Err(error) => ApplyReply::Failed(error.finding()),
            },
        }
    }

    /// Whether something still goes on that no request waits for.
    pub fn is_busy(&self) -> bool {
        self.background.is_busy()
    }

    /// Waits until nothing goes on any more.
    pub fn rest(&self) {
        self.background.rest();
    }

    fn working(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> Result<Config, Finding> {
        hostward_config::load(&self.root.path(hostward_config::PATH)).map_err(|error| {
            finding(
                Responsible::Operator,
                "configuration-invalid",
                "`/etc/hostward/hostward.toml`",
                chain(&error),
                "correct the file; nothing is changed on this host until then",
            )
        })
    }
}

fn lock(root: &Root) -> std::io::Result<File> {
    let file = rustix::fs::open(
        root.path(LOCK),
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::RUSR | Mode::WUSR,
    )?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file.into())
}

/// Removes temporary files and scratch directories of a process that was killed.
fn sweep(root: &Root) {
    let files = ManagedFile::ALL.map(ManagedFile::path);
    let others = [GRANTS_FILE, SSHD_CONFIG, LEDGER, REPORT, STATUS, TRUST, TAKEN_TOKEN, UNTOLD];
    for path in files.into_iter().chain(others) {
        durable::sweep(&root.path(path));
    }
    if let Err(error) = hostward_accounts::finish_interrupted(&root.path(DATABASE)) {
        log::warn!("{}", chain(&error));
    }
    for entry in std::fs::read_dir(root.path(RUN)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if [".admit-", ".krl-", ".sudoers-", ".sshd-"].iter().any(|p| name.starts_with(p)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
