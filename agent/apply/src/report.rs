//! Assembles the report of a pass, and the status that everybody may read.

use chrono::{DateTime, Utc};
use hostward_plan::desired::Desired;
use hostward_plan::facts::DatabaseFact;
use hostward_plan::policy::Policy;
use hostward_protocol::local::HostStatus;
use hostward_protocol::report::{
    About, Cause, Finding, Outcome, PolicyState, Report, Responsible, Staleness, StepOutcome,
};

use crate::durable::WriteError;
use crate::finding::finding;
use crate::root::{REPORT, Root, STATUS};
use crate::state;

/// Version of hostward.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How far the clock may step back without being mentioned: time synchronisation does that.
const CLOCK_SLACK: chrono::TimeDelta = chrono::TimeDelta::seconds(5);

/// An empty report.
pub fn begin(cause: Cause, now: DateTime<Utc>) -> Report {
    Report::new(cause, now, VERSION)
}

/// Says of a report which policy it is about, where there is one, and what is refused of it and of the configuration.
pub fn describe(report: &mut Report, policy: Option<&Policy>, desired: &Desired) {
    report.policy = policy.map(|policy| PolicyState {
        version: policy.version,
        root_version: policy.root_version,
        expires: policy.expires,
        staleness: desired.staleness.unwrap_or(Staleness::Fresh),
    });
    report.refusals.clone_from(&desired.refusals);
    report.warnings.extend(desired.warnings.iter().cloned());
}

/// How many managed users can log in: those in the account database as the pass found it, or `served` it.
pub fn users(desired: &Desired, served: Option<usize>, found: &DatabaseFact) -> u32 {
    let found = || match found {
        DatabaseFact::Present(accounts) => accounts.users.len(),
        DatabaseFact::Absent | DatabaseFact::Damaged(_) => 0,
    };
    let users = if desired.locked { 0 } else { served.unwrap_or_else(found) };
    u32::try_from(users).unwrap_or(u32::MAX)
}

/// A pass that could not even begin.
pub fn fail(report: &mut Report, step: &str, finding: Finding) {
    report.steps.push(StepOutcome {
        step: step.into(),
        about: About::Other,
        outcome: Outcome::Failed(finding),
    });
}

/// The report of the pass before, if it can be read. Nothing depends on it but what people are told.
pub fn last(root: &Root) -> Option<Report> {
    state::read(&root.path(REPORT), REPORT).ok().flatten()
}

/// Whether the clock went back since `last`.
pub fn clock_went_back(last: &Report, now: DateTime<Utc>) -> Option<Finding> {
    (now < last.at - CLOCK_SLACK).then(|| {
        let seconds = (last.at - now).num_seconds();
        finding(
            Responsible::Operator,
            "clock-went-back",
            "clock",
            format!("the clock is {seconds} s before the time of the last pass ({})", last.at.format("%F %TZ")),
            "set the clock and have it synchronised (systemd-timesyncd, chrony); expiries and time windows go by it",
        )
    })
}

/// Writes the report and the status. `trust` is the word for where the root of trust came from; `untold`: something is
/// kept that the agent was not told.
pub fn save(root: &Root, report: &Report, trust: Option<&str>, untold: bool) -> Result<(), WriteError> {
    state::write(&root.path(REPORT), report, 0o600)?;
    state::write(&root.path(STATUS), &HostStatus { untold, ..status(report, trust) }, 0o644)
}

fn status(report: &Report, trust: Option<&str>) -> HostStatus {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    HostStatus {
        at: report.at,
        version: VERSION.into(),
        project: report.project.clone(),
        trust: trust.map(str::to_owned),
        policy: report.policy.clone(),
        admission: report.admission.clone(),
        failures: report
            .steps
            .iter()
            .filter_map(|step| match &step.outcome {
                Outcome::Failed(finding) => Some(finding.clone()),
                Outcome::Done { .. } | Outcome::Skipped { .. } => None,
            })
            .collect(),
        refused: count(report.refused_entries()),
        warnings: count(report.warnings.len()),
        users: report.users,
        untold: false,
    }
}
