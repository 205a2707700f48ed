//! `hostward status`: what is in force, and what needs attention.

use std::fmt::Write as _;
use std::process::{Command, ExitCode, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use hostward_protocol::local::{AgentStatus, EnrollmentState, HostStatus};
use hostward_protocol::report::{Report, Staleness};
use serde::Serialize;

use crate::cli::Format;
use crate::command::{exit, print_json};
use crate::{show, state};

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
}

/// Prints it.
pub fn run(format: Format) -> anyhow::Result<ExitCode> {
    let root = nix::unistd::geteuid().is_root();
    let mut status = Status::new(
        state::host()?,
        if root { state::agent()? } else { None },
        if root { state::report()? } else { None },
    );
    status.overdue =
        status.host.as_ref().is_some_and(|host| is_overdue(host.at, Utc::now(), up())) && timer_runs();
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
        Status { enrolled, host, agent, report, overdue: false }
    }

    fn needs_attention(&self) -> bool {
        let host = self.host.as_ref().is_none_or(|h| {
            h.admission.is_some()
                || !h.failures.is_empty()
                || h.refused > 0
                || h.policy.as_ref().is_none_or(|p| p.staleness != Staleness::Fresh)
        });
        !self.enrolled || self.overdue || host || self.agent.as_ref().is_some_and(|a| a.problem.is_some())
    }

    fn text(&self, root: bool, now: DateTime<Utc>) -> String {
        let mut text = String::new();
        match (&self.agent, &self.host) {
            (Some(agent), _) => text.push_str(&enrollment(&agent.enrollment)),
            (None, Some(HostStatus { project: Some(project), .. })) => {
                _ = writeln!(text, "enrolled:     in project {}", show::clean(project));
            }
            (None, _) if root => {
                text.push_str("enrolled:     no; the agent has not started yet (systemctl start hostward)\n")
            }
            (None, _) => text.push_str("enrolled:     no\n"),
        }
        if let Some(agent) = &self.agent {
            text.push_str(&backend(agent, now));
        }
        if let Some(host) = &self.host {
            text.push_str(&in_force(host, now, self.overdue));
        }
        if let Some(report) = &self.report {
            text.push_str(&show::findings("refused, the rest of the policy is in force:", &report.refusals));
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
    if let Some(offset) = agent.clock_offset.filter(|o| o.abs() > 5) {
        _ = writeln!(text, "clock:        off by {offset} s against the backend's");
    }
    if let Some(problem) = &agent.problem {
        text.push_str("backend:\n");
        text.push_str(&show::finding(problem));
        if let Some(at) = agent.next_attempt {
            _ = writeln!(text, "      next attempt: {}", at.format("%F %T UTC"));
        }
    }
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
    if let Some(finding) = &host.admission {
        text.push_str("a newer policy is not in force:\n");
        text.push_str(&show::finding(finding));
    }
    text.push_str(&show::findings("failed:", &host.failures));
    if host.refused > 0 {
        _ = writeln!(text, "refused:      {} entries of the policy", host.refused);
    }
    text
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

/// Whether passes should come: an operator may have stopped them.
fn timer_runs() -> bool {
    Command::new("systemctl")
        .args(["--quiet", "is-active", "hostward-drift.timer"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    let when = at.format("%F %T UTC");
    match seconds {
        ..0 => format!("{when} (in the future: is the clock right?)"),
        0..120 => format!("{when} ({seconds} s ago)"),
        120..7200 => format!("{when} ({} min ago)", seconds / 60),
        7200..172_800 => format!("{when} ({} h ago)", seconds / 3600),
        _ => format!("{when} ({} days ago)", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    #[test]
    fn a_host_without_a_token_says_what_to_do() {
        let status = Status::new(None, Some(agent(EnrollmentState::AwaitingToken)), None);
        assert!(status.needs_attention());
        let text = status.text(true, at(0));
        assert!(text.contains("/etc/hostward/enrollment.token"), "{text}");
        assert!(text.contains("off by -400 s"), "{text}");
        assert!(text.contains("(30 s ago)"), "{text}");
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

        let host = HostStatus {
            at: at(0),
            version: "1".into(),
            project: Some("acme".into()),
            policy: None,
            trust: None,
            users: 2,
            refused: 0,
            changes: 0,
            warnings: 0,
            admission: None,
            failures: Vec::new(),
        };
        let mut status = Status::new(Some(host), None, None);
        let due = status.text(false, at(1800));
        assert!(due.contains("last pass:") && !due.contains("journalctl"), "{due}");
        status.overdue = true;
        let text = status.text(false, at(1800));
        assert!(text.contains("(30 min ago); passes should come every 5 minutes: see `journalctl"), "{text}");
        assert!(status.needs_attention());
    }
}
