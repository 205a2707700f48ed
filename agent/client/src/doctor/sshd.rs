//! Whether sshd reads what hostward wrote, and what it makes of it for a managed user.

use std::path::Path;

use super::{Check, output};

const NAME: &str = "sshd";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-hostward.conf";
const TRUSTED: &str = "trustedusercakeys /var/lib/hostward/ssh/user_ca.pub";

pub fn checks() -> Vec<Check> {
    vec![check()]
}

fn check() -> Check {
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
    let Some(user) = managed_user() else {
        return Check::absent(NAME, "valid; nobody is managed here yet whose settings could be looked at");
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

fn managed_user() -> Option<String> {
    let (found, text) = output("getent", &["-s", "hostward", "passwd"]).ok()?;
    let name = text.lines().next()?.split(':').next()?;
    (found && !name.is_empty()).then(|| name.to_owned())
}
