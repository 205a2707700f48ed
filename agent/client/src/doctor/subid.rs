//! Whether shadow asks hostward for subordinate ids, where managed users have any. For the operator to switch on: shadow
//! asks the first service of the line alone, for local users too.

use std::path::Path;

use hostward_accounts::map::Mapping;

use super::Check;

const NSSWITCH: &str = "/etc/nsswitch.conf";
const NEWUIDMAP: &str = "/usr/bin/newuidmap";
/// newuidmap and newgidmap give up without these, whichever service is asked.
const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
const NAME: &str = "subid";

/// What there is of shadow on this host.
#[derive(Clone, Copy, Debug)]
struct Shadow {
    /// Whether newuidmap can ask a service at all; `None` where it is not installed.
    asks_services: Option<bool>,
    /// One of [`FILES`] that is missing.
    missing: Option<&'static str>,
}

impl Shadow {
    fn of_this_host() -> Self {
        // The name of the library that a service is asked through; shadow before 4.9 knows only files.
        const LIBRARY: &[u8] = b"libsubid";
        let program = std::fs::read(NEWUIDMAP).ok();
        Shadow {
            asks_services: program.map(|bytes| bytes.windows(LIBRARY.len()).any(|window| window == LIBRARY)),
            missing: FILES.into_iter().find(|file| !Path::new(file).exists()),
        }
    }
}

pub fn check() -> Check {
    let text = std::fs::read_to_string(NSSWITCH).unwrap_or_default();
    let given = Mapping::open(hostward_accounts::PATH)
        .is_ok_and(|mapping| mapping.subids().is_ok_and(|subids| !subids.is_empty()));
    judge(&text, given, Shadow::of_this_host())
}

fn judge(text: &str, given: bool, shadow: Shadow) -> Check {
    let line = line(text);
    let switched_on = line.is_some_and(|line| line.service == "hostward");
    if !given && !switched_on {
        return Check::absent(NAME, "no managed user has subordinate ids");
    }
    let unused = |why: String| Check::absent(NAME, format!("managed users have subordinate ids, and {why}"));
    match (shadow.asks_services, line) {
        (None, _) => {
            unused("newuidmap is not installed: containers without root need the package uidmap".into())
        }
        (Some(false), _) => unused(format!(
            "{NEWUIDMAP} of this release reads only {}: they are of no use here before Debian 12",
            FILES.join(" and ")
        )),
        (Some(true), None) => unused(format!(
            "shadow does not ask for them: for containers without root put the line `subid: hostward` into {NSSWITCH}"
        )),
        (Some(true), Some(line)) if !switched_on => unused(format!(
            "shadow asks only the first service of `{}` for them: for containers without root make that line of {NSSWITCH} `subid: hostward`",
            line.text
        )),
        (Some(true), Some(line)) => in_use(line, shadow.missing),
    }
}

fn in_use(line: Line<'_>, missing: Option<&str>) -> Check {
    if line.unterminated {
        return Check::bad(
            NAME,
            format!(
                "shadow of Debian 13 passes over `{}`, the last line of {NSSWITCH}: no newline ends it",
                line.text
            ),
            format!("echo >>{NSSWITCH}"),
        );
    }
    match missing {
        Some(file) => Check::bad(
            NAME,
            format!("{file} is missing: newuidmap and newgidmap refuse everybody without it"),
            format!("touch {}", FILES.join(" ")),
        ),
        None => Check::good(NAME, "shadow asks libsubid_hostward.so for subordinate ids"),
    }
}

/// The line that counts for shadow, which is none of glibc's: `nss_init` of 4.13 and 4.17.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    text: &'a str,
    service: &'a str,
    /// Whether nothing, not even a newline, ends the service.
    unterminated: bool,
}

fn line(text: &str) -> Option<Line<'_>> {
    text.split_inclusive('\n').find_map(|line| {
        let (key, services) = line.split_at_checked(6)?;
        let services = services.trim_start();
        let service = services.split_whitespace().next().filter(|_| key.eq_ignore_ascii_case("subid:"))?;
        Some(Line { text: line.trim_end(), service, unterminated: services.len() == service.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const NEW: Shadow = Shadow { asks_services: Some(true), missing: None };

    fn told(text: &str, given: bool, shadow: Shadow) -> String {
        match judge(text, given, shadow).verdict {
            Verdict::Good { seen } => format!("good: {seen}"),
            Verdict::Absent { why } => format!("absent: {why}"),
            Verdict::Bad { seen, mend } => format!("bad: {seen} mend: {mend}"),
        }
    }

    #[test]
    fn shadow_asks_the_first_service_of_the_first_line_only() {
        for on in [
            "passwd: files\nsubid: hostward\n",
            "SUBID:\thostward files\n",
            "subid:\nsubid:hostward\nsubid: x\n",
        ] {
            assert!(told(on, true, NEW).starts_with("good: "), "{on:?}");
        }
        for off in ["", "subid:\n", "# subid: hostward\n", " subid: hostward\n", "subid : hostward\n"] {
            assert!(told(off, true, NEW).contains("put the line `subid: hostward` into"), "{off:?}");
        }
        for others in ["subid: files hostward\n", "subid: sss\nsubid: hostward\n", "subid: hostward# x\n"] {
            let told = told(others, true, NEW);
            let first = others.lines().next().expect("a line");
            assert!(told.contains(&format!("only the first service of `{first}`")), "{told}");
        }
        assert_eq!(told("subid: files\n", false, NEW), "absent: no managed user has subordinate ids");
    }

    #[test]
    fn what_keeps_it_from_working_is_told() {
        let on = "subid: hostward\n";
        let old = Shadow { asks_services: Some(false), missing: None };
        assert!(
            told(on, true, old).contains("before Debian 12")
                && told("", true, old).contains("before Debian 12")
        );
        assert!(told(on, true, Shadow { asks_services: None, missing: None }).contains("package uidmap"));
        let bare = Shadow { missing: Some("/etc/subgid"), ..NEW };
        assert!(told(on, true, bare).contains("bad: /etc/subgid is missing"));
        assert!(
            told("passwd: files\nsubid: hostward", true, NEW).ends_with("mend: echo >>/etc/nsswitch.conf")
        );
        assert!(told("subid: hostward files", true, NEW).starts_with("good: "), "a space ends it as well");
    }
}
