//! What the kernel says of the process that called PAM.

use hostward_records::{Id, Process};

use crate::host::{Host, now_micros};

/// A file below /proc is never larger.
const BOUND: u64 = 64 << 10;
/// How far up ancestors are looked for.
const ANCESTORS: usize = 8;

/// This process and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) process: Process,
    pub(crate) parent: u32,
    pub(crate) ancestors: Vec<Process>,
    pub(crate) boot: String,
    pub(crate) audit_session: Option<u32>,
    pub(crate) loginuid: Option<u32>,
    pub(crate) cgroup: Option<String>,
}

impl Standing {
    /// As it is now. What cannot be read is left out.
    pub(crate) fn now(host: &Host) -> Self {
        let pid = std::process::id();
        let (start, parent) = status(host, pid).unwrap_or_default();
        let mut ancestors = Vec::with_capacity(ANCESTORS);
        let mut next = parent;
        while next != 0 && ancestors.len() < ANCESTORS {
            let Some((start, parent)) = status(host, next) else { break };
            ancestors.push(Process { pid: next, start });
            next = parent;
        }
        let set = |path| number(host, path).filter(|number| *number != u32::MAX);
        Self {
            process: Process { pid, start },
            parent,
            ancestors,
            boot: text(host, "/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            audit_session: set("/proc/self/sessionid"),
            loginuid: set("/proc/self/loginuid"),
            cgroup: text(host, "/proc/self/cgroup").and_then(|text| cgroup(&text)),
        }
    }
}

/// When a process started, and its parent: fields 22 and 4 of proc_pid_stat(5).
fn status(host: &Host, pid: u32) -> Option<(u64, u32)> {
    fields(&text(host, &format!("/proc/{pid}/stat"))?)
}

fn fields(stat: &str) -> Option<(u64, u32)> {
    // The name in parentheses may hold anything, parentheses too.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    Some((fields.nth(17)?.parse().ok()?, parent))
}

/// The path in the unified hierarchy, else in systemd's own.
fn cgroup(text: &str) -> Option<String> {
    let of = |prefix: &str| {
        let lines = text.lines();
        lines.filter_map(|line| line.split_once(':')).find_map(|(_, line)| line.strip_prefix(prefix))
    };
    // Where both are there, the unified one may have no groups.
    let (unified, systemd) = (of(":"), of("name=systemd:"));
    unified.filter(|path| *path != "/").or(systemd).or(unified).map(str::to_owned)
}

fn number(host: &Host, path: &str) -> Option<u32> {
    text(host, path)?.trim().parse().ok()
}

fn text(host: &Host, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&host.read(path, BOUND)?).into_owned())
}

/// The kernel takes no single argument that is longer, the program's own name included.
const LONGEST_ARGUMENT: u64 = 128 << 10;
/// How much of a command line is recorded, in bytes: its beginning, and more of its end, where the command is.
const BEGINNING: usize = 300;
const END: usize = 600;

/// What this process was asked for: its arguments behind its own name, as sudo takes them.
pub(crate) fn command_line(host: &Host) -> Option<String> {
    joined(&host.beginning("/proc/self/cmdline", 2 * LONGEST_ARGUMENT)?)
}

fn joined(arguments: &[u8]) -> Option<String> {
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    let mut parts = arguments.split(|byte| *byte == 0);
    let name = parts.next()?;
    let base = name.rsplit(|byte| *byte == b'/').next()?;
    // By any such name sudo is sudoedit.
    let edits = base.len() > 4 && base.ends_with(b"edit");
    let rest = parts.map(String::from_utf8_lossy);
    let all: Vec<_> = edits.then(|| "-e".into()).into_iter().chain(rest).collect();
    let text: String = all.join(" ").chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    Some(shortened(&text)).filter(|text| !text.is_empty())
}

fn shortened(text: &str) -> String {
    if text.len() <= BEGINNING + END {
        return text.to_owned();
    }
    let beginning = (0..=BEGINNING).rev().find_map(|at| text.get(..at)).unwrap_or_default();
    let end = (text.len().saturating_sub(END)..=text.len()).find_map(|at| text.get(at..)).unwrap_or_default();
    format!("{beginning}{}{end}", hostward_records::CUT)
}

/// Where this process stands.
pub(crate) fn directory(host: &Host) -> Option<String> {
    host.link("/proc/self/cwd")
}

/// Random bits. Does not wait for the kernel to have gathered enough of them at boot.
pub(crate) fn random_id() -> Id {
    let mut bytes = [0_u8; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    if got != Ok(bytes.len()) {
        let [time, pid] = [now_micros(), std::process::id().into()].map(u64::to_be_bytes);
        time.iter().chain(&pid).zip(&mut bytes).for_each(|(from, to)| *to = *from);
    }
    Id::of(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_shift_the_fields() {
        let rest = "S 321 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 5678 9 10";
        assert_eq!(fields(&format!("1234 (sshd) {rest}")), Some((5678, 321)));
        assert_eq!(fields(&format!("1234 (a) S 1 (b)) {rest}")), Some((5678, 321)));
        assert_eq!(fields("1234 (sshd) S"), None);
        assert_eq!(fields(""), None);
    }

    #[test]
    fn this_process_has_a_start_and_ancestors_up_to_the_first() {
        let standing = Standing::now(&Host::here());
        assert_eq!(standing.process.pid, std::process::id());
        assert!(standing.process.start > 0);
        assert_eq!(standing.ancestors.first().map(|process| process.pid), Some(standing.parent));
        assert_eq!(standing.boot.len(), 36);
        assert_ne!(random_id(), random_id());
    }

    #[test]
    fn arguments_are_joined_without_the_programs_name() {
        assert_eq!(joined(b"sudo\0-n\0id\0-u\0").as_deref(), Some("-n id -u"));
        assert_eq!(joined(b"sudo\0echo\0\0a\tb\0").as_deref(), Some("echo  a?b"));
        assert_eq!(joined(b"sudo\0cut in the mid").as_deref(), Some("cut in the mid"));
        assert_eq!(joined(b"/usr/bin/sudoedit\0/etc/hosts\0").as_deref(), Some("-e /etc/hosts"));
        assert_eq!(joined(b"sudo\0"), None);
        assert_eq!(joined(b""), None);
    }

    #[test]
    fn a_long_name_or_option_does_not_hide_the_command() {
        let long = "\u{1f980}".repeat(30_000);
        let text = joined(format!("{long}\0-p\0{long}\0/usr/bin/evil\0").as_bytes()).unwrap();
        assert!(text.starts_with("-p ") && text.ends_with(" /usr/bin/evil"), "{text}");
        assert!(text.contains(hostward_records::CUT) && text.len() <= 910, "{}", text.len());
    }

    #[test]
    fn the_control_group_is_that_of_systemd() {
        let scope = "/user.slice/user-1.slice/session-3.scope";
        assert_eq!(cgroup(&format!("0::{scope}\n")).as_deref(), Some(scope));
        assert_eq!(cgroup(&format!("2:cpu:/\n1:name=systemd:{scope}\n0::/\n")).as_deref(), Some(scope));
        assert_eq!(cgroup("0::/\n").as_deref(), Some("/"));
        assert_eq!(cgroup(""), None);
    }
}
