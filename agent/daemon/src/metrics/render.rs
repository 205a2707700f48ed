//! The text format of Prometheus.

use std::fmt::{Display, Write};

use hostward_protocol::local::{AgentStatus, EnrollmentState, HostStatus};
use hostward_protocol::report::Staleness;

use super::Counts;

/// All figures.
pub fn text(agent: &AgentStatus, host: Option<&HostStatus>, counts: Counts) -> String {
    let mut page = Page(String::new());
    let events = &agent.events;
    page.begin("info", "gauge", "Version of hostward.");
    page.put("info", &[("version", &agent.agent_version)], 1);
    let is_enrolled = matches!(agent.enrollment, EnrollmentState::Enrolled { .. });
    page.one("enrolled", "gauge", "Whether the host belongs to a project.", u8::from(is_enrolled));
    if let Some(at) = agent.last_contact {
        page.one(
            "last_contact_timestamp_seconds",
            "gauge",
            "The last complete exchange with the backend.",
            at.timestamp(),
        );
    }
    let problem = u8::from(agent.problem.is_some());
    page.one("backend_problem", "gauge", "Whether the last exchange with the backend failed.", problem);
    if let Some(host) = host {
        page.one(
            "last_pass_timestamp_seconds",
            "gauge",
            "When the host was last made to obey.",
            host.at.timestamp(),
        );
        if let Some(policy) = &host.policy {
            page.one("policy_version", "gauge", "Version of the policy in force.", policy.version);
            let is_fresh = u8::from(policy.staleness == Staleness::Fresh);
            page.one("policy_fresh", "gauge", "Whether the policy in force has not expired.", is_fresh);
            let expires = policy.expires.timestamp();
            page.one(
                "policy_expires_timestamp_seconds",
                "gauge",
                "When the policy in force expires, or expired.",
                expires,
            );
        }
        page.one(
            "policy_refused_entries",
            "gauge",
            "Entries of the policy that this host refuses.",
            host.refused,
        );
        let failures = host.failures.len() + usize::from(host.admission.is_some());
        page.one("failures", "gauge", "What of the policy could not be put in force.", failures);
        page.one("users", "gauge", "Managed users who can log in.", host.users);
    }
    page.one("events_recorded_total", "counter", "Events in the log, from the first on.", counts.recorded);
    page.one("events_waiting", "gauge", "Events that the backend does not have yet.", events.waiting);
    page.one("events_lost_total", "counter", "Events that were lost since the agent started.", events.lost);
    page.one("events_refused_total", "counter", "Events that the backend will never take.", events.refused);
    let delivery = u8::from(events.problem.is_some());
    page.one(
        "events_delivery_problem",
        "gauge",
        "Whether events cannot be delivered to the backend.",
        delivery,
    );
    page.one(
        "certificates_issued_total",
        "counter",
        "Certificates for service accounts since the agent started.",
        counts.issued,
    );
    page.one(
        "certificates_refused_total",
        "counter",
        "Those that were refused since the agent started.",
        counts.refused,
    );
    for (name, kind, help) in [
        ("output_problem", "gauge", "Whether events cannot be handed over to an output."),
        ("output_events_total", "counter", "Events handed over to an output since the agent started."),
        ("output_missed_total", "counter", "Events that were gone before they could be handed over."),
        ("output_refused_total", "counter", "Events that an output refused."),
    ] {
        if events.outputs.is_empty() {
            break;
        }
        page.begin(name, kind, help);
        for output in &events.outputs {
            let value = match name {
                "output_problem" => u64::from(output.problem.is_some()),
                "output_events_total" => output.sent,
                "output_missed_total" => output.missed,
                _ => output.refused,
            };
            page.put(name, &[("output", &output.name)], value);
        }
    }
    page.0
}

struct Page(String);

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP hostward_{name} {help}\n# TYPE hostward_{name} {kind}\n");
    }

    fn put(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "hostward_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { "{" } else { "," });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.begin(name, kind, help);
        self.put(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_breaks_no_line() {
        let mut page = Page(String::new());
        page.begin("x", "gauge", "What.");
        page.put("x", &[("a", "b\"\\\nc"), ("d", "e")], 7);
        page.one("y", "counter", "Which.", 1.5);
        assert_eq!(
            page.0,
            "# HELP hostward_x What.\n# TYPE hostward_x gauge\nhostward_x{a=\"b\\\"\\\\\\nc\",d=\"e\"} 7\n\
             # HELP hostward_y Which.\n# TYPE hostward_y counter\nhostward_y 1.5\n"
        );
    }
}
