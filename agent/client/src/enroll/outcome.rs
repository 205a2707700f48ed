//! What came of a token, as far as the agent and root have told. Pure.

use chrono::{DateTime, Utc};
use hostward_protocol::local::{AgentStatus, EnrollmentState, HostStatus, TokenProblem};
use hostward_protocol::report::Finding;

use crate::show;

/// A token that was put in place.
#[derive(Debug)]
pub struct Attempt {
    /// When.
    pub started: DateTime<Utc>,
    /// As what the host was enrolled then.
    pub before: Option<String>,
}

/// What there is to go by.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What the agent says.
    pub agent: Option<&'a AgentStatus>,
    /// What root says.
    pub host: Option<&'a HostStatus>,
    /// Root deleted the token: it was told how the enrollment ended.
    pub is_over: bool,
    /// The token is where it was put.
    pub untaken: bool,
}

/// How far it has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Nothing is known yet.
    Waiting,
    /// It came to nothing, and is not tried again by itself.
    GivenUp(&'a Finding),
    /// Enrolled, and the policy is not in force yet.
    Enrolled {
        /// The host's id.
        host_id: &'a str,
    },
    /// Enrolled, and the policy is in force.
    InForce {
        /// The host's id.
        host_id: &'a str,
        /// What root says.
        host: &'a HostStatus,
    },
}

impl Attempt {
    /// How far it has come. What was so before the token was there does not count.
    pub fn judge<'a>(&self, seen: &Seen<'a>) -> Progress<'a> {
        if let Some(TokenProblem { finding, next_attempt: None, .. }) = self.problem(seen) {
            return Progress::GivenUp(finding);
        }
        let Some((host_id, project)) = self.enrolled(seen) else {
            return Progress::Waiting;
        };
        let is_in_force = |host: &&HostStatus| {
            host.project.as_deref() == Some(project) && host.policy.is_some() && host.admission.is_none()
        };
        match self.host(seen).filter(is_in_force) {
            Some(host) => Progress::InForce { host_id, host },
            None => Progress::Enrolled { host_id },
        }
    }

    /// What to say of an enrollment that was not over in time.
    pub fn timed_out(&self, seen: &Seen<'_>) -> String {
        let Some(agent) = seen.agent else {
            return "no word from the agent; is it running? See `systemctl status hostward`\n".into();
        };
        if let Some(token) = self.problem(seen) {
            let next = token.next_attempt.map(|at| format!(", next at {}", at.format("%F %T UTC")));
            let next = next.unwrap_or_default();
            return format!("not yet; the agent keeps trying{next}:\n{}", show::finding(&token.finding));
        }
        if self.enrolled(seen).is_some() {
            let refused = self.host(seen).and_then(|host| host.admission.as_ref());
            return match (refused, &agent.problem) {
                (Some(why), _) => {
                    format!(
                        "enrolled, but the policy is not admitted; the agent keeps trying:\n{}",
                        show::finding(why)
                    )
                }
                (None, Some(why)) => {
                    format!(
                        "enrolled, but no policy came yet; the agent keeps trying:\n{}",
                        show::finding(why)
                    )
                }
                (None, None) => "enrolled, but no policy came yet; see `hostward status`\n".into(),
            };
        }
        if seen.untaken {
            return "nobody has read the token yet; is the agent running? See `systemctl status hostward`\n"
                .into();
        }
        "not yet; the agent keeps trying, see `hostward status`\n".into()
    }

    /// What the host remains where the token came to nothing.
    pub fn remains(&self) -> String {
        match &self.before {
            Some(host_id) => format!(" with this token; the host stays enrolled as {}", show::clean(host_id)),
            None => String::new(),
        }
    }

    fn problem<'a>(&self, seen: &Seen<'a>) -> Option<&'a TokenProblem> {
        seen.agent?.token.as_ref().filter(|token| token.at >= self.started)
    }

    fn host<'a>(&self, seen: &Seen<'a>) -> Option<&'a HostStatus> {
        seen.host.filter(|host| host.at >= self.started)
    }

    /// Id and project of the new enrollment: another than before, or the same once more and root was told so.
    fn enrolled<'a>(&self, seen: &Seen<'a>) -> Option<(&'a str, &'a str)> {
        match &seen.agent?.enrollment {
            EnrollmentState::Enrolled { host_id, project, .. }
                if seen.is_over || self.before.as_ref() != Some(host_id) =>
            {
                Some((host_id, project))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use hostward_protocol::report::Responsible;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn finding() -> Finding {
        Finding {
            code: "token-url-not-https".into(),
            subject: "token".into(),
            message: "no https".into(),
            responsible: Responsible::Operator,
            mend: "mend it".into(),
        }
    }

    fn agent(host_id: &str) -> AgentStatus {
        AgentStatus {
            at: at(0),
            agent_version: "1".into(),
            enrollment: EnrollmentState::Enrolled {
                url: "https://b.example/".into(),
                host_id: host_id.into(),
                project: "acme".into(),
            },
            last_contact: None,
            problem: None,
            next_attempt: None,
            clock_offset: None,
            polling: None,
            token: None,
            step_ca: None,
            events: Default::default(),
        }
    }

    fn attempt(before: Option<&str>) -> Attempt {
        Attempt { started: at(0), before: before.map(str::to_owned) }
    }

    fn seen<'a>(agent: &'a AgentStatus, host: Option<&'a HostStatus>) -> Seen<'a> {
        Seen { agent: Some(agent), host, is_over: false, untaken: false }
    }

    #[test]
    fn the_enrollment_before_is_not_the_new_one() {
        let (old, host) = (agent("old"), crate::status::tests::host());
        assert_eq!(attempt(Some("old")).judge(&seen(&old, Some(&host))), Progress::Waiting);
        let new = agent("new");
        let done = Progress::InForce { host_id: "new", host: &host };
        assert_eq!(attempt(Some("old")).judge(&seen(&new, Some(&host))), done);
        assert_eq!(attempt(None).judge(&seen(&new, Some(&host))), done);
        // The same token once more: the same host, and root deleted the token.
        let again = Seen { is_over: true, ..seen(&old, Some(&host)) };
        let done = Progress::InForce { host_id: "old", host: &host };
        assert_eq!(attempt(Some("old")).judge(&again), done);
    }

    #[test]
    fn a_token_that_is_not_tried_again_ends_the_wait_whatever_the_host_was() {
        for enrollment in [agent("old").enrollment, EnrollmentState::AwaitingToken] {
            let mut agent = AgentStatus { enrollment, ..agent("") };
            agent.token = Some(TokenProblem { finding: finding(), at: at(1), next_attempt: None });
            let attempt = attempt(Some("old"));
            assert_eq!(attempt.judge(&seen(&agent, None)), Progress::GivenUp(&finding()));
            assert!(attempt.remains().contains("stays enrolled as old"));
            // What was found of the token before says nothing of this one.
            agent.token = Some(TokenProblem { finding: finding(), at: at(-1), next_attempt: None });
            assert_eq!(attempt.judge(&seen(&agent, None)), Progress::Waiting);
        }
    }

    #[test]
    fn what_is_tried_again_is_waited_for_and_told_at_the_end() {
        let mut agent = AgentStatus { enrollment: EnrollmentState::AwaitingToken, ..agent("") };
        agent.token = Some(TokenProblem { finding: finding(), at: at(1), next_attempt: Some(at(30)) });
        let attempt = attempt(None);
        assert_eq!(attempt.judge(&seen(&agent, None)), Progress::Waiting);
        let text = attempt.timed_out(&seen(&agent, None));
        assert!(
            text.contains("keeps trying, next at 2027-01-15 08:00:30") && text.contains("no https"),
            "{text}"
        );
        agent.token = None;
        let untaken = Seen { untaken: true, ..seen(&agent, None) };
        assert!(attempt.timed_out(&untaken).contains("nobody has read the token"));
        assert!(attempt.timed_out(&Seen { agent: None, ..untaken }).contains("no word from the agent"));
    }

    #[test]
    fn a_policy_of_before_or_of_another_project_is_not_the_one_waited_for() {
        let agent = agent("new");
        let good = crate::status::tests::host();
        let cases = [
            HostStatus { at: good.at - TimeDelta::seconds(1), ..good.clone() },
            HostStatus { project: Some("other".into()), ..good.clone() },
            HostStatus { policy: None, ..good.clone() },
            HostStatus { admission: Some(finding()), ..good.clone() },
        ];
        for host in &cases {
            let progress = attempt(None).judge(&seen(&agent, Some(host)));
            assert_eq!(progress, Progress::Enrolled { host_id: "new" }, "{host:?}");
        }
        let text = attempt(None).timed_out(&seen(&agent, Some(&cases[3])));
        assert!(text.contains("not admitted") && text.contains("no https"), "{text}");
    }
}
