//! Owners and modes of everything of hostward's, and PAM.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::Check;

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

const EXPECTED: [Expected; 14] = [
    must("/etc/hostward", "root", "root", 0o755),
    must("/var/lib/hostward", "root", "root", 0o755),
    must("/run/hostward", "root", "root", 0o755),
    must("/var/lib/hostward-agent", "hostward", "hostward", 0o700),
    must("/run/hostward/apply.sock", "root", "hostward", 0o660),
    must("/run/hostward/agent.sock", "root", "root", 0o600),
    may("/var/lib/misc/hostward.db", "root", "root", 0o644),
    may("/var/lib/hostward/trust.json", "root", "root", 0o600),
    may("/var/lib/hostward/private", "root", "root", 0o700),
    may("/var/lib/hostward/status.json", "root", "root", 0o644),
    may("/var/lib/hostward/report.json", "root", "root", 0o600),
    may("/etc/sudoers.d/hostward", "root", "root", 0o440),
    may("/etc/ssh/sshd_config.d/10-hostward.conf", "root", "root", 0o644),
    may("/var/lib/hostward/ssh/revoked.krl", "root", "root", 0o644),
];

pub fn checks() -> Vec<Check> {
    let wrong: Vec<String> = EXPECTED.iter().filter_map(wrong).collect();
    let permissions = if wrong.is_empty() {
        Check::good("permissions", "owners and modes are as installed")
    } else {
        Check::bad(
            "permissions",
            wrong.join("; "),
            "run `systemd-tmpfiles --create hostward.conf`, restart hostward.socket and hostward-apply.socket, then `hostward apply`",
        )
    };
    vec![permissions, pam()]
}

fn wrong(expected: &Expected) -> Option<String> {
    let path = expected.path;
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return (!expected.optional).then(|| format!("{path} is missing"));
        }
        Err(error) => return Some(format!("{path}: {error}")),
    };
    if found.file_type().is_symlink() || found.file_type().is_fifo() {
        return Some(format!("{path} is a link or a pipe"));
    }
    let owner = nix::unistd::User::from_name(expected.owner).ok().flatten().map(|u| u.uid.as_raw());
    let group = nix::unistd::Group::from_name(expected.group).ok().flatten().map(|g| g.gid.as_raw());
    let mode = found.mode() & 0o7777;
    if owner != Some(found.uid()) || group != Some(found.gid()) || mode != expected.mode {
        return Some(format!(
            "{path} is {}:{} {mode:04o} instead of {}:{} {:04o}",
            found.uid(),
            found.gid(),
            expected.owner,
            expected.group,
            expected.mode
        ));
    }
    None
}

/// Without a home a first login ends in `/`.
fn pam() -> Check {
    const NAME: &str = "PAM";
    match std::fs::read_to_string("/etc/pam.d/common-session") {
        Ok(text)
            if text.lines().any(|l| !l.trim_start().starts_with('#') && l.contains("pam_mkhomedir.so")) =>
        {
            Check::good(NAME, "homes are made at the first login")
        }
        Ok(_) => Check::bad(
            NAME,
            "nothing makes homes at the first login",
            "run `pam-auth-update --enable hostward-mkhomedir`",
        ),
        Err(error) => Check::bad(
            NAME,
            format!("cannot read /etc/pam.d/common-session: {error}"),
            "run `pam-auth-update --package`",
        ),
    }
}
