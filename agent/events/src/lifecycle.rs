//! The agent's start and end, and the host's enrollment.

use chrono::{DateTime, Utc};
use hostward_protocol::report::Finding;
use serde_json::json;

use crate::about::{entity, entity_with_id};
use crate::event::Event;
use crate::kind::Kind;
use crate::ocsf::{Severity, Status};

/// What a host is enrolled as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrollment {
    /// The backend.
    pub url: String,
    /// The project.
    pub project: String,
    /// The host's id there.
    pub host_id: String,
}

impl Event {
    /// The agent runs. `pid` is its process.
    pub fn agent_started(at: DateTime<Utc>, version: &str, pid: u32) -> Self {
        agent(Kind::AgentStarted, at, version, "hostward-agent started").unmapped("pid", pid)
    }

    /// The agent was told to end. An agent that is killed leaves no such event.
    pub fn agent_stopped(at: DateTime<Utc>, version: &str) -> Self {
        agent(Kind::AgentStopped, at, version, "hostward-agent stopped")
    }

    /// The host belongs to a project from now on.
    pub fn enrolled(at: DateTime<Utc>, enrollment: &Enrollment) -> Self {
        let Enrollment { url, project, host_id } = enrollment;
        let message = format!("enrolled as host `{host_id}` of the project `{project}` at {url}");
        host(Kind::HostEnrolled, at, Severity::Informational, enrollment, &message)
            .outcome(Status::Success, None)
    }

    /// The host belongs to no project from now on. `untold` is why the backend does not know, where it does not.
    pub fn unenrolled(at: DateTime<Utc>, enrollment: &Enrollment, untold: Option<&str>) -> Self {
        let Enrollment { url, project, host_id } = enrollment;
        let left = format!("the host `{host_id}` left the project `{project}`");
        let message = match untold {
            Some(why) => format!("{left}; {url} was not told: {why}"),
            None => format!("{left}; {url} was told"),
        };
        host(Kind::HostUnenrolled, at, Severity::Medium, enrollment, &message)
            .outcome(Status::Success, None)
            .unmapped("told_backend", untold.is_none())
    }

    /// A token cannot be used, or the backend refused it for good.
    pub fn enrollment_refused(at: DateTime<Utc>, reason: &Finding) -> Self {
        let message = format!("enrollment refused: {}; {}", reason.message, reason.mend);
        Event::new(Kind::EnrollmentRefused, at, Severity::Medium, &reason.subject, &message)
            .with("entity", entity("Host", "this host"))
            .outcome(Status::Failure, Some((&reason.code, &reason.message)))
    }
}

fn agent(kind: Kind, at: DateTime<Utc>, version: &str, message: &str) -> Event {
    let app = json!({ "name": "hostward-agent", "vendor_name": "hostward", "version": version });
    Event::new(kind, at, Severity::Informational, "hostward-agent", message)
        .with("app", app)
        .outcome(Status::Success, None)
}

fn host(kind: Kind, at: DateTime<Utc>, severity: Severity, enrollment: &Enrollment, message: &str) -> Event {
    Event::new(kind, at, severity, &enrollment.host_id, message)
        .with("entity", entity_with_id("Host", &enrollment.host_id, &enrollment.host_id))
        .unmapped("project", enrollment.project.as_str())
        .unmapped("backend", enrollment.url.as_str())
}
