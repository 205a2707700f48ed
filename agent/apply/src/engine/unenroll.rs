//! Removes everything that hostward wrote. Homes stay, and so do archives of homes, and what the operator's configuration
//! binds to a step-ca.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use hostward_plan::desired;
use hostward_plan::facts::DatabaseFact;
use hostward_plan::sshd::{Admission, Authentication, Demands};
use hostward_protocol::local::ApplyReply;
use hostward_protocol::report::{Cause, Finding};

use super::Engine;
use crate::durable::{self, WriteError};
use crate::effect::{self, Setting};
use crate::finding::host;
use crate::grants;
use crate::narrate::narrate;
use crate::processes::LocalIds;
use crate::report;
use crate::root::{HOME_RETRIES, LEDGER, PRIVATE, REPORT, STATUS, TAKEN_TOKEN, UNTOLD};
use crate::store::Store;
use crate::trust::Trust;

impl Engine {
    /// Removes it. Done twice, it is done once; what fails keeps the records that the next attempt needs.
    pub(super) fn unenroll(self: &Arc<Self>, now: DateTime<Utc>) -> Result<ApplyReply, Finding> {
        let mut report = report::begin(Cause::Operator, now);
        report.project = Trust::load(&self.root)
            .ok()
            .and_then(|trust| trust.membership().map(|membership| membership.project.clone()));
        let facts = self.facts()?;
        // A configuration that cannot be read binds nobody.
        let stays = self.config().map(|config| desired::resolve_without_policy(&config, &facts));
        let mut plan = hostward_plan::unenroll(&stays.unwrap_or_default(), &facts, now);
        self.save_ledger(&facts.ledger, &plan.ledger_before)?;
        let local_uids = facts.local_users.iter().map(|user| user.uid).collect();
        let setting = Setting {
            root: &self.root,
            now,
            generation: 0,
            sshd: Demands {
                authentication: Authentication::CertificateToo,
                admission: Admission::Open,
                host_certificates: Vec::new(),
            },
            reload_was_due: facts.ledger.sshd_reload_due,
            probe_is_served: matches!(facts.database, DatabaseFact::Present(_)),
            local_uids: &local_uids,
            local_ids: &LocalIds::new(&local_uids, &facts.subordinate_ids),
        };
        let mut ledger = std::mem::take(&mut plan.ledger_before);
        let executed = effect::execute(&setting, &plan, &mut ledger);
        report.steps = executed.steps;
        report.warnings = executed.warnings;
        report.warnings.extend(effect::schedule_window(&self.root, None));
        self.look_again_later(executed.ended);
        narrate(&report, None);
        if report.is_whole() {
            self.forget().map_err(|error| host("unenroll-incomplete", "`/var/lib/hostward`", &error))?;
        } else {
            self.write_ledger(&ledger)?;
        }
        Ok(ApplyReply::Report(Box::new(report)))
    }

    /// The ledger goes last: as long as it is there, the next attempt knows what is hostward's.
    fn forget(&self) -> Result<(), WriteError> {
        let root = &self.root;
        durable::remove(&root.path(TAKEN_TOKEN))?;
        Store::new(root).remove()?;
        Trust::remove(root)?;
        durable::remove(&root.path(REPORT))?;
        durable::remove(&root.path(UNTOLD))?;
        durable::remove(&root.path(STATUS))?;
        durable::remove(&root.path(HOME_RETRIES))?;
        grants::forget(root)?;
        durable::remove(&root.path(LEDGER))?;
        // Not empty means that somebody else put something there, which is not ours to remove. The directory of what ssh
        // and sshd read is the package's: the agent watches it.
        let _ = std::fs::remove_dir(root.path(PRIVATE));
        Ok(())
    }
}
