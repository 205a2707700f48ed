//! What is wrong at the moment, by what it keeps the agent from. Each is logged when it begins or changes.

use chrono::{DateTime, Utc};
use hostward_protocol::local::TokenProblem;
use hostward_protocol::report::Finding;

/// A problem, and when what it prevents is tried again.
pub type Problem = Option<(Finding, Option<DateTime<Utc>>)>;

/// All of them.
#[derive(Debug, Default)]
pub struct Problems {
    token: Option<TokenProblem>,
    policy: Problem,
    report: Problem,
    certificates: Problem,
    events: Problem,
}

impl Problems {
    /// With an enrollment.
    pub fn token(&mut self, problem: Option<TokenProblem>) {
        let before = self.token.take().map(|before| before.finding);
        log_change(
            before.as_ref(),
            problem.as_ref().map(|p| &p.finding),
            "what kept the token from being tried is over",
        );
        self.token = problem;
    }

    /// What is wrong with a token that is tried again.
    pub fn retried_token(&self) -> Option<&TokenProblem> {
        self.token.as_ref()
    }

    /// With the repository, or with putting before root what is there.
    pub fn policy(&mut self, problem: Problem) {
        replace(&mut self.policy, problem, "the policy can be fetched again");
    }

    /// With telling the backend.
    pub fn report(&mut self, problem: Problem) {
        replace(&mut self.report, problem, "the backend can be told again");
    }

    /// With certificates for the host's keys.
    pub fn certificates(&mut self, problem: Problem) {
        replace(&mut self.certificates, problem, "certificates for this host's keys can be had again");
    }

    /// With delivering events.
    pub fn events(&mut self, problem: Problem) {
        replace(&mut self.events, problem, "events can be delivered again");
    }

    /// What is wrong with delivering events. It is shown with them.
    pub fn of_events(&self) -> Problem {
        self.events.clone()
    }

    /// Whether root would not read the operator's configuration.
    pub fn is_misconfigured(&self) -> bool {
        let problems = [&self.policy, &self.report];
        problems.into_iter().flatten().any(|(finding, _)| finding.code == "configuration-invalid")
    }

    /// Whether the backend does not know the host.
    pub fn is_estranged(&self) -> bool {
        self.report.as_ref().is_some_and(|(finding, _)| finding.code == "host-unknown")
    }

    /// The one to show: `token` is what is wrong with a token that nobody tries any more.
    pub fn first(&self, token: Option<&Finding>) -> (Option<Finding>, Option<DateTime<Utc>>) {
        let estranged = self.report.as_ref().filter(|_| self.is_estranged());
        let retried = self.token.as_ref().map(|problem| (problem.finding.clone(), problem.next_attempt));
        let shown = estranged
            .or(self.policy.as_ref())
            .cloned()
            .or(retried)
            .or_else(|| token.map(|finding| (finding.clone(), None)))
            .or_else(|| self.report.clone())
            .or_else(|| self.certificates.clone());
        shown.map_or((None, None), |(finding, at)| (Some(finding), at))
    }
}

fn replace(place: &mut Problem, problem: Problem, over: &str) {
    log_change(place.as_ref().map(|(f, _)| f), problem.as_ref().map(|(f, _)| f), over);
    *place = problem;
}

fn log_change(before: Option<&Finding>, after: Option<&Finding>, over: &str) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (_, Some(finding)) => log::warn!("{}; {}", finding.message, finding.mend),
        (Some(_), None) => log::info!("{over}"),
        (None, None) => {}
    }
}
