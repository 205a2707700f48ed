//! What a record says.

use serde::{Deserialize, Serialize};

use crate::id::Id;

/// One thing that PAM saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of this record, so that it becomes one event however often it is read.
    pub id: Id,
    /// What happened.
    pub what: What,
    /// When: microseconds since 1970.
    pub time: u64,
    /// The boot it happened in, as `/proc/sys/kernel/random/boot_id` has it; empty where that could not be read.
    pub boot: String,
    /// The PAM service: `sshd`, `sudo`, `su-l`.
    pub service: String,
    /// Whose session it is, as PAM knows them at the end.
    pub user: String,
    /// Their uid, if they have an account.
    pub uid: Option<u32>,
    /// Whether the policy manages them here.
    pub managed: bool,
    /// The terminal, without `/dev/`: `pts/0`. sshd, which has none yet, says `ssh`; cron says `cron`.
    pub tty: Option<String>,
    /// The address or name they come from, as the service says.
    pub rhost: Option<String>,
    /// Who asked for it: of su and sudo the user who ran them.
    pub ruser: Option<String>,
    /// `SSH_AUTH_INFO_0` of sshd: each method that succeeded on a line, certificates in full. What is beyond the line's
    /// room is cut.
    pub auth: Option<String>,
    /// Of a session of sudo: where it was asked for.
    pub directory: Option<String>,
    /// Of a session of sudo: what was asked of it, its options and the command as they were typed, parted by spaces. Of a
    /// long one there are the beginning and the end, with [`crate::CUT`] between.
    pub command_line: Option<String>,
    /// The process that called PAM.
    pub process: Process,
    /// Its parent.
    pub parent: u32,
    /// The kernel's audit session, inherited from login to sudo; absent where nothing sets it.
    pub audit_session: Option<u32>,
    /// Who logged in, as the kernel's audit keeps it; absent as above.
    pub loginuid: Option<u32>,
    /// The process' control group below the root of the unified or systemd's hierarchy: `/user.slice/…/session-3.scope`.
    pub cgroup: Option<String>,
    /// logind's session, from the PAM environment.
    pub xdg_session: Option<String>,
    /// The parent, its parent and so on, as far as a few steps go.
    pub ancestors: Vec<Process>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A session began, which has this name from now on.
    Opened(Id),
    /// It ended. Without a name it was closed by a process that does not know of the opening.
    Closed(Option<Id>),
    /// A managed user was not let in.
    Denied {
        /// Why.
        reason: Reason,
        /// The moment, seconds since 1970, at which what was allowed ended, or begins; absent where there is none.
        until: Option<u64>,
    },
}

/// Why a managed user was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The policy has them as suspended.
    Suspended,
    /// Their time in the policy is over.
    Expired,
    /// No grant of theirs holds at this moment.
    OutsideWindow,
    /// The policy is older than `max_offline`, and `on_stale = "lock"`.
    Stale,
}

/// A process, told from another that has its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u32, u64)", into = "(u32, u64)")]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot: field 22 of proc_pid_stat(5).
    pub start: u64,
}

impl From<(u32, u64)> for Process {
    fn from((pid, start): (u32, u64)) -> Self {
        Self { pid, start }
    }
}

impl From<Process> for (u32, u64) {
    fn from(process: Process) -> Self {
        (process.pid, process.start)
    }
}
