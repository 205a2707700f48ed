//! Questions that change nothing: what would be done, and why somebody can or cannot log in.

use chrono::{DateTime, Utc};
use hostward_plan::explain::{self, Explanation};
use hostward_protocol::local::ApplyReply;
use hostward_protocol::report::{Finding, Responsible};
use serde_json::json;

use super::Engine;
use super::pass::InForce;
use crate::finding::finding;

impl Engine {
    /// What would be done, for a person and for a program.
    pub(super) fn plan(&self, now: DateTime<Utc>) -> Result<ApplyReply, Finding> {
        let config = self.config()?;
        let in_force = InForce::of(self.committed_policy()?);
        let prepared = self.prepare(&config, &in_force, now)?;
        let mut json = prepared.plan.to_json();
        json["refusals"] = json!(prepared.desired.refusals);
        json["warnings"] = json!(prepared.desired.warnings);
        let mut text = match in_force {
            InForce::Policy(_) => String::new(),
            InForce::Configuration => "no policy has been accepted yet\n".to_owned(),
        };
        text.push_str(&prepared.plan.to_string());
        for (word, findings) in
            [("refused", &prepared.desired.refusals), ("warning", &prepared.desired.warnings)]
        {
            for finding in findings {
                text.push_str(&format!("{word} {}: {}\n", finding.subject, finding.message));
            }
        }
        Ok(ApplyReply::Text { text, json })
    }

    /// Why somebody can or cannot log in, and what they may run.
    pub(super) fn explain(&self, user: &str, now: DateTime<Utc>) -> Result<ApplyReply, Finding> {
        let config = self.config()?;
        let policy = self.committed_policy()?.ok_or_else(|| {
            finding(
                Responsible::Operator,
                "no-policy",
                "policy",
                "no policy has been accepted yet",
                "enroll this host, or look at `hostward status`",
            )
        })?;
        let facts = self.facts()?;
        let explanation = explain::explain(&policy, &config, &facts, now, user);
        Ok(ApplyReply::Text { text: explained(&explanation), json: json!(explanation) })
    }
}

/// For a person.
fn explained(explanation: &Explanation) -> String {
    let verdict = match explanation {
        Explanation { local: true, .. } => {
            "is a local account, so whether it can log in is not for hostward to say"
        }
        Explanation { login: true, .. } => "can log in on this host",
        Explanation { login: false, .. } => "cannot log in on this host",
    };
    let mut text = format!("{} {verdict}\n", explanation.user.escape_debug());
    for reason in &explanation.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    if !explanation.commands.is_empty() {
        text.push_str("may run with sudo\n");
    }
    for command in &explanation.commands {
        text.push_str(&format!(
            "  {} (entitlement `{}`, grant `{}` of group `{}`)\n",
            command.command, command.entitlement, command.grant, command.group
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_local_account_it_is_not_said_that_it_cannot_log_in() {
        let explanation = |local, login| Explanation {
            user: "root".into(),
            login,
            local,
            reasons: vec!["because".into()],
            commands: Vec::new(),
        };
        assert!(explained(&explanation(true, false)).starts_with("root is a local account"));
        assert!(explained(&explanation(false, false)).starts_with("root cannot log in on this host\n"));
        assert!(explained(&explanation(false, true)).starts_with("root can log in on this host\n"));
    }
}
