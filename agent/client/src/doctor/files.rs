//! Whether everything of hostward's is there, with its owner and mode, and PAM.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde::Deserialize;

use super::Check;
use crate::state;

const LEDGER: &str = "/var/lib/hostward/ledger.json";

struct Expected {
    path: &'static str,
    owner: &'static str,
    group: &'static str,
    mode: u32,
    /// Absent before the first policy, or while nobody has sudo rights.
    optional: bool,
}

const fn must(path: &'static str, owner: &'static str, group: &'static str, mode: u32) -> Expected {
    Expected { path, owner, group, mode, optional: false }
}

const fn may(path: &'static str, owner: &'static str, group: &'static str, mode: u32) -> Expected {
    Expected { path, owner, group, mode, optional: true }
}

const EXPECTED: [Expected; 22] = [
    must("/etc/hostward", "root", "root", 0o755),
    must("/var/lib/hostward", "root", "root", 0o755),
    must("/run/hostward", "root", "root", 0o755),
    must("/var/lib/hostward-agent", "hostward", "hostward", 0o700),
    must("/var/lib/hostward-step-ca", "hostward", "hostward", 0o755),
    must("/var/log/hostward", "hostward", "adm", 0o2750),
    must("/run/hostward/apply.sock", "root", "hostward", 0o660),
    must("/run/hostward/agent.sock", "root", "root", 0o600),
    must("/run/hostward/ssh-agent.sock", "root", "root", 0o666),
    may("/var/lib/misc/hostward.db", "root", "root", 0o644),
    may("/var/lib/hostward/trust.json", "root", "root", 0o600),
    may("/var/lib/hostward/private", "root", "root", 0o700),
    may("/var/lib/hostward/status.json", "root", "root", 0o644),
    may("/var/lib/hostward/report.json", "root", "root", 0o600),
    may("/etc/sudoers.d/hostward", "root", "root", 0o440),
    may("/etc/ssh/sshd_config.d/10-hostward.conf", "root", "root", 0o644),
    may("/var/lib/hostward/ssh/revoked.krl", "root", "root", 0o644),
    may("/var/lib/hostward/ssh/user_ca.pub", "root", "root", 0o644),
    may("/var/lib/hostward/ssh/services.json", "root", "root", 0o644),
    may("/var/lib/hostward/ssh/known_hosts", "root", "root", 0o644),
    may("/var/lib/hostward/ssh/client.conf", "root", "root", 0o644),
    may("/var/lib/hostward-step-ca/known_hosts", "hostward", "hostward", 0o644),
];

/// What the ledger says that hostward wrote.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    files: BTreeMap<String, serde::de::IgnoredAny>,
}

/// Something that is not as it was installed, and its mend.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    seen: String,
    mend: String,
}

pub fn checks() -> Vec<Check> {
    const PERMISSIONS: &str = "permissions";
    let mut checks: Vec<Check> = EXPECTED
        .iter()
        .filter_map(|expected| wrong(expected, Path::new(expected.path)))
        .map(|Wrong { seen, mend }| Check::bad(PERMISSIONS, seen, mend))
        .collect();
    if checks.is_empty() {
        checks.push(Check::good(PERMISSIONS, "owners and modes are as installed"));
    }
    checks.push(written());
    checks
}

/// Whether what hostward wrote is still there. What is in it is `hostward plan`'s to say.
fn written() -> Check {
    match state::read::<Written>(Path::new(LEDGER)) {
        Ok(Some(ledger)) => present(ledger.files.keys().map(String::as_str)),
        Ok(None) => Check::absent("files", "none is written before the first policy is applied"),
        Err(error) => Check::bad(
            "files",
            hostward_protocol::causes::chain(&error),
            "run `hostward apply` and read what it says",
        ),
    }
}

fn present<'a>(files: impl Iterator<Item = &'a str>) -> Check {
    let gone: Vec<&str> = files.filter(|path| std::fs::symlink_metadata(path).is_err()).collect();
    if gone.is_empty() {
        Check::good("files", "everything that hostward wrote is there")
    } else {
        Check::bad("files", format!("missing: {}", gone.join(", ")), "run `hostward apply`")
    }
}

fn wrong(expected: &Expected, path: &Path) -> Option<Wrong> {
    let name = expected.path;
    let say = |seen: String, mend: String| Some(Wrong { seen, mend });
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return (!expected.optional)
                .then(|| Wrong { seen: format!("{name} is missing"), mend: remake(name) });
        }
        Err(error) => return say(format!("{name}: {error}"), "look at the file system that it is on".into()),
    };
    if found.file_type().is_symlink() || found.file_type().is_fifo() {
        return say(
            format!("{name} is a link or a pipe"),
            format!("find out who put it there and move it away; then {}", remake(name)),
        );
    }
    let owner = nix::unistd::User::from_name(expected.owner).ok().flatten().map(|u| u.uid.as_raw());
    let group = nix::unistd::Group::from_name(expected.group).ok().flatten().map(|g| g.gid.as_raw());
    let mode = found.mode() & 0o7777;
    if owner == Some(found.uid()) && group == Some(found.gid()) && mode == expected.mode {
        return None;
    }
    let Expected { owner, group, mode: wanted, .. } = expected;
    say(
        format!(
            "{name} is {}:{} {mode:04o} instead of {owner}:{group} {wanted:04o}",
            found.uid(),
            found.gid()
        ),
        format!("run `chown {owner}:{group} {name}` and `chmod {wanted:04o} {name}`"),
    )
}

/// How something that is missing is made anew.
fn remake(path: &str) -> String {
    // systemd makes sockets, and refuses to start one whose service runs.
    let units = match path {
        "/run/hostward/agent.sock" => "hostward.socket hostward.service",
        "/run/hostward/ssh-agent.sock" => "hostward-ssh-agent.socket hostward.service",
        "/run/hostward/apply.sock" => "hostward-apply.socket hostward-apply.service",
        "/etc/hostward" | "/var/lib/hostward" | "/run/hostward" | "/var/lib/hostward-agent" => {
            return "run `systemd-tmpfiles --create hostward.conf`".into();
        }
        "/var/lib/hostward-step-ca/known_hosts" => return "run `systemctl restart hostward.service`".into(),
        // The service has in its sight what was there when it started.
        "/var/log/hostward" | "/var/lib/hostward-step-ca" => {
            return "run `systemd-tmpfiles --create hostward.conf`, then `systemctl restart hostward.service`".into();
        }
        _ => return "run `hostward apply`".into(),
    };
    let socket = units.split(' ').next().unwrap_or(units);
    let start = if units.ends_with(" hostward.service") { units } else { socket };
    format!("run `systemctl stop {units}`, then `systemctl start {start}`")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn each_mend_is_for_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let trust = must("/var/lib/hostward/trust.json", "root", "root", 0o600);
        std::fs::write(at("trust"), "").unwrap();
        std::fs::set_permissions(at("trust"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = wrong(&trust, &at("trust")).unwrap();
        assert!(found.seen.contains("0644 instead of root:root 0600"), "{found:?}");
        assert_eq!(
            found.mend,
            "run `chown root:root /var/lib/hostward/trust.json` and `chmod 0600 /var/lib/hostward/trust.json`"
        );
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        assert!(wrong(&trust, &at("link")).unwrap().mend.contains("move it away"));

        for (path, mend) in [
            (
                "/run/hostward/agent.sock",
                "run `systemctl stop hostward.socket hostward.service`, then `systemctl start hostward.socket hostward.service`",
            ),
            (
                "/run/hostward/apply.sock",
                "run `systemctl stop hostward-apply.socket hostward-apply.service`, then `systemctl start hostward-apply.socket`",
            ),
            ("/etc/hostward", "run `systemd-tmpfiles --create hostward.conf`"),
        ] {
            assert_eq!(wrong(&must(path, "root", "root", 0o755), &at("none")).unwrap().mend, mend);
        }
        assert_eq!(wrong(&may("/etc/sudoers.d/hostward", "root", "root", 0o440), &at("none")), None);
    }

    #[test]
    fn what_was_written_and_is_gone_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, gone) = (dir.path().join("kept"), dir.path().join("gone"));
        std::fs::write(&kept, "").unwrap();
        let (kept, gone) = (kept.to_str().unwrap(), gone.to_str().unwrap());
        assert!(matches!(present([kept].into_iter()).verdict, Verdict::Good { .. }));
        let Verdict::Bad { seen, mend } = present([gone, kept].into_iter()).verdict else {
            panic!("not seen");
        };
        assert!(seen.contains(gone) && !seen.contains(kept) && mend.contains("hostward apply"), "{seen}");
    }
}
