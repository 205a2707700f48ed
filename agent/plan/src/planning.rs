//! From the difference between desired state and facts to ordered steps.
//!
//! First whatever takes away, then whatever gives. A thing that changes in both ways is written twice: what both the old
//! and the new state give, then the new state. Pure and total: no I/O, no clock, no randomness, no choice left to
//! whoever takes the steps.

mod accounts;
mod changes;
mod drift;
mod files;
mod homes;
mod people;
mod services;
mod sessions;
mod target;

use chrono::{DateTime, Utc};
use hostward_config::Config;

use crate::desired::Desired;
use crate::facts::{DatabaseFact, Facts, ManagedFile};
use crate::sshd;
use crate::step::{Direction, Plan, PlannedStep, Step};
pub use drift::not_repaired;
use target::Target;

/// What is to be done so that the host is as `desired`.
pub fn plan(desired: &Desired, config: &Config, facts: &Facts, now: DateTime<Utc>) -> Plan {
    let target = Target::new(desired, config, facts);
    let mut ledger = people::remember(desired, Some(&target), facts, now);
    let homes = homes::due(desired, config, facts, &ledger, now);
    let mut steps = Steps::default();

    for directory in facts.loose_directories.iter().copied() {
        steps.narrow(Step::RestoreDirectory { directory }, "");
    }
    files::user_ca(&target, facts, &mut steps);
    files::krl(&target, facts, &mut steps);
    services::replace(&target, facts, &mut steps);
    files::sshd(&target, facts, &mut steps);
    files::denied(&target, facts, &mut steps);
    files::sudoers(&target, facts, &mut steps);
    accounts::replace(&desired.accounts, &facts.database, &mut steps);
    sessions::end(desired, facts, &ledger, &mut steps);
    homes.steps.into_iter().for_each(|step| steps.narrow(step, ""));

    ledger.sshd_reload_due = steps.reloads();
    Plan {
        drift: drift::find(&target, facts),
        leaving: sessions::leaving(desired, facts),
        probe: target.probe(desired, facts),
        next_change: [desired.next_change, homes.next].into_iter().flatten().min(),
        ledger_before: ledger,
        steps: steps.into_ordered(),
    }
}

/// What is to be done so that nothing of hostward's is left on the host but homes.
///
/// sshd's configuration goes after the accounts: as long as somebody could log in, certificate-only login holds.
pub fn unenroll(facts: &Facts, now: DateTime<Utc>) -> Plan {
    let nobody = Desired::default();
    let mut ledger = people::remember(&nobody, None, facts, now);
    let mut steps = Steps::default();
    services::remove(facts, &mut steps);
    steps.remove(ManagedFile::Denied, facts);
    steps.remove(ManagedFile::Sudoers, facts);
    if facts.database != DatabaseFact::Absent {
        steps.narrow(Step::RemoveAccounts, "");
    }
    sessions::end(&nobody, facts, &ledger, &mut steps);
    files::remove_sshd(facts, &mut steps);
    steps.remove(ManagedFile::UserCa, facts);
    ledger.sshd_reload_due = steps.reloads();
    Plan {
        leaving: sessions::leaving(&nobody, facts),
        ledger_before: ledger,
        steps: steps.into_ordered(),
        ..Plan::default()
    }
}

/// Steps as they are found: narrowing and widening ones apart, each in their order.
#[derive(Debug, Default)]
struct Steps {
    narrow: Vec<PlannedStep>,
    widen: Vec<PlannedStep>,
}

impl Steps {
    fn narrow(&mut self, step: Step, detail: impl Into<String>) {
        self.narrow.push(PlannedStep { step, direction: Direction::Narrow, detail: detail.into() });
    }

    fn widen(&mut self, step: Step, detail: impl Into<String>) {
        self.widen.push(PlannedStep { step, direction: Direction::Widen, detail: detail.into() });
    }

    fn remove(&mut self, file: ManagedFile, facts: &Facts) {
        if facts.files.contains_key(&file) {
            self.narrow(Step::RemoveFile { file }, "");
        }
    }

    fn reloads(&self) -> bool {
        self.narrow.iter().chain(&self.widen).any(|planned| planned.step == Step::ReloadSshd)
    }

    /// Accounts are given first, then trust, then sudo.
    fn into_ordered(mut self) -> Vec<PlannedStep> {
        self.widen.sort_by_key(|planned| match &planned.step {
            Step::ReplaceAccounts { .. } => 0,
            Step::WriteFile { file: ManagedFile::HostCertificate(_) | ManagedFile::SshdDropIn, .. }
            | Step::EditSshdMain { .. } => 1,
            Step::ReloadSshd => 2,
            Step::WriteFile { file: ManagedFile::UserCa, .. } => 3,
            _ => 4,
        });
        self.narrow.extend(self.widen);
        self.narrow
    }
}

/// Whether the main file would have to change, and to what.
fn main_edit(facts: &Facts, wants_block: bool) -> Option<String> {
    let main = &facts.sshd.as_ref()?.main;
    let edited = match wants_block {
        true => sshd::with_block(main),
        false if sshd::has_block(main) => sshd::without_block(main),
        false => return None,
    };
    (edited != *main).then_some(edited)
}
