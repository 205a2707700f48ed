//! Whether sudo reads the directory that hostward writes to, and whether all of it is valid.

use std::path::Path;

use super::{Check, output};

const NAME: &str = "sudo";

pub fn checks() -> Vec<Check> {
    let checkers: Vec<&str> = ["/usr/sbin/visudo", "/usr/sbin/visudo-rs"]
        .into_iter()
        .filter(|path| Path::new(path).exists())
        .collect();
    if checkers.is_empty() {
        return vec![Check::absent(NAME, "not installed")];
    }
    let mut checks: Vec<Check> = checkers.into_iter().map(valid).collect();
    checks.push(includes());
    checks
}

fn valid(checker: &str) -> Check {
    match output(checker, &["-c"]) {
        Ok((true, _)) => Check::good(NAME, format!("`{checker} -c` finds all of it valid")),
        Ok((false, text)) => Check::bad(
            NAME,
            format!("`{checker} -c`: {}", text.trim()),
            "mend the file and line that it names",
        ),
        Err(error) => Check::bad(NAME, format!("cannot run {checker}: {error}"), "reinstall sudo"),
    }
}

fn includes() -> Check {
    let directive = |line: &str| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("@includedir" | "#includedir"))
            && words.next().is_some_and(|d| d.trim_end_matches('/') == "/etc/sudoers.d")
    };
    match std::fs::read_to_string("/etc/sudoers") {
        Ok(text) if text.lines().any(directive) => Check::good("sudoers.d", "included by /etc/sudoers"),
        Ok(_) => Check::bad(
            "sudoers.d",
            "/etc/sudoers does not include it",
            "add the line `@includedir /etc/sudoers.d` with visudo",
        ),
        Err(error) => Check::bad("sudoers.d", format!("cannot read /etc/sudoers: {error}"), "reinstall sudo"),
    }
}
