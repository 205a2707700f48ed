//! Who asks: a uid, which decides, and what else can be seen, which does not.

use hostward_protocol::api::CallerHint;
use tokio::net::unix::UCred;

/// The longest name of a unit that is passed on.
const MAX_UNIT: usize = 200;

/// A process at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its uid when it connected, as the kernel says.
    pub uid: u32,
    /// Its process id then. It may be another process by now.
    pub pid: Option<i32>,
}

impl From<UCred> for Caller {
    fn from(credentials: UCred) -> Self {
        Caller { uid: credentials.uid(), pid: credentials.pid() }
    }
}

impl Caller {
    /// Process and unit, as far as they can be seen.
    pub fn hint(&self) -> CallerHint {
        let pid = self.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let cgroup = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
        CallerHint { pid, unit: cgroup.as_deref().and_then(unit) }
    }
}

/// The innermost unit of /proc/PID/cgroup.
fn unit(cgroup: &str) -> Option<String> {
    let is_unit = |name: &&str| {
        [".service", ".scope", ".slice"].iter().any(|kind| name.ends_with(kind))
            && name.len() <= MAX_UNIT
            && !name.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    // The hierarchy of systemd's own, or the only one. Where both are mounted, either may be the one that is used.
    let lines = cgroup.lines().filter(|line| line.starts_with("0::") || line.contains(":name=systemd:"));
    lines.filter_map(|line| line.rsplit('/').find(is_unit)).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_unit_is_the_hint() {
        let of = |text: &str| unit(text).unwrap_or_default();
        assert_eq!(of("0::/system.slice/jenkins.service\n"), "jenkins.service");
        assert_eq!(of("0::/system.slice/actions.runner.service/job-1\n"), "actions.runner.service");
        assert_eq!(of("0::/user.slice/user-112.slice/session-3.scope\n"), "session-3.scope");
        assert_eq!(of("12:pids:/x\n1:name=systemd:/system.slice/cron.service\n"), "cron.service");
        assert_eq!(of("9:name=systemd:/\n1:cpu:/\n0::/system.slice/cron.service\n"), "cron.service");
        for none in ["", "0::/\n", "nonsense", "0::/a b.service\n"] {
            assert_eq!(unit(none), None, "{none}");
        }
    }

    #[test]
    fn a_process_that_is_gone_has_no_unit() {
        let caller = Caller { uid: 1, pid: Some(i32::MAX) };
        assert_eq!(caller.hint().unit, None);
        assert_eq!(Caller { uid: 1, pid: Some(0) }.hint(), CallerHint::default());
    }
}
