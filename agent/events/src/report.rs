//! What a report of root's says happened.
//!
//! A report says what is so; an event says what changed. [`Known`] is what was so before.

use chrono::{DateTime, Utc};
use hostward_protocol::report::{
    About, AccountChange, Change, Entry, Finding, Outcome, PolicyState, Report, StepOutcome,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::about::{entity, entity_with_id, group, user};
use crate::event::Event;
use crate::kind::Kind;
use crate::line::digest;
use crate::ocsf::{self, Severity, Status};

/// The most of one kind that a report makes events of; more are counted in one.
const MOST: usize = 200;

/// What the reports so far said: kept, so that what still is so is said once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// The version of the policy in force.
    policy: Option<u64>,
    /// Why the newest that was offered is not.
    admission: Option<Seen>,
    /// What of it is refused.
    refusals: Vec<Seen>,
    /// How many more are.
    more: u64,
    /// Steps that failed, and drift that was not repaired.
    failing: Vec<Seen>,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    code: String,
    subject: String,
    /// Of the rest of it.
    digest: String,
}

impl Seen {
    fn of(finding: &Finding) -> Self {
        Seen {
            code: ocsf::text(&finding.code),
            subject: ocsf::text(&finding.subject),
            digest: digest(finding.message.as_bytes())[..16].to_owned(),
        }
    }

    fn id(&self) -> String {
        let Seen { code, subject, digest } = self;
        crate::line::digest(format!("{code}\n{subject}\n{digest}").as_bytes())[..32].to_owned()
    }
}

/// The events of a report, and what is known after it.
pub fn of_report(report: &Report, known: &Known) -> (Vec<Event>, Known) {
    let mut told = Told { at: report.at, events: Vec::new(), known: known.clone() };
    told.drift(report, known);
    told.policy(report, known);
    told.steps(&report.steps, known);
    if is_complete(report) {
        told.refusals(&report.refusals, known);
    }
    (told.events, told.known)
}

/// Whether it says what is refused: a pass that could not read the policy or look at the host does not know.
fn is_complete(report: &Report) -> bool {
    let could_not =
        |step: &StepOutcome| step.about == About::Other && matches!(step.outcome, Outcome::Failed(_));
    report.policy.is_some() && !report.steps.iter().any(could_not)
}

struct Told {
    at: DateTime<Utc>,
    events: Vec<Event>,
    known: Known,
}

impl Told {
    fn policy(&mut self, report: &Report, known: &Known) {
        let project = report.project.as_deref().unwrap_or("unknown");
        if let (Some(policy), None) = (&report.policy, &report.admission)
            && known.policy != Some(policy.version)
        {
            self.events.push(adopted(self.at, project, policy, known.policy));
            self.known.policy = Some(policy.version);
        }
        let admission = report.admission.as_ref().map(Seen::of);
        if let Some(finding) = report.admission.as_ref().filter(|_| admission != known.admission) {
            let message = format!("policy not admitted: {}; {}", finding.message, finding.mend);
            let event = Event::new(Kind::PolicyRefused, self.at, Severity::High, project, &message)
                .with("entity", entity("Policy", project))
                .outcome(Status::Failure, Some((&finding.code, &finding.message)));
            self.events.push(event);
        }
        self.known.admission = admission;
    }

    fn steps(&mut self, steps: &[StepOutcome], known: &Known) {
        let mut failing = Vec::new();
        for step in steps {
            match &step.outcome {
                Outcome::Done { detail } => self.done(step, detail),
                Outcome::Failed(finding) => {
                    let seen = Seen { subject: ocsf::text(&step.step), ..Seen::of(finding) };
                    if !known.failing.contains(&seen) {
                        self.events.push(failed(self.at, step, finding));
                    }
                    failing.push(seen);
                }
                Outcome::Skipped { .. } => {}
            }
        }
        self.known.failing.extend(failing);
        self.known.failing.truncate(MOST);
    }

    fn done(&mut self, step: &StepOutcome, detail: &str) {
        let message = if detail.is_empty() { step.step.clone() } else { format!("{} ({detail})", step.step) };
        let entity_changed = |kind, what: &str| {
            Event::new(kind, self.at, Severity::Low, what, &message)
                .with("entity", entity(what, what))
                .outcome(Status::Success, None)
        };
        let event = match &step.about {
            About::Accounts { changes, more } => return self.accounts(changes, *more, &message),
            About::Sudo => entity_changed(Kind::SudoChanged, "sudo rules"),
            About::Trust => entity_changed(Kind::TrustChanged, "SSH trust"),
            About::Sshd => entity_changed(Kind::SshdChanged, "sshd configuration"),
            About::Services => entity_changed(Kind::ServicesChanged, "service accounts"),
            About::Sessions { name, uid } => {
                Event::new(Kind::SessionsEnded, self.at, Severity::Medium, name, &message)
                    .with("user", user(name, *uid))
                    .outcome(Status::Success, None)
            }
            About::Home { name, uid, home } => {
                Event::new(Kind::HomeRemoved, self.at, Severity::Low, name, &message)
                    .with("entity", entity("Home", home))
                    .outcome(Status::Success, None)
                    .unmapped("user", user(name, *uid))
                    .unmapped("archive", ocsf::text(detail))
            }
            // A directory that was given back to root: the drift says so.
            About::Other => return,
        };
        self.events.push(event);
    }

    fn accounts(&mut self, changes: &[AccountChange], more: u64, message: &str) {
        self.events.extend(changes.iter().take(MOST).map(|change| account(self.at, change)));
        let more = more.saturating_add(changes.len().saturating_sub(MOST) as u64);
        if changes.is_empty() || more > 0 {
            let event =
                Event::new(Kind::AccountsChanged, self.at, Severity::Low, "account database", message)
                    .with("entity", entity("Account database", "/var/lib/misc/hostward.db"))
                    .outcome(Status::Success, None)
                    .unmapped("not_named", more);
            self.events.push(event);
        }
    }

    fn drift(&mut self, report: &Report, known: &Known) {
        self.known.failing.clear();
        let is_mended = report.steps.iter().all(|step| matches!(step.outcome, Outcome::Done { .. }));
        for finding in report.drift.iter().take(MOST) {
            let seen = Seen::of(finding);
            if is_mended {
                self.events.push(drift(Kind::DriftRepaired, self.at, finding));
            } else {
                if !known.failing.contains(&seen) {
                    self.events.push(drift(Kind::DriftFound, self.at, finding));
                }
                self.known.failing.push(seen);
            }
        }
    }

    fn refusals(&mut self, refusals: &[Finding], known: &Known) {
        let now: Vec<(Seen, &Finding)> =
            refusals.iter().take(MOST).map(|finding| (Seen::of(finding), finding)).collect();
        for (seen, finding) in now.iter().filter(|(seen, _)| !known.refusals.contains(seen)) {
            let message = format!("refused: {}: {}; {}", finding.subject, finding.message, finding.mend);
            let event = refusal(Kind::RefusalAppeared, self.at, seen, &message)
                .unmapped("responsible", json!(finding.responsible))
                .unmapped("mend", ocsf::text(&finding.mend));
            self.events.push(event);
        }
        for seen in known.refusals.iter().filter(|known| !now.iter().any(|(seen, _)| seen == *known)) {
            let message = format!("no longer refused ({}): {}", seen.code, seen.subject);
            self.events.push(refusal(Kind::RefusalOver, self.at, seen, &message));
        }
        let more = refusals.len().saturating_sub(MOST) as u64;
        if more > 0 && more != known.more {
            let rest = Seen { code: "more-refusals".into(), subject: "policy".into(), digest: String::new() };
            let message =
                format!("{more} more entries of the policy are refused; `hostward status` names them");
            self.events.push(refusal(Kind::RefusalAppeared, self.at, &rest, &message));
        }
        self.known.refusals = now.into_iter().map(|(seen, _)| seen).collect();
        self.known.more = more;
    }
}

fn adopted(at: DateTime<Utc>, project: &str, policy: &PolicyState, before: Option<u64>) -> Event {
    let PolicyState { version, root_version, expires, .. } = policy;
    let message = format!("version {version} of the policy of `{project}` is in force (root {root_version})");
    let versioned = |version: u64| {
        let mut policy = entity_with_id("Policy", project, project);
        policy["version"] = version.to_string().into();
        policy
    };
    let event = Event::new(Kind::PolicyAdopted, at, Severity::Informational, project, &message)
        .with("entity", before.map_or_else(|| entity("Policy", project), versioned))
        .with("entity_result", versioned(*version))
        .outcome(Status::Success, None);
    event.unmapped("root_version", *root_version).unmapped("expires", expires.timestamp())
}

fn account(at: DateTime<Utc>, change: &AccountChange) -> Event {
    let AccountChange { change: what, entry, name, id, detail } = change;
    let (kind, severity) = match (entry, what) {
        (Entry::User, Change::Add) => (Kind::AccountAdded, Severity::Low),
        (Entry::User, Change::Remove) => (Kind::AccountRemoved, Severity::Low),
        (Entry::User, Change::Change) => (Kind::AccountChanged, Severity::Low),
        (Entry::Group, Change::Add) => (Kind::GroupAdded, Severity::Informational),
        (Entry::Group, Change::Remove) => (Kind::GroupRemoved, Severity::Informational),
        (Entry::Group, Change::Change) => (Kind::GroupChanged, Severity::Low),
    };
    let event = Event::new(kind, at, severity, name, &change.to_string()).outcome(Status::Success, None);
    let event = match entry {
        Entry::User => event.with("user", user(name, *id)),
        Entry::Group => event.with("entity", group(name, *id)),
    };
    if detail.is_empty() { event } else { event.unmapped("detail", ocsf::text(detail)) }
}

fn failed(at: DateTime<Utc>, step: &StepOutcome, finding: &Finding) -> Event {
    let message = format!("cannot {}: {}; {}", step.step, finding.message, finding.mend);
    let (kind, about): (Kind, (&str, Value)) = match &step.about {
        About::Accounts { .. } => {
            (Kind::AccountsChanged, ("entity", entity("Account database", "/var/lib/misc/hostward.db")))
        }
        About::Sudo => (Kind::SudoChanged, ("entity", entity("sudo rules", "sudo rules"))),
        About::Trust => (Kind::TrustChanged, ("entity", entity("SSH trust", "SSH trust"))),
        About::Sshd => (Kind::SshdChanged, ("entity", entity("sshd configuration", "sshd configuration"))),
        About::Services => {
            (Kind::ServicesChanged, ("entity", entity("service accounts", "service accounts")))
        }
        About::Sessions { name, uid } => (Kind::SessionsEnded, ("user", user(name, *uid))),
        About::Home { home, .. } => (Kind::HomeRemoved, ("entity", entity("Home", home))),
        About::Other => (Kind::HostChanged, ("entity", entity("Host", &finding.subject))),
    };
    Event::new(kind, at, Severity::High, &finding.subject, &message)
        .with(about.0, about.1)
        .outcome(Status::Failure, Some((&finding.code, &finding.message)))
}

fn drift(kind: Kind, at: DateTime<Utc>, finding: &Finding) -> Event {
    let message =
        format!("changed behind hostward's back: {}: {}; {}", finding.subject, finding.message, finding.mend);
    let status = if kind == Kind::DriftRepaired { Status::Success } else { Status::Failure };
    // The schema's number for it is 2, policy mismatch.
    let state = json!([{ "state_id": 2, "state": "Policy mismatch" }]);
    Event::new(kind, at, Severity::Medium, &finding.subject, &message)
        .with("prev_security_states", state)
        .outcome(status, Some((&finding.code, &finding.message)))
}

fn refusal(kind: Kind, at: DateTime<Utc>, seen: &Seen, message: &str) -> Event {
    let is_over = kind == Kind::RefusalOver;
    let (severity, status_id, status, result) = if is_over {
        (Severity::Informational, 4, "Resolved", (1, "Pass"))
    } else {
        (Severity::Medium, 1, "New", (3, "Fail"))
    };
    let info = json!({ "title": seen.code, "uid": seen.id(), "types": ["Refused policy entry"] });
    let compliance = json!({
        "standards": ["hostward host limits"],
        "control": seen.code,
        "status_id": result.0,
        "status": result.1,
    });
    Event::new(kind, at, severity, &seen.subject, message)
        .with("finding_info", info)
        .with("compliance", compliance)
        .with("status_id", status_id)
        .with("status", status)
        .with("status_code", seen.code.as_str())
}

#[cfg(test)]
mod tests;
