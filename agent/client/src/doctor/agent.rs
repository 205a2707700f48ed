//! hostward's own processes, the backend, the clock and the root of trust.

use hostward_protocol::local::{AgentStatus, EnrollmentState, StepCaStatus};

use super::Check;
use crate::units::{self, Stopped};
use crate::{state, time};

pub fn checks() -> Vec<Check> {
    let mut checks = running(units::stopped().as_deref());
    checks.push(configuration());
    match state::agent() {
        Ok(Some(agent)) => {
            checks.extend([enrollment(&agent), backend(&agent), clock(&agent)]);
            checks.extend(token(&agent));
            checks.push(step_ca(&agent));
        }
        Ok(None) => checks.push(Check::bad(
            "backend",
            "the agent has not started yet",
            "run `systemctl start hostward`",
        )),
        Err(error) => checks.push(Check::bad(
            "backend",
            hostward_protocol::causes::chain(&error),
            "restart hostward.service",
        )),
    }
    checks.push(trust());
    checks
}

fn running(stopped: Option<&[Stopped]>) -> Vec<Check> {
    let Some(stopped) = stopped else {
        return vec![Check::bad("services", "systemd cannot be asked", "hostward needs systemd")];
    };
    let check = |unit: &'static str| match stopped.iter().find(|stopped| stopped.unit == unit) {
        Some(stopped) => Check::bad(unit, stopped.state.clone(), stopped.mend()),
        None => Check::good(unit, "active"),
    };
    units::UNITS.map(|(unit, _)| check(unit)).into()
}

fn configuration() -> Check {
    match hostward_config::load(hostward_config::PATH.as_ref()) {
        Ok(_) => Check::good("configuration", hostward_config::PATH),
        Err(error) => Check::bad(
            "configuration",
            hostward_protocol::causes::chain(&error),
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
            Check::bad(NAME, format!("trying {url}"), "see `token` or `backend` below")
        }
        EnrollmentState::AwaitingToken if agent.step_ca.is_some() => {
            Check::absent(NAME, "not enrolled, as far as need be: certificates come from a step-ca")
        }
        EnrollmentState::AwaitingToken => {
            Check::bad(NAME, "no token", "run `hostward enroll` with a token from the backend")
        }
        EnrollmentState::Refused { reason } | EnrollmentState::Damaged { reason } => {
            Check::bad(NAME, reason.message.clone(), reason.mend.clone())
        }
        EnrollmentState::Clone { host_id } => Check::bad(
            NAME,
            format!("this machine is a copy of host {host_id}"),
            "run `hostward enroll` with a token of its own",
        ),
    }
}

fn backend(agent: &AgentStatus) -> Check {
    const NAME: &str = "backend";
    let is_enrolled = matches!(agent.enrollment, EnrollmentState::Enrolled { .. });
    match (&agent.problem, is_enrolled) {
        (Some(problem), _) => Check::bad(NAME, problem.message.clone(), problem.mend.clone()),
        (None, true) => Check::good(NAME, "the last exchange succeeded"),
        (None, false) => Check::absent(NAME, "none is asked before enrollment"),
    }
}

/// The operator's step-ca: whether the agent knows of it, and can ask it.
fn step_ca(agent: &AgentStatus) -> Check {
    const NAME: &str = "step-ca";
    let configured =
        hostward_config::load(hostward_config::PATH.as_ref()).ok().and_then(|config| config.step_ca);
    match (&agent.step_ca, configured) {
        (None, None) => Check::absent(NAME, "none is configured"),
        (Some(known), Some(configured)) if known.url == configured.url.as_str() => known_step_ca(known),
        _ => Check::bad(
            NAME,
            "the agent has not read [step_ca] as it is in the configuration",
            "run `systemctl restart hostward`",
        ),
    }
}

fn known_step_ca(known: &StepCaStatus) -> Check {
    const NAME: &str = "step-ca";
    match &known.problem {
        Some(problem) => Check::bad(NAME, problem.message.clone(), problem.mend.clone()),
        None if known.asked => Check::good(NAME, format!("{} can be asked", known.url)),
        None => Check::absent(NAME, "not asked yet"),
    }
}

/// The token that was tried last, where it is not told as `enrollment` or `backend`.
fn token(agent: &AgentStatus) -> Option<Check> {
    let finding = &agent.token.as_ref()?.finding;
    let is_told = agent.problem.as_ref() == Some(finding)
        || matches!(&agent.enrollment, EnrollmentState::Refused { reason } if reason == finding);
    (!is_told).then(|| Check::bad("token", finding.message.clone(), finding.mend.clone()))
}

fn clock(agent: &AgentStatus) -> Check {
    const NAME: &str = "clock";
    let Some(offset) = agent.clock_offset else {
        return Check::absent(NAME, "not compared with the backend's yet");
    };
    match time::clock(offset) {
        Some(difference) if offset.unsigned_abs() > 30 => Check::bad(
            NAME,
            difference,
            "set the clock (`timedatectl set-ntp true`): certificates and policy are judged by it",
        ),
        _ => Check::good(NAME, format!("within {} s of the backend's", offset.unsigned_abs().max(1))),
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
        Err(error) => Check::bad("trust", hostward_protocol::causes::chain(&error), "run `hostward apply`"),
    }
}

#[cfg(test)]
mod tests {
    use hostward_protocol::local::TokenProblem;
    use hostward_protocol::report::{Finding, Responsible};

    use super::super::Verdict;
    use super::*;

    fn finding(message: &str) -> Finding {
        Finding {
            code: "x".into(),
            subject: "it".into(),
            message: message.into(),
            responsible: Responsible::Operator,
            mend: "mend it".into(),
        }
    }

    fn agent(enrollment: EnrollmentState) -> AgentStatus {
        AgentStatus {
            at: chrono::DateTime::UNIX_EPOCH,
            agent_version: "1".into(),
            enrollment,
            last_contact: None,
            problem: None,
            next_attempt: None,
            clock_offset: Some(94_607_999),
            polling: None,
            token: None,
            step_ca: None,
            events: Default::default(),
        }
    }

    #[test]
    fn no_backend_was_asked_before_enrollment() {
        let agent = agent(EnrollmentState::AwaitingToken);
        assert!(matches!(backend(&agent).verdict, Verdict::Absent { .. }));
        assert!(
            matches!(&clock(&agent).verdict, Verdict::Bad { seen, .. } if seen.contains("3 years behind"))
        );
    }

    #[test]
    fn a_damaged_identity_and_a_token_are_told_for_what_they_are() {
        let mut agent = agent(EnrollmentState::Damaged { reason: finding("host.json is damaged") });
        let seen = |check: &Check| match &check.verdict {
            Verdict::Bad { seen, .. } => seen.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(&enrollment(&agent)), "host.json is damaged");
        assert_eq!(token(&agent), None);
        let at = agent.at;
        agent.token = Some(TokenProblem { finding: finding("somebody else's"), at, next_attempt: None });
        agent.problem = Some(finding("503"));
        assert_eq!(seen(&token(&agent).unwrap()), "somebody else's");
        agent.problem = Some(finding("somebody else's"));
        assert_eq!(token(&agent), None, "once is enough");
    }

    #[test]
    fn each_unit_has_its_own_line() {
        let (unit, what) = units::UNITS[2];
        let stopped = [Stopped { unit, what, state: "inactive".into() }];
        let checks = running(Some(&stopped));
        assert_eq!(checks.len(), units::UNITS.len());
        let bad: Vec<_> = checks.iter().filter(|c| matches!(c.verdict, Verdict::Bad { .. })).collect();
        assert!(bad.len() == 1 && bad[0].name == unit, "{bad:?}");
    }
}
