//! Where hosts are that no backend knows: they go by their names, and the operator's configuration says which of them an
//! account goes to with its certificates.

use chrono::{DateTime, Utc};
use hostward_protocol::api::{Matched, Target};
use hostward_protocol::report::{Finding, Responsible};

use crate::ssh_agent::issuer::shown;

/// The longest name of a host.
const MAX_NAME: usize = 255;

/// The way to `name`, where `patterns` select it.
pub fn route(patterns: &[String], name: &str, now: DateTime<Utc>) -> Result<Vec<Target>, Finding> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    let is_name =
        !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('-') && !name.contains(is_odd);
    if !is_name || !selects(patterns, name) {
        return Err(not_selected(name));
    }
    Ok(vec![Target {
        id: name.into(),
        project: String::new(),
        matched: Matched::Hostname,
        hostname: name.into(),
        canonical_name: None,
        address: name.into(),
        port: 22,
        bastion: None,
        last_seen: now,
    }])
}

/// As ssh_config(5) has it: one pattern at least matches, and none of those with `!` does.
pub fn selects(patterns: &[String], name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut is_selected = false;
    for pattern in patterns {
        let (pattern, is_negated) = match pattern.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (pattern.as_str(), false),
        };
        if matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
            if is_negated {
                return false;
            }
            is_selected = true;
        }
    }
    is_selected
}

/// `*` is any text, `?` one character. After a mismatch only the last `*` need be longer.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last_star = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(expected) if *expected == b'?' || expected == byte => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((star, from)) = last_star else { return false };
                last_star = Some((star, from + 1));
                (p, n) = (star + 1, from + 1);
            }
        }
    }
    pattern.iter().skip(p).all(|rest| *rest == b'*')
}

fn not_selected(name: &str) -> Finding {
    Finding {
        code: "target-not-selected".into(),
        subject: format!("host `{}`", shown(name)),
        message: "it is none of the hosts that this account goes to with certificates of the step-ca".into(),
        responsible: Responsible::Operator,
        mend: "let `hosts` of the account in [[step_ca.services]] select it, then `hostward apply`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_as_those_of_ssh_do() {
        let selected = |patterns: &str, name: &str| {
            let patterns: Vec<String> = patterns.split(' ').map(str::to_owned).collect();
            selects(&patterns, name)
        };
        for (patterns, name) in [
            ("*", "web1"),
            ("web?", "web1"),
            ("WEB1", "web1"),
            ("web1", "Web1"),
            ("*.example", "a.b.example"),
            ("a*b*c", "aXbXbc"),
            ("* !db*", "web1"),
            ("web1 db", "db"),
            ("192.0.2.*", "192.0.2.7"),
        ] {
            assert!(selected(patterns, name), "{patterns}: {name}");
        }
        for (patterns, name) in [
            ("web?", "web"),
            ("web?", "web11"),
            ("*.example", "example"),
            ("* !db*", "db1"),
            ("!db* *", "DB1"),
            ("a*b", "ac"),
            ("!db", "web"),
        ] {
            assert!(!selected(patterns, name), "{patterns}: {name}");
        }
        assert!(!matches("*a".repeat(120).as_bytes(), "a".repeat(119).as_bytes()), "and soon");
    }

    #[test]
    fn a_host_goes_by_its_name() {
        let route = |name: &str| route(&["*".into()], name, DateTime::UNIX_EPOCH);
        assert_eq!(route("web1.example").unwrap()[0].address, "web1.example");
        for bad in ["", "-oProxyCommand=x", "a b", "a\n", &"a".repeat(256)] {
            assert_eq!(route(bad).unwrap_err().code, "target-not-selected", "{bad}");
        }
    }
}
