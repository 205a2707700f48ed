//! Whether glibc asks hostward for accounts, after the local files.

use std::path::Path;

use hostward_protocol::local::HostStatus;

use super::{Check, output};

const FILE: &str = "/etc/nsswitch.conf";
const DATABASES: [&str; 3] = ["passwd", "group", "shadow"];

const DATABASE: &str = "/var/lib/misc/hostward.db";

/// Names of the users that libnss_hostward.so.2 serves; else why it cannot be asked.
pub fn served() -> Result<Vec<String>, String> {
    let (found, text) = output("getent", &["-s", "hostward", "passwd"])
        .map_err(|error| format!("cannot run getent: {error}"))?;
    if !found {
        return Err(format!("libnss_hostward.so.2 does not answer: {}", text.trim()));
    }
    Ok(text.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect())
}

pub fn checks(served: &Result<Vec<String>, String>, host: Option<&HostStatus>) -> Vec<Check> {
    let mut checks: Vec<Check> = match std::fs::read_to_string(FILE) {
        Ok(text) => DATABASES.iter().map(|database| order(&text, database)).collect(),
        Err(error) => vec![Check::bad(
            "nsswitch",
            format!("cannot read {FILE}: {error}"),
            "restore it from the package base-files",
        )],
    };
    let users = served.as_ref().map(Vec::len).map_err(String::as_str);
    checks.push(database(Path::new(DATABASE).exists(), users, host));
    checks
}

fn order(text: &str, database: &'static str) -> Check {
    let line = text
        .lines()
        .map(|l| l.split('#').next().unwrap_or("").trim())
        .find_map(|l| l.strip_prefix(database)?.trim_start().strip_prefix(':'));
    let mend = format!(
        "put `hostward` after `files` on the line `{database}:` of {FILE} (dpkg-reconfigure hostward does it)"
    );
    let Some(line) = line else {
        return Check::bad(database, format!("{FILE} has no line `{database}:`"), mend);
    };
    let services: Vec<&str> = line.split_whitespace().collect();
    let at = |name: &str| services.iter().position(|s| *s == name);
    match (at("files").or_else(|| at("compat")), at("hostward")) {
        (_, None) => Check::bad(database, format!("hostward is not on the line `{database}:{line}`"), mend),
        (Some(files), Some(ours)) if files < ours => Check::good(database, format!("`{database}:{line}`")),
        _ => {
            Check::bad(database, format!("hostward comes before the local files: `{database}:{line}`"), mend)
        }
    }
}

/// What the module serves, held against what the last pass left there.
fn database(exists: bool, served: Result<usize, &str>, host: Option<&HostStatus>) -> Check {
    const NAME: &str = "account database";
    const MEND: &str = "run `hostward apply`; where that does not help, reinstall the package";
    // A policy that is not in force any more left it there all the same.
    let wanted = host.filter(|host| host.policy.is_some() || host.users > 0).map(|host| host.users);
    match (exists, served, wanted) {
        (false, _, None) => Check::absent(NAME, "there is none before the first policy is applied"),
        (false, _, Some(_)) => Check::bad(NAME, format!("{DATABASE} is missing"), MEND),
        (true, Err(why), _) => Check::bad(NAME, why, MEND),
        (true, Ok(served), Some(wanted)) if served < wanted as usize => Check::bad(
            NAME,
            format!(
                "{served} users through libnss_hostward.so.2, of the {wanted} who can log in: {DATABASE} is damaged"
            ),
            MEND,
        ),
        (true, Ok(served), _) => Check::good(NAME, format!("{served} users through libnss_hostward.so.2")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_order_counts() {
        let good = |text: &str| matches!(order(text, "passwd").verdict, Verdict::Good { .. });
        assert!(good("passwd:         files hostward systemd\n"));
        assert!(good("# passwd: x\npasswd: compat [NOTFOUND=continue] hostward # as installed\n"));
        assert!(!good("passwd: hostward files\n"));
        assert!(!good("passwd: files\n"));
        assert!(!good("passwd: files # hostward\n"));
        assert!(!good("group: files hostward\n"));
    }

    #[test]
    fn a_database_that_is_lost_or_damaged_is_seen() {
        let host = crate::status::tests::host();
        let bad = |check: Check| matches!(check.verdict, Verdict::Bad { .. });
        assert!(bad(database(false, Ok(0), Some(&host))));
        assert!(bad(database(true, Ok(0), Some(&host))), "cut short");
        assert!(bad(database(true, Ok(1), Some(&host))));
        assert!(bad(database(true, Err("does not answer"), None)));
        assert!(!bad(database(true, Ok(2), Some(&host))));
        // Nobody can log in while the policy is too old; they are known all the same.
        assert!(!bad(database(true, Ok(2), Some(&HostStatus { users: 0, ..host }))));
        assert!(matches!(database(false, Ok(0), None).verdict, Verdict::Absent { .. }));
    }
}
