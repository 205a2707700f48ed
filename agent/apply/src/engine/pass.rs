//! One pass: admit, observe, plan, apply, report.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hostward_config::Config;
use hostward_plan::Plan;
use hostward_plan::desired::{self, Desired};
use hostward_plan::facts::{DatabaseFact, Facts};
use hostward_plan::ledger::Ledger;
use hostward_plan::policy::{Policy, PolicyError, Versions};
use hostward_plan::sshd::Demands;
use hostward_protocol::report::{Cause, Finding, Outcome, Report, Responsible};

use super::Engine;
use crate::admit::{self, Held, Refusal};
use crate::effect::{self, Setting};
use crate::enrollment::damaged_trust;
use crate::finding::{chain, finding, host};
use crate::grants;
use crate::inbox::Inbox;
use crate::narrate::narrate;
use crate::observe;
use crate::processes::LocalIds;
use crate::records;
use crate::report;
use crate::root::{DATABASE, LEDGER, RUN};
use crate::state;
use crate::store::{Committed, Document, Store};
use crate::trust::{self, Anchor, Pin, Source, Trust};
use crate::untold;

/// What is to be in force.
#[derive(Debug)]
pub(super) enum InForce {
    /// A policy, and with it the operator's configuration.
    Policy(Box<Policy>),
    /// The operator's configuration alone: no policy was accepted.
    Configuration,
}

impl InForce {
    pub(super) fn of(policy: Option<Policy>) -> Self {
        policy.map_or(InForce::Configuration, |policy| InForce::Policy(policy.into()))
    }
}

/// Everything that a plan is made of.
pub(super) struct Prepared {
    pub facts: Facts,
    pub desired: Desired,
    pub plan: Plan,
}

impl Engine {
    /// A pass. Whatever goes wrong is in the report; what is in force stays so.
    pub(super) fn pass(self: &Arc<Self>, cause: Cause, now: DateTime<Utc>) -> Report {
        let last = report::last(&self.root);
        let mut report = report::begin(cause, now);
        report.steps = self.background.outcomes();
        report.warnings.extend(records::rotate(&self.root, now));
        report.warnings.extend(last.as_ref().and_then(|last| report::clock_went_back(last, now)));
        let config = match self.config() {
            Ok(config) => config,
            Err(finding) => {
                report::fail(&mut report, "read the configuration", finding);
                self.is_as_it_was(&mut report, last.as_ref());
                return self.save(report, last.as_ref(), None);
            }
        };
        let trust = Trust::load(&self.root).map_err(|error| damaged_trust(&error));
        let source = trust.as_ref().ok().and_then(|trust| self.describe_trust(&config, trust, &mut report));
        let in_force = match trust {
            Ok(trust) => self.in_force(cause, &config, trust, &mut report),
            Err(finding) => {
                report.admission = Some(finding);
                // Nobody knows whether there is to be one.
                self.committed_policy().ok().flatten().map(|policy| InForce::of(Some(policy)))
            }
        };
        if report.admission.is_none() && cause != Cause::Admission {
            let before = last.as_ref().and_then(|last| last.admission.clone());
            report.admission = before.filter(is_about_the_offer);
        }
        if let Some(in_force) = in_force {
            // What was wrong is wrong until somebody has looked: nothing comes in between that forgets it.
            let looks =
                cause != Cause::Admission || last.as_ref().is_some_and(|last| !last.warnings.is_empty());
            self.take_effect(looks, &config, &in_force, now, &mut report);
        }
        if report.policy.is_none() && !report.is_whole() {
            self.is_as_it_was(&mut report, last.as_ref());
        }
        self.save(report, last.as_ref(), source)
    }

    /// A pass that could not find out what is in force, or could not begin, left it as it was.
    fn is_as_it_was(&self, report: &mut Report, last: Option<&Report>) {
        if let Some(last) = last.filter(|last| last.policy.is_some()) {
            report.policy.clone_from(&last.policy);
            if report.project.is_none() {
                report.project.clone_from(&last.project);
            }
        }
        report.users = report::users(&Desired::default(), None, &observe::database(&self.root));
    }

    fn save(&self, mut report: Report, last: Option<&Report>, trust: Option<Source>) -> Report {
        narrate(&report, last);
        let untold = untold::keep_or_tell(&self.root, &mut report).unwrap_or_else(|error| {
            log::warn!("{}", chain(&error));
            false
        });
        if let Err(error) = report::save(&self.root, &report, trust.map(Source::word), untold) {
            log::error!("{}", chain(&error));
        }
        report
    }

    /// Says which project the host belongs to; answers with where its root of trust came from.
    fn describe_trust(&self, config: &Config, trust: &Trust, report: &mut Report) -> Option<Source> {
        let membership = trust.membership();
        report.project = membership.map(|m| m.project.clone()).or_else(|| config.trust.project.clone());
        let effective = trust::effective(&self.root, config, membership).ok()?;
        Some(effective.anchor.source())
    }

    /// What to apply: the policy offered if it is admitted, else the one committed, else the configuration alone. Nothing
    /// where that cannot be told.
    fn in_force(&self, cause: Cause, config: &Config, trust: Trust, report: &mut Report) -> Option<InForce> {
        if cause == Cause::Admission {
            match self.admit(config, trust) {
                Ok(policy) => return Some(InForce::of(Some(policy))),
                // An outage is told by how stale the policy is; nobody refused anything.
                Err(Refusal::Expired(_)) if self.offers_what_is_committed() => {}
                Err(refusal) => report.admission = Some(refusal.finding()),
            }
        }
        match self.committed_policy() {
            Ok(policy) => Some(InForce::of(policy)),
            Err(finding) => {
                report.admission.get_or_insert(finding);
                None
            }
        }
    }

    fn offers_what_is_committed(&self) -> bool {
        let offered = Inbox::open(&self.root, self.agent_uid).and_then(|inbox| inbox.read("timestamp.json"));
        match (offered, Store::new(&self.root).load()) {
            (Ok(offered), Ok(Some(committed))) => offered == committed.timestamp.as_bytes(),
            _ => false,
        }
    }

    fn admit(&self, config: &Config, mut trust: Trust) -> Result<Policy, Refusal> {
        let effective = trust::effective(&self.root, config, trust.membership()).map_err(Refusal::Trust)?;
        let store = Store::new(&self.root);
        let committed = if effective.starts_anew {
            None
        } else {
            let committed = store.load().map_err(Refusal::Store)?;
            committed.filter(|committed| committed.project == effective.project)
        };
        let inbox = Inbox::open(&self.root, self.agent_uid).map_err(|error| {
            if error.is_not_found() { Refusal::NothingOffered } else { Refusal::Inbox(error) }
        })?;
        let held = Held {
            trust: &effective,
            committed: committed.as_ref(),
            store: &store,
            scratch: &self.root.path(RUN),
        };
        let admitted = admit::admit(inbox, held)?;
        let policy = read(&admitted.committed, &admitted.documents).map_err(Refusal::Policy)?;
        if admitted.is_new {
            store.commit(&admitted.committed, &admitted.documents).map_err(Refusal::Commit)?;
        }
        self.settle_trust(&mut trust, &effective.anchor, &admitted.committed);
        Ok(policy)
    }

    /// After an admission: the first use leaves its pin, and a new enrollment has its own store.
    fn settle_trust(&self, trust: &mut Trust, anchor: &Anchor, committed: &Committed) {
        let before = trust.clone();
        let membership = match (&mut trust.current, &mut trust.pending) {
            (Some(current), _) => current,
            (None, Some(pending)) => pending,
            (None, None) => return,
        };
        membership.starts_anew = false;
        if *anchor == Anchor::FirstUse
            && membership.pin.is_none()
            && let Some((version, sha256)) = committed.roots.first_key_value()
        {
            membership.pin = Some(Pin { sha256: sha256.clone(), version: *version });
            membership.source = Some(Source::FirstUse);
        }
        if *trust != before
            && let Err(error) = trust.save(&self.root)
        {
            // The same is found again at the next admission.
            log::warn!("{}", chain(&error));
        }
    }

    pub(super) fn committed_policy(&self) -> Result<Option<Policy>, Finding> {
        let store = Store::new(&self.root);
        let refused = |refusal: Refusal| refusal.finding();
        let Some(committed) = store.load().map_err(Refusal::Store).map_err(refused)? else {
            return Ok(None);
        };
        let documents = store.documents(&committed).map_err(Refusal::Store).map_err(refused)?;
        read(&committed, &documents).map_err(Refusal::Policy).map_err(refused).map(Some)
    }

    /// Makes the host what the policy and the configuration say. `looks`: looks after what others may have broken as well,
    /// which nobody who loses access should have to wait for.
    fn take_effect(
        self: &Arc<Self>,
        looks: bool,
        config: &Config,
        in_force: &InForce,
        now: DateTime<Utc>,
        report: &mut Report,
    ) {
        if let Err(error) = hostward_accounts::finish_interrupted(&self.root.path(DATABASE)) {
            report.warnings.push(host("accounts-failed", "`/var/lib/misc/hostward.db`", &error));
        }
        let prepared = match self.prepare(config, in_force, now) {
            Ok(prepared) => prepared,
            Err(finding) => return report::fail(report, "observe the host", finding),
        };
        let Prepared { facts, desired, mut plan } = prepared;
        let policy = match in_force {
            InForce::Policy(policy) => Some(policy.as_ref()),
            InForce::Configuration => None,
        };
        report::describe(report, policy, &desired);
        report.drift.clone_from(&plan.drift);
        report.users = report::users(&desired, None, &facts.database);
        if let Err(finding) = self.save_ledger(&facts.ledger, &plan.ledger_before) {
            // A uid that nobody remembers could be given to somebody else.
            return report::fail(report, "write the ledger", finding);
        }
        let local_uids: BTreeSet<u32> = facts.local_users.iter().map(|user| user.uid).collect();
        let setting = Setting {
            root: &self.root,
            now,
            generation: policy.map_or(0, |policy| policy.version),
            sshd: Demands::of(&desired, &facts.sshd.clone().unwrap_or_default()),
            reload_was_due: facts.ledger.sshd_reload_due,
            probe_is_served: is_served(plan.probe.as_deref(), &facts),
            local_uids: &local_uids,
            local_ids: &LocalIds::new(&local_uids, &facts.subordinate_ids),
        };
        // A ledger of a large project is large: it is moved, and compared by the part that steps change.
        let mut ledger = std::mem::take(&mut plan.ledger_before);
        let before = (ledger.files.clone(), ledger.sshd_reload_due);
        let executed = effect::execute(&setting, &plan, &mut ledger);
        if before != (ledger.files.clone(), ledger.sshd_reload_due)
            && let Err(finding) = self.write_ledger(&ledger)
        {
            report.warnings.push(finding);
        }
        for (planned, taken) in plan.steps.iter().zip(&executed.steps) {
            if !matches!(taken.outcome, Outcome::Done { .. }) {
                hostward_plan::not_repaired(&mut report.drift, &planned.step);
            }
        }
        report.steps.extend(executed.steps);
        report.users = report::users(&desired, executed.served, &facts.database);
        report.warnings.extend(executed.warnings);
        if looks {
            let served = plan.probe.as_deref();
            report.warnings.extend(effect::look_after(&setting, served));
        }
        report.warnings.extend(grants::tell(&self.root, &desired.grants));
        report.warnings.extend(effect::schedule_window(&self.root, plan.next_change));
        report.warnings.dedup();
        self.look_again_later(executed.ended);
        self.settle_homes(executed.homes, &config.accounts.home_parents, now);
    }

    pub(super) fn prepare(
        &self,
        config: &Config,
        in_force: &InForce,
        now: DateTime<Utc>,
    ) -> Result<Prepared, Finding> {
        let facts = self.facts()?;
        let (desired, plan) = match in_force {
            InForce::Policy(policy) => {
                let desired = desired::resolve(policy, config, &facts, now);
                let plan = hostward_plan::plan(&desired, config, &facts, now);
                (desired, plan)
            }
            InForce::Configuration => {
                let desired = desired::resolve_without_policy(config, &facts);
                let plan = hostward_plan::plan_without_policy(&desired, config, &facts, now);
                (desired, plan)
            }
        };
        Ok(Prepared { facts, desired, plan })
    }

    pub(super) fn facts(&self) -> Result<Facts, Finding> {
        let ledger = state::read::<Ledger>(&self.root.path(LEDGER), LEDGER).map_err(|error| {
            finding(
                Responsible::Operator,
                "ledger-damaged",
                "`/var/lib/hostward/ledger.json`",
                chain(&error),
                "restore it from a backup; or, if no uid was ever given to another person, move it aside and run `hostward apply`",
            )
        })?;
        observe::facts(&self.root, ledger.unwrap_or_default()).map_err(|error| {
            finding(
                Responsible::Operator,
                "host-not-observed",
                "local account files",
                chain(&error),
                "restore the file; nothing is changed on this host until then",
            )
        })
    }

    pub(super) fn save_ledger(&self, before: &Ledger, after: &Ledger) -> Result<(), Finding> {
        if before == after {
            return Ok(());
        }
        self.write_ledger(after)
    }

    pub(super) fn write_ledger(&self, ledger: &Ledger) -> Result<(), Finding> {
        state::write(&self.root.path(LEDGER), ledger, 0o600)
            .map_err(|error| host("ledger-not-written", "`/var/lib/hostward/ledger.json`", &error))
    }
}

fn read(committed: &Committed, documents: &[Document]) -> Result<Policy, PolicyError> {
    let versions = Versions {
        version: committed.version,
        root_version: committed.root_version,
        expires: committed.expires,
    };
    let documents = documents.iter().map(|d| (d.name.as_str(), d.bytes.as_slice()));
    Policy::read(versions, documents, &committed.project)
}

fn is_served(probe: Option<&str>, facts: &Facts) -> bool {
    match (&facts.database, probe) {
        (DatabaseFact::Present(accounts), Some(probe)) => {
            accounts.users.iter().any(|user| user.name == probe)
        }
        _ => false,
    }
}

/// Whether a finding says why an offered policy was refused; those about the host itself are found anew.
fn is_about_the_offer(finding: &Finding) -> bool {
    !["store-damaged", "trust-damaged", "inbox-empty", "commit-failed", "scratch-failed"]
        .contains(&finding.code.as_str())
}
