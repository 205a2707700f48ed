//! What the host says of itself, parsed.

use std::time::Duration;

use hostward_lab::Output;
use hostward_protocol::local::{AgentStatus, HostStatus};
use hostward_protocol::report::Report;
use serde_json::Value;

use crate::fixture::Fixture;

/// How long something may take that is to happen within a second, on a machine that does much else at the time.
pub const SOON: Duration = Duration::from_secs(30);

impl Fixture<'_> {
    /// What root's process tells everybody.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> HostStatus {
        let text = self.host.read("/var/lib/hostward/status.json");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("status.json: {error}\n{text}"))
    }

    /// What the network process says of itself.
    #[track_caller]
    #[must_use]
    pub fn agent_status(&self) -> AgentStatus {
        let text = self.host.read("/var/lib/hostward-agent/status.json");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("status.json: {error}\n{text}"))
    }

    /// Waits until root's process says what is wanted.
    #[track_caller]
    pub fn wait_for_status(&self, patience: Duration, what: &str, wanted: impl Fn(&HostStatus) -> bool) {
        self.host.wait_for(patience, what, |host| {
            let output = host.run("cat /var/lib/hostward/status.json");
            match serde_json::from_str(&output.stdout) {
                Ok(status) if wanted(&status) => Ok(()),
                _ => Err(output.to_string()),
            }
        });
    }

    /// Waits until the network process says what is wanted.
    #[track_caller]
    pub fn wait_for_agent(&self, patience: Duration, what: &str, wanted: impl Fn(&AgentStatus) -> bool) {
        self.host.wait_for(patience, what, |host| {
            let output = host.run("cat /var/lib/hostward-agent/status.json");
            match serde_json::from_str(&output.stdout) {
                Ok(status) if wanted(&status) => Ok(()),
                _ => Err(output.to_string()),
            }
        });
    }

    /// The report of the last pass.
    #[track_caller]
    #[must_use]
    pub fn report(&self) -> Report {
        let text = self.host.read("/var/lib/hostward/report.json");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("report.json: {error}\n{text}"))
    }

    /// Runs `hostward apply` and returns its report, whatever its exit status.
    #[track_caller]
    #[must_use]
    pub fn apply(&self) -> Report {
        let output = self.hostward("apply --json");
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    /// What a command of `hostward` prints with `--json`, whatever its exit status.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &str) -> Value {
        json(&self.hostward(&format!("{arguments} --json")))
    }

    /// What both services wrote to the journal since the host booted.
    #[track_caller]
    #[must_use]
    pub fn journal(&self) -> String {
        let command =
            "journalctl --no-pager --boot --output=cat -u hostward.service -u hostward-apply.service";
        self.host.ok(command)
    }
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {output}"))
}
