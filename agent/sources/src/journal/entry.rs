//! An entry of the journal, and who said it.
//!
//! Anybody on the host can write to the journal in anybody's name. What begins with an underscore is journald's own
//! knowledge of the sender, and only that is believed: the real uid, the program, its capabilities, its unit. sudo and su
//! keep the caller's real uid, so that of them more is asked: see [`Speaker`].

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// What is asked of journalctl(1), as its arguments: entries that may count. Whether one does, [`Entry::speaker`] says.
pub const MATCHES: &[&str] = &[
    "_UID=0",
    "_EXE=/usr/sbin/sshd",
    "_EXE=/usr/lib/openssh/sshd-session",
    "_EXE=/usr/lib/openssh/sshd-auth",
    "+",
    "_UID=0",
    "_SYSTEMD_UNIT=ssh.service",
    "+",
    "_UID=0",
    "SYSLOG_IDENTIFIER=sshd",
    "SYSLOG_IDENTIFIER=sshd-session",
    "SYSLOG_IDENTIFIER=sshd-auth",
    "+",
    "SYSLOG_IDENTIFIER=sudo",
    "SYSLOG_IDENTIFIER=sudo-rs",
    "SYSLOG_IDENTIFIER=su",
    "+",
    "_UID=0",
    "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e",
];

/// What of them, as `--output-fields` has it.
pub const FIELDS: &str = "MESSAGE,MESSAGE_ID,N_DROPPED,OBJECT_SYSTEMD_UNIT,SYSLOG_IDENTIFIER,_AUDIT_SESSION,_BOOT_ID,_CAP_EFFECTIVE,_EXE,_PID,_SYSTEMD_CGROUP,_SYSTEMD_UNIT,_TRANSPORT,_UID";

const SSHD: &[&str] = &["/usr/sbin/sshd", "/usr/lib/openssh/sshd-session", "/usr/lib/openssh/sshd-auth"];
const SUDO: &[&str] = &["/usr/bin/sudo", "/usr/lib/cargo/bin/sudo"];
const SU: &[&str] = &["/usr/bin/su", "/bin/su"];
/// Without a merged `/usr`, as on hosts that came from older releases.
const JOURNALD: &[&str] = &["/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"];
/// `SD_MESSAGE_JOURNAL_DROPPED` of sd-messages.h.
const DROPPED: &str = "a596d6fe7bfa4994828e72309e95d61e";
/// `CAP_SETUID` of capabilities(7): what a program needs to be of use as sudo or su.
const CAP_SETUID: u64 = 1 << 7;

/// Why a line of journalctl is no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not what `--output=json` prints.
    #[error("a line of journalctl is no JSON object")]
    Json(#[source] serde_json::Error),
    /// Without what each entry has.
    #[error("an entry of the journal has no usable `{field}`")]
    Lacking {
        /// Which.
        field: &'static str,
    },
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where in the journal it is.
    pub cursor: String,
    /// When journald took it.
    pub at: DateTime<Utc>,
    /// The boot: 32 hexadecimal digits.
    pub boot: String,
    /// What it says. Bytes that are no UTF-8 are replaced.
    pub message: String,
    /// What the sender calls itself.
    pub identifier: String,
    /// The sender's real uid, as the kernel says.
    pub uid: Option<u32>,
    /// The sender.
    pub pid: u32,
    /// By which of journald's sockets it came. What came over a stream may be said to be of a process that only inherited it.
    #[serde(default)]
    pub transport: Option<String>,
    /// Its program, if journald was in time to look.
    pub exe: Option<String>,
    /// Its effective capabilities, in its own user namespace, if journald was in time to look.
    pub capabilities: Option<u64>,
    /// Its unit.
    pub unit: Option<String>,
    /// Its control group.
    pub cgroup: Option<String>,
    /// Its audit session.
    pub audit: Option<u32>,
    /// What kind of message of journald it is, where it says.
    pub message_id: Option<String>,
    /// How many messages journald dropped, and of which unit.
    pub dropped: Option<(u64, String)>,
}

/// Who said it, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// sshd, for certain.
    Sshd,
    /// sudo. `sure` is whether nobody but root can have said it; else it may be somebody in a user namespace of their
    /// own, where a program is called what they like, or a process that was gone before journald looked.
    Sudo {
        /// See above.
        sure: bool,
        /// Whether the program was seen and is sudo's, with root's capabilities.
        seen: bool,
    },
    /// su; as for sudo.
    Su {
        /// See above.
        sure: bool,
        /// See above.
        seen: bool,
    },
    /// journald, that it dropped messages.
    Journald,
    /// Somebody else: it counts for nothing.
    Nobody,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    /// What is no UTF-8, or has control characters.
    Bytes(Vec<u8>),
    /// A field that was given more than once, or is too large.
    Other(IgnoredAny),
}

impl Value {
    fn text(self) -> Option<String> {
        match self {
            Value::Text(text) => Some(text),
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Value::Other(IgnoredAny) => None,
        }
    }
}

impl Entry {
    /// Of a line that `journalctl --output=json` prints, without its newline.
    pub fn parse(line: &[u8]) -> Result<Self, EntryError> {
        let mut fields: HashMap<String, Value> = serde_json::from_slice(line).map_err(EntryError::Json)?;
        let mut take = |name: &'static str| fields.remove(name).and_then(Value::text);
        let lacking = |field| EntryError::Lacking { field };
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u32>().ok());
        let micros = take("__REALTIME_TIMESTAMP").and_then(|text| text.parse().ok());
        let at = micros.and_then(DateTime::from_timestamp_micros);
        let dropped = take("N_DROPPED").and_then(|text| text.parse().ok());
        let dropped_of = take("OBJECT_SYSTEMD_UNIT");
        Ok(Entry {
            cursor: take("__CURSOR").ok_or_else(|| lacking("__CURSOR"))?,
            at: at.ok_or_else(|| lacking("__REALTIME_TIMESTAMP"))?,
            boot: take("_BOOT_ID").ok_or_else(|| lacking("_BOOT_ID"))?,
            message: take("MESSAGE").unwrap_or_default(),
            identifier: take("SYSLOG_IDENTIFIER").unwrap_or_default(),
            uid: number(take("_UID")),
            pid: number(take("_PID")).unwrap_or_default(),
            transport: take("_TRANSPORT"),
            exe: take("_EXE"),
            capabilities: take("_CAP_EFFECTIVE").and_then(|text| u64::from_str_radix(&text, 16).ok()),
            unit: take("_SYSTEMD_UNIT"),
            cgroup: take("_SYSTEMD_CGROUP"),
            audit: number(take("_AUDIT_SESSION")),
            message_id: take("MESSAGE_ID"),
            dropped: dropped.map(|count| (count, dropped_of.unwrap_or_default())),
        })
    }

    /// Who said it. The real uid 0 is root's, of whatever program; with it the rest only tells what it was.
    pub fn speaker(&self) -> Speaker {
        let is_root = self.uid == Some(0);
        let exe = self.exe.as_deref();
        let is = |known: &[&str]| exe.is_some_and(|exe| known.contains(&exe));
        let has_root = is_root || self.capabilities.is_some_and(|found| found & CAP_SETUID != 0);
        let unit = self.unit.as_deref();
        let was_gone = exe.is_none() && matches!(unit, None | Some("ssh.service"));
        let calls_itself_sshd = matches!(self.identifier.as_str(), "sshd" | "sshd-session" | "sshd-auth");
        let by_syslog = self.transport.as_deref() == Some("syslog");
        match self.identifier.as_str() {
            // sshd may end with what it says, before journald looks at its program or even its unit.
            _ if is_root && (is(SSHD) || (was_gone && calls_itself_sshd)) => Speaker::Sshd,
            "sudo" | "sudo-rs" | "su" if !by_syslog => Speaker::Nobody,
            "sudo" | "sudo-rs" if is(SUDO) && has_root => Speaker::Sudo { sure: is_root, seen: true },
            "sudo" | "sudo-rs" if exe.is_none() => Speaker::Sudo { sure: false, seen: false },
            "su" if is(SU) && has_root => Speaker::Su { sure: is_root, seen: true },
            "su" if exe.is_none() => Speaker::Su { sure: false, seen: false },
            _ if is_root && is(JOURNALD) && self.message_id.as_deref() == Some(DROPPED) => Speaker::Journald,
            _ => Speaker::Nobody,
        }
    }
}
