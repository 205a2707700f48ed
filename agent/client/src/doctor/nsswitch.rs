//! Whether glibc asks hostward for accounts, after the local files.

use std::path::Path;

use super::{Check, output};

const FILE: &str = "/etc/nsswitch.conf";
const DATABASES: [&str; 3] = ["passwd", "group", "shadow"];

pub fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = match std::fs::read_to_string(FILE) {
        Ok(text) => DATABASES.iter().map(|database| order(&text, database)).collect(),
        Err(error) => vec![Check::bad(
            "nsswitch",
            format!("cannot read {FILE}: {error}"),
            "restore it from the package base-files",
        )],
    };
    checks.push(lookup());
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

/// The module itself: a group lookup that cannot succeed must still come back.
fn lookup() -> Check {
    const NAME: &str = "account database";
    if !Path::new("/var/lib/misc/hostward.db").exists() {
        return Check::absent(NAME, "there is none before the first policy is applied");
    }
    match output("getent", &["-s", "hostward", "passwd"]) {
        Ok((true, text)) => {
            Check::good(NAME, format!("{} users through libnss_hostward.so.2", text.lines().count()))
        }
        Ok((false, text)) => Check::bad(
            NAME,
            format!("libnss_hostward.so.2 does not answer: {}", text.trim()),
            "run `hostward apply`; where that does not help, reinstall the package",
        ),
        Err(error) => Check::bad(NAME, format!("cannot run getent: {error}"), "install the package libc-bin"),
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
}
