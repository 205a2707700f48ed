//! Whether sshd reads what hostward wrote, and what it makes of it for a managed user.

use std::path::Path;

use hostward_protocol::local::HostStatus;

use super::{Check, output};

const NAME: &str = "sshd";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-hostward.conf";
const TRUSTED: &str = "trustedusercakeys /var/lib/hostward/ssh/user_ca.pub";

/// `user`: one who is managed here.
pub fn checks(user: Option<&String>, host: Option<&HostStatus>) -> Vec<Check> {
    vec![check(user, host)]
}

fn check(user: Option<&String>, host: Option<&HostStatus>) -> Check {
    if !Path::new("/usr/sbin/sshd").exists() {
        return Check::absent(NAME, "not installed");
    }
    // Debian removes the directory when the last sshd stops, and `sshd -t` fails without it.
    if !Path::new("/run/sshd").exists() {
        return Check::absent(NAME, "not running, so its configuration cannot be tested");
    }
    match output("/usr/sbin/sshd", &["-t"]) {
        Ok((true, _)) => {}
        Ok((false, text)) => {
            return Check::bad(
                NAME,
                format!("`sshd -t` fails: {}", text.trim()),
                "mend what it names, then `hostward apply`",
            );
        }
        Err(error) => {
            return Check::bad(NAME, format!("cannot run sshd: {error}"), "reinstall openssh-server");
        }
    }
    let Some(user) = user else {
        return unseen(host);
    };
    let connection = format!("user={user},host=localhost,addr=127.0.0.1");
    match output("/usr/sbin/sshd", &["-T", "-C", &connection]) {
        Ok((true, text)) if text.lines().any(|line| line == TRUSTED) => {
            Check::good(NAME, format!("trusts the project's user CAs for {user}"))
        }
        Ok(_) if Path::new(DROP_IN).exists() => Check::bad(
            NAME,
            format!("{DROP_IN} has no effect for {user}"),
            "look for an earlier `Match` or `TrustedUserCAKeys` in /etc/ssh/sshd_config and its directory, then `hostward apply`",
        ),
        Ok(_) => Check::bad(
            NAME,
            format!("{DROP_IN} is missing"),
            "run `hostward apply` and read what it says of sshd",
        ),
        Err(error) => Check::bad(NAME, format!("cannot run sshd: {error}"), "reinstall openssh-server"),
    }
}

/// Nobody is served whose settings could be looked at.
fn unseen(host: Option<&HostStatus>) -> Check {
    match host {
        Some(host) if host.users > 0 => Check::bad(
            NAME,
            format!("valid, but none of the {} managed users is known to this host", host.users),
            "see `account database`: run `hostward apply`",
        ),
        _ => Check::absent(NAME, "valid; nobody is managed here whose settings could be looked at"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn managed_users_whom_nobody_knows_are_no_good_sign() {
        let host = crate::status::tests::host();
        assert!(matches!(unseen(Some(&host)).verdict, Verdict::Bad { .. }));
        assert!(matches!(unseen(Some(&HostStatus { users: 0, ..host })).verdict, Verdict::Absent { .. }));
        assert!(matches!(unseen(None).verdict, Verdict::Absent { .. }));
    }
}
