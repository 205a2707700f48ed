//! How it stands with the caller's own account, for `hostward status`.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::service::{Answer, Query, ServiceState};
use serde::Serialize;

use super::agent::Agent;
use super::settings;
use crate::show;

/// A service user's account.
#[derive(Debug, Serialize)]
pub struct State {
    #[serde(flatten)]
    state: ServiceState,
    /// The account's own choice.
    turned_off: bool,
    /// Why the account's settings cannot be read. Its ssh is then as without hostward.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings_problem: Option<String>,
}

/// That of the caller; `None` where the account stands for no service user, or the agent cannot be asked.
pub fn of_caller() -> Option<State> {
    let Ok(Answer::Service(state)) = Agent::connect().ok()?.ask(&Query::Service) else {
        return None;
    };
    state.user.as_ref()?;
    let is_off = settings::is_off();
    let settings_problem = is_off.as_ref().err().map(ToString::to_string);
    Some(State { state, turned_off: is_off.unwrap_or(false), settings_problem })
}

impl State {
    /// Whether there is something to be mended.
    pub fn needs_attention(&self) -> bool {
        self.state.problem.is_some() || self.settings_problem.is_some()
    }

    /// Whether its certificates come from a step-ca.
    pub fn is_of_step_ca(&self) -> bool {
        self.state.issuer.as_deref() == Some("step-ca")
    }

    /// For a person.
    pub fn text(&self, now: DateTime<Utc>) -> String {
        let mut text = String::new();
        let user = show::clean(self.state.user.as_deref().unwrap_or_default());
        let how = match self.state.certificate_until {
            _ if let Some(problem) = &self.settings_problem => {
                format!(
                    "its ssh goes on without hostward, since its settings cannot be read: {}",
                    show::clean(problem)
                )
            }
            _ if self.turned_off => {
                "turned off by this account (hostward config service_auth.enable true turns it on)".into()
            }
            Some(until) if until > now => {
                format!("its certificate is good until {}", until.format("%F %T UTC"))
            }
            _ => "a certificate is fetched when ssh asks for one".into(),
        };
        let by = if self.is_of_step_ca() { " (step-ca)" } else { "" };
        _ = writeln!(
            text,
            "service:      this account (uid {}) stands for {user}{by}; {how}",
            self.state.uid
        );
        text.push_str(&show::findings("no certificate the last time:", self.state.problem.as_slice()));
        text
    }
}

/// Why there is no certificate.
pub fn why_not(state: &ServiceState) -> Finding {
    match (&state.problem, &state.user) {
        (Some(problem), _) => problem.clone(),
        (None, None) => Finding {
            code: "service-not-bound".into(),
            subject: format!("uid {}", state.uid),
            message: "this account stands for no service user on this host".into(),
            responsible: Responsible::Backend,
            mend: "bind it in the project's services, or in [[step_ca.services]] of this host; `hostward status` as root \
                   shows what was refused"
                .into(),
        },
        (None, Some(_)) => Finding {
            code: "no-certificate".into(),
            subject: format!("uid {}", state.uid),
            message: "the SSH agent gave no certificate and does not say why".into(),
            responsible: Responsible::Host,
            mend: "try again; `journalctl -u hostward` says more".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let at = |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        let state = ServiceState {
            uid: 112,
            user: Some("deploy\u{1b}".into()),
            issuer: Some("backend".into()),
            certificate_until: Some(at(60)),
            problem: None,
        };
        let mut shown = State { state, turned_off: false, settings_problem: None };
        let text = shown.text(at(0));
        assert!(
            text.contains("(uid 112) stands for deploy\\u{1b}; its certificate is good until 2027"),
            "{text}"
        );
        assert!(!shown.needs_attention());
        assert!(shown.text(at(61)).contains("is fetched when ssh asks"));
        shown.state.problem = Some(Finding { message: "503".into(), ..why_not(&shown.state) });
        assert!(shown.needs_attention() && shown.text(at(0)).contains("503"));
        assert_eq!(why_not(&shown.state).message, "503");
        shown.turned_off = true;
        assert!(shown.text(at(0)).contains("turned off by this account"));
        shown.settings_problem = Some("`config.toml`: cannot read it".into());
        assert!(shown.needs_attention() && shown.text(at(0)).contains("`config.toml`: cannot read it"));
        shown.state.issuer = Some("step-ca".into());
        assert!(shown.text(at(0)).contains("(step-ca)"));
        let nobody =
            ServiceState { uid: 113, user: None, issuer: None, certificate_until: None, problem: None };
        assert_eq!(why_not(&nobody).code, "service-not-bound");
    }
}
