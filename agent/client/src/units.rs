//! Which of hostward's units do not run.

use std::process::{Command, Stdio};

use serde::Serialize;

/// What hostward consists of, and what each is called.
pub const UNITS: [(&str, &str); 5] = [
    ("hostward.service", "the agent"),
    ("hostward.socket", "the agent's socket"),
    ("hostward-ssh-agent.socket", "the SSH agent's socket"),
    ("hostward-apply.socket", "the apply socket"),
    (TIMER, "the drift timer"),
];
/// What makes a pass come by itself.
pub const TIMER: &str = "hostward-drift.timer";

/// One that is not active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// Its name.
    pub unit: &'static str,
    /// What it is.
    #[serde(skip)]
    pub what: &'static str,
    /// Its state, as systemd calls it.
    pub state: String,
}

impl Stopped {
    /// What to do.
    pub fn mend(&self) -> String {
        format!("run `systemctl enable --now {0}`, and look at `journalctl -u {0}`", self.unit)
    }
}

/// Those that are not active; `None` where systemd cannot be asked. Anybody may ask.
pub fn stopped() -> Option<Vec<Stopped>> {
    let output = Command::new("systemctl")
        .arg("is-active")
        .args(UNITS.map(|(unit, _)| unit))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// One state a line, in the order of [`UNITS`].
fn parse(text: &str) -> Option<Vec<Stopped>> {
    let states: Vec<&str> = text.lines().map(str::trim).collect();
    if states.len() != UNITS.len() {
        return None;
    }
    let stopped =
        UNITS.into_iter().zip(states).filter(|(_, state)| !matches!(*state, "active" | "reloading"));
    Some(stopped.map(|((unit, what), state)| Stopped { unit, what, state: state.into() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_active_is_stopped() {
        let stopped = parse("active\nactive\nactive\ninactive\nfailed\n").unwrap();
        let names: Vec<_> = stopped.iter().map(|s| (s.unit, &*s.state)).collect();
        assert_eq!(names, [("hostward-apply.socket", "inactive"), (TIMER, "failed")]);
        assert!(stopped[0].mend().contains("systemctl enable --now hostward-apply.socket"));
        assert_eq!(parse("active\nactive\nactive\nactive\nreloading\n").unwrap(), []);
        assert_eq!(parse("Running in chroot, ignoring command\n"), None);
    }
}
