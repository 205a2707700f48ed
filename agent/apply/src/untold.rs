//! What passes found and did of which nobody off the host knows yet.
//!
//! The agent gets the report of the passes that it asks for. What the timer or an operator's `hostward apply` repaired
//! or ended is kept until then: the next pass would not find it any more.

use hostward_protocol::report::{Cause, Finding, Outcome, Report, StepOutcome};
use serde::{Deserialize, Serialize};

use crate::durable::{self, WriteError};
use crate::root::{Root, UNTOLD};
use crate::state;

/// The most that is kept of each kind; what is older goes first.
const MOST: usize = 1000;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Untold {
    drift: Vec<Finding>,
    steps: Vec<StepOutcome>,
}

/// Keeps what a pass of the timer or an operator has to tell; puts what was kept into a report that the agent gets.
/// Answers with whether something is kept now.
pub fn keep_or_tell(root: &Root, report: &mut Report) -> Result<bool, WriteError> {
    let path = root.path(UNTOLD);
    // Damaged or not, it is news, not state: nothing is decided by it.
    let mut untold: Untold = state::read(&path, UNTOLD).ok().flatten().unwrap_or_default();
    if report.cause == Cause::Admission {
        report.drift.splice(..0, untold.drift);
        report.steps.splice(..0, untold.steps);
        return durable::remove(&path).map(|()| false);
    }
    // Failures are left out: what still fails, the next pass finds anew.
    let done = report.steps.iter().filter(|step| matches!(step.outcome, Outcome::Done { .. }));
    if report.drift.is_empty() && done.clone().next().is_none() {
        return Ok(!(untold.drift.is_empty() && untold.steps.is_empty()));
    }
    untold.drift.extend(report.drift.iter().cloned());
    untold.steps.extend(done.cloned());
    keep_newest(&mut untold.drift);
    keep_newest(&mut untold.steps);
    state::write(&path, &untold, 0o600).map(|()| true)
}

fn keep_newest<T>(list: &mut Vec<T>) {
    list.drain(..list.len().saturating_sub(MOST));
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use hostward_protocol::report::Responsible;

    use super::*;
    use crate::report;

    fn pass(cause: Cause, drift: &[&str]) -> Report {
        let mut report = report::begin(cause, DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        report.drift = drift
            .iter()
            .map(|subject| Finding {
                code: "drift".into(),
                subject: (*subject).into(),
                message: String::new(),
                responsible: Responsible::Operator,
                mend: String::new(),
            })
            .collect();
        report
    }

    #[test]
    fn the_agent_hears_once_of_what_the_timer_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::below(dir.path());
        std::fs::create_dir_all(root.path("/var/lib/hostward")).unwrap();
        assert!(!keep_or_tell(&root, &mut pass(Cause::Timer, &[])).unwrap());
        assert!(keep_or_tell(&root, &mut pass(Cause::Timer, &["a"])).unwrap());
        assert!(keep_or_tell(&root, &mut pass(Cause::Timer, &[])).unwrap(), "it is still to be told");
        keep_or_tell(&root, &mut pass(Cause::Operator, &["b"])).unwrap();
        let mut told = pass(Cause::Admission, &["c"]);
        assert!(!keep_or_tell(&root, &mut told).unwrap());
        let subjects = |report: &Report| report.drift.iter().map(|f| f.subject.clone()).collect::<Vec<_>>();
        assert_eq!(subjects(&told), ["a", "b", "c"]);
        let mut next = pass(Cause::Admission, &[]);
        keep_or_tell(&root, &mut next).unwrap();
        assert!(next.drift.is_empty());
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::below(dir.path());
        std::fs::create_dir_all(root.path("/var/lib/hostward")).unwrap();
        keep_or_tell(&root, &mut pass(Cause::Timer, &["old"])).unwrap();
        keep_or_tell(&root, &mut pass(Cause::Timer, &vec!["new"; MOST])).unwrap();
        let mut told = pass(Cause::Admission, &[]);
        keep_or_tell(&root, &mut told).unwrap();
        assert_eq!(told.drift.len(), MOST);
        assert!(told.drift.iter().all(|finding| finding.subject == "new"));
    }
}
