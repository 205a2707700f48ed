//! `hostward status`: what is in force, and what needs attention.

mod events;

use std::fmt::Write as _;
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_protocol::local::{
    AgentStatus, EnrollmentState, EventsStatus, HostStatus, StepCaStatus, TokenProblem,
};
use hostward_protocol::report::{Finding, Report, Staleness};
use serde::Serialize;

use crate::cli::Format;
use crate::command::print_json;
use crate::time::{ago, clock};
use crate::units::{self, Stopped, TIMER};
use crate::{exit, service, show, state};

/// A pass comes every five minutes, and writes down that it came. Three of them missing are no coincidence.
const OVERDUE: TimeDelta = TimeDelta::minutes(15);

/// Everything that `hostward status` shows. Members that only root may read are absent for others.
#[derive(Debug, Serialize)]
struct Status {
    enrolled: bool,
    host: Option<HostStatus>,
    agent: Option<AgentStatus>,
    report: Option<Report>,
    /// Passes should come by themselves, and the last ones left nothing written down.
    overdue: bool,
    /// Units that are not active.
    stopped: Vec<Stopped>,
    /// How it stands with the caller's account, where it stands for a service user.
    service: Option<service::State>,
}

/// Prints it.
pub fn run(format: Format) -> anyhow::Result<ExitCode> {
    let root = nix::unistd::geteuid().is_root();
    let mut status = Status::new(
        state::host()?,
        if root { state::agent()? } else { None },
        if root { state::report()? } else { None },
    );
    let stopped = units::stopped();
    // An operator may have stopped what makes passes come.
    let expected = stopped.as_ref().is_some_and(|stopped| stopped.iter().all(|unit| unit.unit != TIMER));
    status.overdue =
        expected && status.host.as_ref().is_some_and(|host| is_overdue(host.at, Utc::now(), up()));
    status.stopped = stopped.unwrap_or_default();
    // Root never stands for one.
    status.service = if root { None } else { service::of_caller() };
    if format.json {
        print_json(&status)?;
    } else {
        print!("{}", status.text(root, Utc::now()));
    }
    Ok(if status.needs_attention() { ExitCode::from(exit::ATTENTION) } else { ExitCode::SUCCESS })
}

impl Status {
    fn new(host: Option<HostStatus>, agent: Option<AgentStatus>, report: Option<Report>) -> Self {
        let enrolled = match &agent {
            Some(agent) => matches!(agent.enrollment, EnrollmentState::Enrolled { .. }),
            None => host.as_ref().is_some_and(|h| h.project.is_some()),
        };
        Status { enrolled, host, agent, report, overdue: false, stopped: Vec::new(), service: None }
    }

    /// Whether the host has nobody's policy, nor needs one: its accounts get their certificates from a step-ca.
    fn needs_no_policy(&self) -> bool {
        let has_step_ca = match &self.agent {
            Some(agent) => agent.enrollment == EnrollmentState::AwaitingToken && agent.step_ca.is_some(),
            None => self.service.as_ref().is_some_and(service::State::is_of_step_ca),
        };
        has_step_ca && self.host.as_ref().is_none_or(|host| host.project.is_none() && host.policy.is_none())
    }

    fn needs_attention(&self) -> bool {
        let needs_policy = !self.needs_no_policy();
        let host = self.host.as_ref().is_none_or(|h| {
            let is_fresh = h.policy.as_ref().map(|policy| policy.staleness == Staleness::Fresh);
            h.admission.is_some()
                || !h.failures.is_empty()
                || h.refused > 0
                || !is_fresh.unwrap_or(!needs_policy)
        });
        let events = |events: &EventsStatus| {
            events.problem.is_some() || events.outputs.iter().any(|output| output.problem.is_some())
        };
        let agent = self.agent.as_ref().is_some_and(|a| {
            let step_ca = a.step_ca.as_ref().is_some_and(|step_ca| step_ca.problem.is_some());
            a.problem.is_some() || a.token.is_some() || step_ca || events(&a.events)
        });
        let service = self.service.as_ref().is_some_and(service::State::needs_attention);
        let enrolled = self.enrolled || !needs_policy;
        !enrolled || self.overdue || !self.stopped.is_empty() || host || agent || service
    }

    fn text(&self, root: bool, now: DateTime<Utc>) -> String {
        let mut text = String::new();
        match (&self.agent, &self.host) {
            _ if self.needs_no_policy() => {
                text.push_str("enrolled:     no, and need not be for certificates from a step-ca\n");
            }
            (Some(agent), _) => text.push_str(&enrollment(&agent.enrollment)),
            (None, Some(HostStatus { project: Some(project), .. })) => {
                _ = writeln!(text, "enrolled:     in project {}", show::clean(project));
            }
            (None, _) if root => {
                text.push_str("enrolled:     no; the agent has not started yet (systemctl start hostward)\n")
            }
            (None, _) => text.push_str("enrolled:     no\n"),
        }
        for stopped in &self.stopped {
            let Stopped { unit, what, state } = stopped;
            _ = writeln!(text, "stopped:      {unit}, {what} ({}): {}", show::clean(state), stopped.mend());
        }
        if let Some(agent) = &self.agent {
            text.push_str(&backend(agent, now));
            text.push_str(&agent.step_ca.as_ref().map(step_ca).unwrap_or_default());
        }
        if let Some(agent) = &self.agent {
            text.push_str(&events::text(&agent.events));
        }
        if let Some(host) = &self.host {
            text.push_str(&in_force(host, now, self.overdue));
        }
        if let Some(service) = &self.service {
            text.push_str(&service.text(now));
        }
        if let Some(report) = &self.report {
            text.push_str(&show::findings("refused, the rest is in force:", &report.refusals));
            text.push_str(&show::findings(
                "changed behind hostward's back, repaired by the last pass:",
                &report.drift,
            ));
            text.push_str(&show::findings("warnings:", &report.warnings));
        } else if self.host.as_ref().is_some_and(|h| h.refused > 0 || h.warnings > 0) {
            text.push_str("run `hostward status` as root to see what was refused and why\n");
        }
        text
    }
}

fn enrollment(state: &EnrollmentState) -> String {
    match state {
        EnrollmentState::AwaitingToken => {
            "enrolled:     no; put an enrollment token into /etc/hostward/enrollment.token (root, mode 0600), or run `hostward enroll`\n".into()
        }
        EnrollmentState::Enrolling { url } => format!("enrolled:     not yet, trying {}\n", show::clean(url)),
        EnrollmentState::Refused { reason } => format!("enrolled:     no\n{}", show::finding(reason)),
        EnrollmentState::Damaged { reason } => {
            format!("enrolled:     no, as far as can be read\n{}", show::finding(reason))
        }
        EnrollmentState::Enrolled { url, host_id, project } => format!(
            "enrolled:     in project {} at {} as host {}\n",
            show::clean(project),
            show::clean(url),
            show::clean(host_id)
        ),
        EnrollmentState::Clone { host_id } => format!(
            "enrolled:     no; this machine is a copy of host {}, whose identity it does not use. \
             It obeys the policy it had until it is enrolled anew: put a new token into /etc/hostward/enrollment.token\n",
            show::clean(host_id)
        ),
    }
}

fn backend(agent: &AgentStatus, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    if let Some(at) = agent.last_contact {
        _ = writeln!(text, "last contact: {}", ago(at, now));
    }
    if let Some((how, seconds)) = &agent.polling {
        _ = writeln!(text, "polling:      {} ({seconds} s)", show::clean(how));
    }
    if let Some(difference) = agent.clock_offset.and_then(clock) {
        _ = writeln!(text, "clock:        {difference}");
    }
    // Not twice: the agent tells it as the state or as its problem where nothing worse is known.
    let is_told = |token: &&TokenProblem| match &agent.enrollment {
        EnrollmentState::Refused { reason } => *reason == token.finding,
        _ => false,
    };
    if let Some(token) = agent.token.as_ref().filter(|token| !is_told(token)) {
        text.push_str("enrollment token:\n");
        text.push_str(&show::finding(&token.finding));
        if let Some(at) = token.next_attempt {
            _ = writeln!(text, "      next attempt: {}", at.format("%F %T UTC"));
        }
    }
    let is_the_tokens =
        |problem: &Finding| agent.token.as_ref().is_some_and(|token| token.finding == *problem);
    if let Some(problem) = agent.problem.as_ref().filter(|problem| !is_the_tokens(problem)) {
        text.push_str("backend:\n");
        text.push_str(&show::finding(problem));
        if let Some(at) = agent.next_attempt {
            _ = writeln!(text, "      next attempt: {}", at.format("%F %T UTC"));
        }
    }
    text
}

fn step_ca(step_ca: &StepCaStatus) -> String {
    let StepCaStatus { url, provisioner, asked, problem } = step_ca;
    let (url, provisioner) = (show::clean(url), show::clean(provisioner));
    let how = match (problem, asked) {
        (Some(_), _) => "not usable",
        (None, true) => "the last exchange succeeded",
        (None, false) => "not asked yet",
    };
    let mut text = format!("step-ca:      {url}, provisioner {provisioner}: {how}\n");
    text.push_str(&problem.as_ref().map(show::finding).unwrap_or_default());
    text
}

fn in_force(host: &HostStatus, now: DateTime<Utc>, overdue: bool) -> String {
    let mut text = String::new();
    match &host.policy {
        Some(policy) => _ = writeln!(text, "policy:       {}", show::policy(policy)),
        None => text.push_str("policy:       none admitted yet\n"),
    }
    if let Some(trust) = &host.trust {
        let how = match trust.as_str() {
            "first-use" => "the first root that came (first use); pin it in /etc/hostward/root.json",
            "root.json" => "/etc/hostward/root.json",
            "configuration" => "the pin in /etc/hostward/hostward.toml",
            "token" => "the pin in the enrollment token",
            other => other,
        };
        _ = writeln!(text, "trust:        {}", show::clean(how));
    }
    _ = writeln!(text, "users:        {} can log in", host.users);
    let hint = if overdue {
        "; passes should come every 5 minutes: see `journalctl -u hostward-apply`, and whether /var/lib/hostward is full"
    } else {
        ""
    };
    _ = writeln!(text, "last pass:    {}{hint}", ago(host.at, now));
    text.push_str(&unmet(host));
    text
}

/// What of the policy is not in force; nothing where all of it is.
pub fn unmet(host: &HostStatus) -> String {
    let mut text = show::findings(not_admitted(host), host.admission.as_slice());
    text.push_str(&show::findings("failed:", &host.failures));
    if host.refused > 0 {
        let entries = if host.refused == 1 { "entry" } else { "entries" };
        _ = writeln!(
            text,
            "refused:      {} {entries} of the policy or of [[step_ca.services]]; `hostward status` names each to root",
            host.refused
        );
    }
    text
}

/// What it means that the last policy offered was not admitted.
fn not_admitted(host: &HostStatus) -> &'static str {
    /// Nothing is wrong with what was offered: no policy can be read or judged here.
    const HERE: [&str; 8] = [
        "commit-failed",
        "no-root-of-trust",
        "not-enrolled",
        "project-mismatch",
        "root-json-unusable",
        "scratch-failed",
        "store-damaged",
        "trust-damaged",
    ];
    let code = host.admission.as_ref().map_or("", |finding| &finding.code);
    if HERE.contains(&code) {
        "no policy can be admitted:"
    } else if host.policy.is_none() {
        "no policy was admitted yet:"
    } else {
        "a newer policy is not in force:"
    }
}

/// Whether too many passes are missing since the later of the last one and the boot, `up` ago.
fn is_overdue(last: DateTime<Utc>, now: DateTime<Utc>, up: Option<TimeDelta>) -> bool {
    let since = now - last;
    up.map_or(since, |up| since.min(up)) > OVERDUE
}

/// How long this host has been up.
fn up() -> Option<TimeDelta> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    TimeDelta::try_seconds(text.split('.').next()?.parse().ok()?)
}

#[cfg(test)]
pub mod tests {
    use hostward_protocol::report::{PolicyState, Responsible};

    use super::*;

    /// A host on which all is well.
    pub fn host() -> HostStatus {
        let policy =
            PolicyState { version: 7, root_version: 1, expires: at(86_400), staleness: Staleness::Fresh };
        // As it is in the file: members that are not of interest here have defaults.
        let status = serde_json::json!({
            "at": at(0), "version": "1", "project": "acme", "trust": null, "policy": policy,
            "admission": null, "failures": [], "refused": 0, "warnings": 0, "users": 2,
        });
        serde_json::from_value(status).unwrap()
    }

    fn finding(code: &str, message: &str) -> Finding {
        Finding {
            code: code.into(),
            subject: "it".into(),
            message: message.into(),
            responsible: Responsible::Operator,
            mend: "mend it".into(),
        }
    }

    fn enrolled() -> AgentStatus {
        let url = "https://b.example/".into();
        let state = EnrollmentState::Enrolled { url, host_id: "h1".into(), project: "acme".into() };
        AgentStatus { clock_offset: Some(0), ..agent(state) }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn agent(enrollment: EnrollmentState) -> AgentStatus {
        AgentStatus {
            at: at(0),
            agent_version: "1".into(),
            enrollment,
            last_contact: Some(at(-30)),
            problem: None,
            next_attempt: None,
            clock_offset: Some(-400),
            polling: None,
            token: None,
            step_ca: None,
            events: EventsStatus::default(),
        }
    }

    #[test]
    fn a_host_without_a_token_says_what_to_do() {
        let status = Status::new(None, Some(agent(EnrollmentState::AwaitingToken)), None);
        assert!(status.needs_attention());
        let text = status.text(true, at(0));
        assert!(text.contains("/etc/hostward/enrollment.token"), "{text}");
        assert!(text.contains("clock is 7 min ahead of the backend's"), "{text}");
        assert!(text.contains("(30 s ago)"), "{text}");
    }

    #[test]
    fn a_host_with_a_step_ca_need_not_be_enrolled() {
        let step_ca = StepCaStatus {
            url: "https://ca.example".into(),
            provisioner: "ci".into(),
            asked: true,
            problem: None,
        };
        let mut agent = AgentStatus { step_ca: Some(step_ca), ..agent(EnrollmentState::AwaitingToken) };
        let bare = HostStatus { project: None, policy: None, ..host() };
        let status = |agent: &AgentStatus| Status::new(Some(bare.clone()), Some(agent.clone()), None);
        let text = status(&agent).text(true, at(0));
        assert!(!status(&agent).needs_attention(), "{text}");
        assert!(
            text.contains("need not be") && text.contains("ca.example, provisioner ci: the last"),
            "{text}"
        );
        let refused = HostStatus { refused: 1, ..bare.clone() };
        assert!(Status::new(Some(refused), Some(agent.clone()), None).needs_attention());
        let problem = finding("step-ca-down", "the CA is down");
        agent.step_ca.as_mut().expect("it").problem = Some(problem);
        let text = status(&agent).text(true, at(0));
        assert!(status(&agent).needs_attention() && text.contains("the CA is down"), "{text}");
        agent.enrollment = EnrollmentState::Damaged { reason: finding("identity-damaged", "damaged") };
        agent.step_ca.as_mut().expect("it").problem = None;
        assert!(status(&agent).needs_attention(), "it was enrolled");
    }

    #[test]
    fn a_clone_says_that_it_goes_on_obeying() {
        let text = Status::new(None, Some(agent(EnrollmentState::Clone { host_id: "h1".into() })), None)
            .text(true, at(0));
        assert!(text.contains("copy of host h1") && text.contains("enrolled anew"), "{text}");
    }

    #[test]
    fn passes_that_do_not_come_are_told() {
        let up = |minutes| Some(TimeDelta::minutes(minutes));
        assert!(!is_overdue(at(0), at(15 * 60), up(1000)));
        assert!(is_overdue(at(0), at(15 * 60 + 1), up(1000)));
        assert!(is_overdue(at(0), at(15 * 60 + 1), None));
        // It was off for the night, or its clock is wrong.
        assert!(!is_overdue(at(0), at(10 * 3600), up(2)));
        assert!(!is_overdue(at(3600), at(0), up(1000)));

        let mut status = Status::new(Some(host()), None, None);
        let due = status.text(false, at(1800));
        assert!(due.contains("last pass:") && !due.contains("journalctl"), "{due}");
        status.overdue = true;
        let text = status.text(false, at(1800));
        assert!(text.contains("(30 min ago); passes should come every 5 minutes: see `journalctl"), "{text}");
        assert!(status.needs_attention());
    }

    #[test]
    fn what_is_stopped_is_named_with_its_mend() {
        let mut status = Status::new(Some(host()), Some(enrolled()), None);
        assert!(!status.needs_attention(), "{}", status.text(true, at(0)));
        let (unit, what) = units::UNITS[0];
        status.stopped = vec![Stopped { unit, what, state: "inactive".into() }];
        assert!(status.needs_attention());
        let text = status.text(true, at(0));
        assert!(text.contains("stopped:      hostward.service, the agent (inactive): run `systemctl enable --now hostward.service`"), "{text}");
        assert!(
            text.contains("in project acme") && text.contains("2 can log in"),
            "what is known is shown: {text}"
        );
    }

    #[test]
    fn a_token_is_told_of_besides_the_repository_and_once() {
        let token = TokenProblem {
            finding: finding("token-foreign-owner", "somebody else's"),
            at: at(0),
            next_attempt: None,
        };
        let mut agent = enrolled();
        agent.problem = Some(finding("backend-failing", "503"));
        agent.token = Some(token.clone());
        let status = Status::new(Some(host()), Some(agent.clone()), None);
        assert!(status.needs_attention());
        let text = status.text(true, at(0));
        assert!(
            text.contains("enrollment token:\n  it: somebody else's") && text.contains("backend:\n  it: 503"),
            "{text}"
        );
        agent.problem = Some(token.finding.clone());
        let text = Status::new(None, Some(agent.clone()), None).text(true, at(0));
        assert_eq!(text.matches("somebody else's").count(), 1, "{text}");
        agent.problem = None;
        agent.enrollment = EnrollmentState::Refused { reason: token.finding };
        let text = Status::new(None, Some(agent), None).text(true, at(0));
        assert_eq!(text.matches("somebody else's").count(), 1, "{text}");
    }

    #[test]
    fn a_damaged_identity_is_not_called_a_missing_token() {
        let reason = finding("identity-damaged", "`host.json` is damaged");
        let text =
            Status::new(None, Some(agent(EnrollmentState::Damaged { reason })), None).text(true, at(0));
        assert!(
            text.contains("`host.json` is damaged") && !text.contains("put an enrollment token"),
            "{text}"
        );
    }

    #[test]
    fn the_heading_says_what_it_means_that_nothing_was_admitted() {
        let heading = |code: &str, policy: bool| {
            let mut host = HostStatus { admission: Some(finding(code, "because")), ..host() };
            host.policy = host.policy.filter(|_| policy);
            unmet(&host).lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(heading("rollback", true), "a newer policy is not in force:");
        assert_eq!(heading("rollback", false), "no policy was admitted yet:");
        assert_eq!(heading("inbox-empty", false), "no policy was admitted yet:");
        for code in ["store-damaged", "trust-damaged", "no-root-of-trust"] {
            assert_eq!(heading(code, true), "no policy can be admitted:");
            assert_eq!(heading(code, false), "no policy can be admitted:");
        }
        assert_eq!(unmet(&host()), "");
    }
}
