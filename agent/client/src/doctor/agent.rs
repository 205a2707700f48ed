//! hostward's own processes, the backend, the clock and the root of trust.

use hostward_protocol::local::{AgentStatus, EnrollmentState};

use super::{Check, output};
use crate::state;

const UNITS: [&str; 4] =
    ["hostward.service", "hostward.socket", "hostward-apply.socket", "hostward-drift.timer"];

pub fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = UNITS.into_iter().map(unit).collect();
    checks.push(configuration());
    match state::agent() {
        Ok(Some(agent)) => checks.extend([enrollment(&agent), backend(&agent), clock(&agent)]),
        Ok(None) => checks.push(Check::bad(
            "backend",
            "the agent has not started yet",
            "run `systemctl start hostward`",
        )),
        Err(error) => {
            checks.push(Check::bad("backend", crate::show::chain(&error), "restart hostward.service"))
        }
    }
    checks.push(trust());
    checks
}

fn unit(unit: &'static str) -> Check {
    match output("systemctl", &["is-active", unit]) {
        Ok((true, _)) => Check::good(unit, "active"),
        Ok((false, state)) => Check::bad(
            unit,
            state.trim().to_owned(),
            format!("run `systemctl enable --now {unit}`, and look at `journalctl -u {unit}`"),
        ),
        Err(error) => Check::bad(unit, format!("cannot run systemctl: {error}"), "hostward needs systemd"),
    }
}

fn configuration() -> Check {
    match hostward_config::load(hostward_config::PATH.as_ref()) {
        Ok(_) => Check::good("configuration", hostward_config::PATH),
        Err(error) => Check::bad(
            "configuration",
            crate::show::chain(&error),
            "mend the line that it names, then `systemctl reload hostward`",
        ),
    }
}

fn enrollment(agent: &AgentStatus) -> Check {
    const NAME: &str = "enrollment";
    match &agent.enrollment {
        EnrollmentState::Enrolled { project, host_id, .. } => {
            Check::good(NAME, format!("host {host_id} of project {project}"))
        }
        EnrollmentState::Enrolling { url } => {
            Check::bad(NAME, format!("trying {url}"), "see `backend` below")
        }
        EnrollmentState::AwaitingToken => {
            Check::bad(NAME, "no token", "run `hostward enroll` with a token from the backend")
        }
        EnrollmentState::Refused { reason } => Check::bad(NAME, reason.message.clone(), reason.mend.clone()),
        EnrollmentState::Clone { host_id } => Check::bad(
            NAME,
            format!("this machine is a copy of host {host_id}"),
            "run `hostward enroll` with a token of its own",
        ),
    }
}

fn backend(agent: &AgentStatus) -> Check {
    match &agent.problem {
        Some(problem) => Check::bad("backend", problem.message.clone(), problem.mend.clone()),
        None => Check::good("backend", "the last exchange succeeded"),
    }
}

fn clock(agent: &AgentStatus) -> Check {
    match agent.clock_offset {
        Some(offset) if offset.abs() > 30 => Check::bad(
            "clock",
            format!("off by {offset} s against the backend's"),
            "set the clock (`timedatectl set-ntp true`): certificates and policy are judged by it",
        ),
        Some(offset) => Check::good("clock", format!("within {} s of the backend's", offset.abs().max(1))),
        None => Check::absent("clock", "not compared with the backend's yet"),
    }
}

fn trust() -> Check {
    match state::host() {
        Ok(Some(host)) => match host.trust.as_deref() {
            Some("first-use") => Check::bad(
                "trust",
                "the first root that came was believed",
                "pin the project's root in /etc/hostward/root.json",
            ),
            Some(source) => Check::good("trust", format!("pinned by {source}")),
            None => Check::absent("trust", "no root of trust before enrollment"),
        },
        Ok(None) => Check::absent("trust", "no root of trust before enrollment"),
        Err(error) => Check::bad("trust", crate::show::chain(&error), "run `hostward apply`"),
    }
}
