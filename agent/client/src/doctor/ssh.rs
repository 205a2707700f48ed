//! Whether ssh is set up for accounts that stand for service users, and which host keys sshd presents certificates for.

use std::path::Path;

use hostward_protocol::service::{BoundServices, CLIENT_CONFIG_FILE, SERVICES_FILE};

use super::{Check, output};
use crate::state;

const SERVICES: &str = "services";
const CERTIFICATES: &str = "host certificates";
const SNIPPET: &str = "/etc/ssh/ssh_config.d/50-hostward.conf";
const SSH_CONFIG: &str = "/etc/ssh/ssh_config";
/// Kinds of host keys, as the files of their certificates are called.
const KINDS: [&str; 3] = ["ecdsa", "ed25519", "rsa"];

pub fn checks() -> Vec<Check> {
    vec![services(), certificates()]
}

fn services() -> Check {
    let bound = match state::read::<BoundServices>(Path::new(SERVICES_FILE)) {
        Ok(Some(bound)) if !bound.services.is_empty() => bound.services.len(),
        Ok(_) if is_configured() => {
            return Check::bad(
                SERVICES,
                "[[step_ca.services]] names accounts, and none is bound",
                "run `hostward apply` and read what it refuses",
            );
        }
        Ok(_) => return Check::absent(SERVICES, "no local account stands for a service user"),
        Err(error) => {
            return Check::bad(SERVICES, hostward_protocol::causes::chain(&error), "run `hostward apply`");
        }
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if !includes(&read(SNIPPET), |pattern| pattern == CLIENT_CONFIG_FILE) {
        return Check::bad(
            SERVICES,
            format!(
                "{SNIPPET} does not include {CLIENT_CONFIG_FILE}: plain `ssh` of the accounts is not set up"
            ),
            format!("put the line `Include {CLIENT_CONFIG_FILE}` into {SNIPPET}"),
        );
    }
    let is_directory = |pattern: &str| {
        let pattern = pattern.strip_prefix("/etc/ssh/").unwrap_or(pattern);
        pattern == "ssh_config.d/*.conf" || pattern == "ssh_config.d/*"
    };
    if !includes(&read(SSH_CONFIG), is_directory) {
        return Check::bad(
            SERVICES,
            format!("{SSH_CONFIG} does not include ssh_config.d: plain `ssh` of the accounts is not set up"),
            format!("put the line `Include /etc/ssh/ssh_config.d/*.conf` at the start of {SSH_CONFIG}"),
        );
    }
    Check::good(SERVICES, format!("ssh is set up; bound accounts: {bound}"))
}

/// Whether the operator's configuration binds accounts.
fn is_configured() -> bool {
    let config = hostward_config::load(hostward_config::PATH.as_ref());
    config.is_ok_and(|config| config.step_ca.is_some_and(|step_ca| !step_ca.services.is_empty()))
}

/// Whether `text` has an `Include` that is `wanted`, before any `Host` or `Match`.
fn includes(text: &str, wanted: impl Fn(&str) -> bool) -> bool {
    text.lines()
        .map(|line| line.trim().replacen('=', " ", 1))
        .map(|line| line.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect::<Vec<_>>())
        .take_while(|words| {
            !words.first().is_some_and(|w| ["host", "match"].iter().any(|k| w.eq_ignore_ascii_case(k)))
        })
        .any(|words| match words.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case("include") => rest.iter().any(|p| wanted(p)),
            _ => false,
        })
}

fn certificates() -> Check {
    let path = |kind: &str| format!("/var/lib/hostward/ssh/host-{kind}-cert.pub");
    let present: Vec<&str> = KINDS.into_iter().filter(|kind| Path::new(&path(kind)).exists()).collect();
    if present.is_empty() {
        return Check::absent(
            CERTIFICATES,
            "none of the project's: the backend signs none, or sshd is not managed",
        );
    }
    // `sshd` as it is not running says so under its own name.
    if !Path::new("/run/sshd").exists() {
        return Check::absent(CERTIFICATES, "sshd is not running, so its configuration cannot be tested");
    }
    let shown = output("/usr/sbin/sshd", &["-T"]).map(|(_, text)| text).unwrap_or_default();
    let is_shown = |kind: &&str| shown.lines().any(|line| line == format!("hostcertificate {}", path(kind)));
    let missing: Vec<&str> = present.iter().filter(|kind| !is_shown(kind)).copied().collect();
    if missing.is_empty() {
        Check::good(CERTIFICATES, format!("presented for {}", present.join(", ")))
    } else {
        Check::bad(
            CERTIFICATES,
            format!("sshd does not present those for {}", missing.join(", ")),
            "run `hostward apply` and read what it says of sshd",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_count_before_the_first_host() {
        let ours = |pattern: &str| pattern == "/x";
        for text in ["Include /x\n", "# a\n include=\"/x\"\n", "Port 22\nINCLUDE /a /x\nHost *\n"] {
            assert!(includes(text, ours), "{text}");
        }
        for text in
            ["", "# Include /x\n", "Host *\nInclude /x\n", "Match all\n  Include /x\n", "Include /xy\n"]
        {
            assert!(!includes(text, ours), "{text}");
        }
    }
}
