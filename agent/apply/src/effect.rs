//! Takes the steps of a plan. No choices are made here: what to do, and in which order, the plan says.
//!
//! A step that fails leaves what was there before, becomes a finding, and does not stop the others; but what widens
//! access is skipped once something that narrows it has failed.

mod accounts;
mod file;
mod health;
mod homes;
mod krl;
mod sshd;
mod sudoers;
mod window;

pub use health::look as look_after;
pub use homes::{
    Fate, HomeError, finish as finish_home, moved_aside, retry as home_retry, settle, sweep_archive,
};
pub use window::schedule as schedule_window;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use hostward_plan::facts::ManagedFile;
use hostward_plan::ledger::{DATABASE_PATH, Ledger, WrittenFile};
use hostward_plan::sshd::Demands;
use hostward_plan::step::{Direction, Plan, PlannedStep, Step};
use hostward_protocol::report::{Finding, Outcome, StepOutcome};

use crate::durable;
use crate::finding::host;
use crate::processes::{LocalIds, Whose};
use crate::root::{Root, SSHD_CONFIG};
use crate::sessions::{self, Leaver};

/// What a step needs to know besides itself.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    /// The host.
    pub root: &'a Root,
    /// The time of the pass.
    pub now: DateTime<Utc>,
    /// A number for the account database, for people: the policy's version.
    pub generation: u64,
    /// What sshd is asked to show for [`Plan::probe`].
    pub sshd: Demands,
    /// sshd had not read its configuration since an earlier change.
    pub reload_was_due: bool,
    /// Whether [`Plan::probe`] is served before the first step.
    pub probe_is_served: bool,
    /// Uids of local accounts, which nothing is ever done to.
    pub local_uids: &'a BTreeSet<u32>,
    /// The same with what /etc/subuid and /etc/subgid give away.
    pub local_ids: &'a LocalIds,
}

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Executed {
    /// Of each step.
    pub steps: Vec<StepOutcome>,
    /// What somebody should know besides.
    pub warnings: Vec<Finding>,
    /// Homes to be settled, which takes as long as it takes.
    pub homes: Vec<Fate>,
    /// Whose sessions ended, to be looked for once more.
    pub ended: Whose,
    /// How many users the account database holds, where a step replaced it.
    pub served: Option<usize>,
}

/// What a step did: what there is to say of it, and what somebody should know besides.
#[derive(Clone, Debug, Default)]
struct Done {
    detail: String,
    warnings: Vec<Finding>,
}

/// Takes all steps, in order. `ledger` is brought up to date with what took effect.
pub fn execute(setting: &Setting<'_>, plan: &Plan, ledger: &mut Ledger) -> Executed {
    let mut execution = Execution {
        setting,
        plan,
        ledger,
        executed: Executed::default(),
        failed_narrowing: None,
        probe_is_served: setting.probe_is_served,
        sshd_changes: Vec::new(),
        sshd_failed: false,
        sshd_changed: false,
    };
    execution.run();
    execution.executed
}

/// A plan being executed.
struct Execution<'a> {
    setting: &'a Setting<'a>,
    plan: &'a Plan,
    ledger: &'a mut Ledger,
    executed: Executed,
    failed_narrowing: Option<String>,
    probe_is_served: bool,
    /// Changes whose effect was not looked at yet.
    sshd_changes: Vec<Unverified>,
    sshd_failed: bool,
    sshd_changed: bool,
}

/// Whether sshd does what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It does.
    AsToldTo,
    /// It did not, and what it was before is in place again.
    Undone,
    /// Nobody is served yet whom it could be asked about.
    Unknown,
}

/// A change of sshd's configuration that may have to be undone.
#[derive(Debug)]
struct Unverified {
    /// Number of its step.
    step: usize,
    change: sshd::Change,
    /// What the ledger said of the file before.
    written: Option<WrittenFile>,
}

impl Execution<'_> {
    fn run(&mut self) {
        let mut looked_again = false;
        let mut steps = self.plan.steps.as_slice();
        while let Some(first) = steps.first() {
            if first.direction == Direction::Widen && !looked_again {
                looked_again = true;
                self.end_once_more();
            }
            if first.step == Step::ReloadSshd && self.verify_sshd() == Effect::Undone {
                (self.sshd_failed, self.sshd_changed) = (true, false);
            }
            let leavers = leading_leavers(steps, self.ledger);
            let results = match self.reason_to_skip(first) {
                Some(reason) => vec![Err(Outcome::Skipped { reason })],
                None if leavers.is_empty() => vec![self.one(first).map_err(Outcome::Failed)],
                None => self.end_all(&leavers).into_iter().map(|r| r.map_err(Outcome::Failed)).collect(),
            };
            let (taken, rest) = steps.split_at(results.len());
            for (step, result) in taken.iter().zip(results) {
                self.record(step, result);
            }
            steps = rest;
        }
        if !looked_again {
            self.end_once_more();
        }
        if self.sshd_failed && !self.sshd_changed {
            self.ledger.sshd_reload_due = self.setting.reload_was_due;
        }
        // Those that nobody could be asked about before the reload.
        if self.verify_sshd() == Effect::Undone
            && let Err(finding) = sshd::reload(self.setting.root)
        {
            self.ledger.sshd_reload_due = true;
            self.executed.warnings.push(finding);
        }
    }

    fn reason_to_skip(&self, step: &PlannedStep) -> Option<String> {
        let untouched = self.sshd_failed && !self.sshd_changed && !self.setting.reload_was_due;
        if step.step == Step::ReloadSshd && untouched {
            return Some("its configuration was not changed".into());
        }
        let failed = self.failed_narrowing.as_ref().filter(|_| step.direction == Direction::Widen)?;
        Some(format!("`{failed}` failed, and nobody gains access before others have lost it"))
    }

    fn record(&mut self, step: &PlannedStep, result: Result<Done, Outcome>) {
        let result = result.map_or_else(
            |outcome| outcome,
            |done| {
                self.executed.warnings.extend(done.warnings);
                let detail = [step.detail.as_str(), done.detail.as_str()];
                let detail: Vec<&str> = detail.into_iter().filter(|d| !d.is_empty()).collect();
                Outcome::Done { detail: detail.join("; ") }
            },
        );
        if matches!(result, Outcome::Failed(_)) && step.direction == Direction::Narrow {
            self.failed_narrowing.get_or_insert(step.step.to_string());
        }
        self.executed.steps.push(StepOutcome {
            step: step.step.to_string(),
            about: step.step.about(),
            outcome: result,
        });
    }

    /// A session may have begun between observation and the step that took the login away.
    fn end_once_more(&mut self) {
        let people = &self.ledger.people;
        let leaver = |uid: &u32| Some(Leaver::new(*uid, &people.get(uid)?.name, self.ledger));
        let leavers: Vec<Leaver> = self.plan.leaving.iter().filter_map(leaver).collect();
        let leavers = self.endable(&leavers);
        if leavers.is_empty() {
            return;
        }
        for (uid, result) in sessions::end(self.setting.root, &leavers) {
            self.executed.ended.add(uid, self.ledger.people.get(&uid));
            self.executed.warnings.extend(result.err());
        }
    }

    fn end_all(&mut self, leavers: &[Leaver]) -> Vec<Result<Done, Finding>> {
        let mut outcomes = sessions::end(self.setting.root, &self.endable(leavers));
        outcomes.keys().for_each(|uid| self.executed.ended.add(*uid, self.ledger.people.get(uid)));
        let done = |detail: String| Ok(Done { detail, ..Done::default() });
        leavers
            .iter()
            .map(|leaver| match outcomes.remove(&leaver.uid) {
                Some(Ok(0)) => done(String::new()),
                Some(Ok(1)) => done("1 process ended".into()),
                Some(Ok(n)) => done(format!("{n} processes ended")),
                Some(Err(finding)) => Err(finding),
                None => done("left alone: the uid is a local account's".into()),
            })
            .collect()
    }

    /// Those whose uid is not a local account's, which no plan ends: what would be fatal is checked twice. Without the
    /// subordinate ids that somebody local has by now.
    fn endable(&self, leavers: &[Leaver]) -> Vec<Leaver> {
        let is_local = |uid| uid < 1000 || self.setting.local_uids.contains(&uid);
        let mut leavers: Vec<Leaver> =
            leavers.iter().filter(|leaver| !is_local(leaver.uid)).cloned().collect();
        leavers.iter_mut().for_each(|leaver| leaver.whose.spare(self.setting.local_ids));
        leavers
    }

    /// Whether sshd does what it was told, if there is somebody to ask about; else all of it is undone. Asked once all
    /// changes are made: the drop-in and the block that includes it have effect together.
    fn verify_sshd(&mut self) -> Effect {
        let Some(probe) = self.plan.probe.as_deref().filter(|_| self.probe_is_served) else {
            return Effect::Unknown;
        };
        let changes = std::mem::take(&mut self.sshd_changes);
        if changes.is_empty() {
            return Effect::AsToldTo;
        }
        let Some(problem) = sshd::effect(self.setting, probe).unwrap_or_else(Some) else {
            return Effect::AsToldTo;
        };
        for Unverified { step, change, written } in changes.into_iter().rev() {
            let finding = change.undo().err().unwrap_or_else(|| problem.clone());
            if let Some(taken) = self.executed.steps.get_mut(step) {
                taken.outcome = Outcome::Failed(finding);
            }
            if let Some(planned) = self.plan.steps.get(step).filter(|p| p.direction == Direction::Narrow) {
                self.failed_narrowing.get_or_insert(planned.step.to_string());
            }
            match written {
                Some(written) => _ = self.ledger.files.insert(change.name().into(), written),
                None => _ = self.ledger.files.remove(change.name()),
            }
        }
        Effect::Undone
    }

    /// Notes a change, whose effect is looked at before sshd is made to read it where that is possible.
    fn sshd_change(&mut self, change: Result<sshd::Change, Finding>) -> Result<(), Finding> {
        let change = change.inspect_err(|_| self.sshd_failed = true)?;
        let written = self.ledger.files.get(change.name()).cloned();
        self.sshd_changed = true;
        self.sshd_changes.push(Unverified { step: self.executed.steps.len(), change, written });
        Ok(())
    }

    fn one(&mut self, planned: &PlannedStep) -> Result<Done, Finding> {
        let root = self.setting.root;
        match &planned.step {
            Step::RestoreDirectory { directory } => {
                durable::restore_directory(&root.path(directory.path()), directory.mode())
                    .map_err(|error| write_failed(directory.path(), &error))?;
            }
            Step::WriteFile { file, content } => {
                let done = match file {
                    ManagedFile::Sudoers => sudoers::install(root, content)?,
                    ManagedFile::SshdDropIn => {
                        self.sshd_change(sshd::install(root, content))?;
                        Done::default()
                    }
                    ManagedFile::HostCertificate(_) => {
                        self.sshd_changed = true;
                        file::install(root, *file, content)?
                    }
                    ManagedFile::UserCa
                    | ManagedFile::Krl
                    | ManagedFile::Denied
                    | ManagedFile::Services
                    | ManagedFile::KnownHosts
                    | ManagedFile::ClientConfig => file::install(root, *file, content)?,
                };
                self.ledger.files.insert(file.path().into(), WrittenFile::of(content));
                return Ok(done);
            }
            Step::WriteKrl { spec, user_ca } => {
                let krl::Installed { content, left_out } = krl::install(self.setting, spec, user_ca)?;
                let mut written = WrittenFile::of(&content);
                // With something left out it is compiled again each time, so that it is said for as long as it is so.
                written.source_sha256 = left_out.is_empty().then(|| spec.source_sha256(user_ca));
                self.ledger.files.insert(ManagedFile::Krl.path().into(), written);
                return Ok(Done { warnings: left_out, ..Done::default() });
            }
            Step::RemoveFile { file } => {
                file::remove(root, *file)?;
                self.ledger.files.remove(file.path());
            }
            Step::EditSshdMain { content } => {
                self.sshd_change(sshd::edit_main(root, content))?;
                if hostward_plan::sshd::has_block(content) {
                    let written = WrittenFile::of(content.as_bytes());
                    self.ledger.files.insert(SSHD_CONFIG.into(), written);
                } else {
                    self.ledger.files.remove(SSHD_CONFIG);
                }
            }
            Step::ReloadSshd => {
                sshd::reload(root)?;
                self.ledger.sshd_reload_due = false;
            }
            Step::ReplaceAccounts { accounts, .. } => {
                let bytes = accounts::replace(root, accounts, self.setting.generation)?;
                self.executed.served = Some(accounts.users.len());
                self.ledger.files.insert(DATABASE_PATH.into(), WrittenFile::of(&bytes));
                let probe = self.plan.probe.as_ref();
                self.probe_is_served =
                    probe.is_some_and(|probe| accounts.users.iter().any(|u| u.name == *probe));
            }
            Step::RemoveAccounts => {
                accounts::remove(root)?;
                self.executed.served = Some(0);
                self.ledger.files.remove(DATABASE_PATH);
            }
            Step::EndSessions { uid, name } => {
                let leavers = [Leaver::new(*uid, name, self.ledger)];
                return self.end_all(&leavers).pop().unwrap_or_else(|| Ok(Done::default()));
            }
            Step::ArchiveHome { uid, name, home } => {
                return Ok(self.begin(Fate::archive(*uid, name, home, self.setting.now)));
            }
            Step::DeleteHome { uid, name, home } => {
                return Ok(self.begin(Fate::delete(*uid, name, home, self.setting.now)));
            }
        }
        Ok(Done::default())
    }

    /// Has a home settled, unless the last attempt failed not long ago.
    fn begin(&mut self, fate: Fate) -> Done {
        let detail = match homes::retry::waits_until(self.setting.root, fate.uid, self.setting.now) {
            Some(at) => format!("the last attempt failed; the next is not before {}", at.to_rfc3339()),
            None => {
                self.executed.homes.push(fate);
                "begun".into()
            }
        };
        Done { detail, ..Done::default() }
    }
}

/// Sessions end together: each may take its 300 ms, and there may be many.
fn leading_leavers(steps: &[PlannedStep], ledger: &Ledger) -> Vec<Leaver> {
    steps
        .iter()
        .map_while(|planned| match &planned.step {
            Step::EndSessions { uid, name } => Some(Leaver::new(*uid, name, ledger)),
            _ => None,
        })
        .collect()
}

/// A write that failed.
fn write_failed(subject: &str, error: &crate::durable::WriteError) -> Finding {
    host("write-failed", format!("`{subject}`"), error)
}
