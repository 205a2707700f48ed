//! Says in the journal what a pass did: each thing once, not at every pass that finds it still so.

use hostward_protocol::report::{Finding, Outcome, Report};

/// More of one kind are counted and not listed: a policy may refuse a hundred thousand entries.
const MOST: usize = 50;

/// Says it. `last` is the report of the pass before.
pub fn narrate(report: &Report, last: Option<&Report>) {
    if let Some(policy) = &report.policy
        && last.and_then(|last| last.policy.as_ref()).map(|p| p.version) != Some(policy.version)
        && report.admission.is_none()
    {
        log::info!("policy version {} is in force", policy.version);
    }
    some(&report.drift, |finding| log::warn!("found changed: {}", told(finding)));
    some(&report.steps, |step| match &step.outcome {
        Outcome::Done { detail } if detail.is_empty() => log::info!("{}", step.step),
        Outcome::Done { detail } => log::info!("{}: {detail}", step.step),
        Outcome::Failed(finding) => log::error!("cannot {}: {}", step.step, told(finding)),
        Outcome::Skipped { reason } => log::warn!("did not {}: {reason}", step.step),
    });
    let before = |of: fn(&Report) -> &[Finding]| last.map(of).unwrap_or_default();
    some(new(&report.refusals, before(|r| &r.refusals)), |finding| log::warn!("refused: {}", told(finding)));
    some(new(&report.warnings, before(|r| &r.warnings)), |finding| log::warn!("{}", told(finding)));
    let over = new(before(|r| &r.refusals), &report.refusals);
    if report.policy.is_some() {
        some(over, |finding| log::info!("no longer refused ({}): {}", finding.code, finding.subject));
    }
    if let Some(finding) = &report.admission
        && last.and_then(|last| last.admission.as_ref()) != Some(finding)
    {
        log::warn!("not admitted: {}", told(finding));
    }
}

fn told(finding: &Finding) -> String {
    format!("{}: {}; {}", finding.subject, finding.message, finding.mend)
}

/// Those of `now` that were not there `before`.
fn new<'a>(now: &'a [Finding], before: &[Finding]) -> Vec<&'a Finding> {
    let known: std::collections::HashSet<_> = before.iter().map(key).collect();
    now.iter().filter(|finding| !known.contains(&key(finding))).collect()
}

fn key(finding: &Finding) -> (&str, &str, &str) {
    (&finding.code, &finding.subject, &finding.message)
}

fn some<T>(all: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>, say: impl Fn(T)) {
    let all = all.into_iter();
    let more = all.len().saturating_sub(MOST);
    all.take(MOST).for_each(say);
    if more > 0 {
        log::warn!("and {more} more of this kind; `hostward status --json` as root has them all");
    }
}
