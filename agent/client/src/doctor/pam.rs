//! The PAM module: whether it is there, and whether PAM asks it.

use std::path::Path;

use super::Check;

const NAME: &str = "PAM";
const DIRECTORY: &str = "/etc/pam.d";
const MODULE: &str = "/usr/lib/x86_64-linux-gnu/security/pam_hostward.so";

/// What each file must have of the module, and what is missing without it.
const LINES: [(&str, &str, &str); 5] = [
    ("common-account", "", "refused users are not told why"),
    ("common-session", "home", "no homes are made at the first login"),
    ("common-session", "record", "sessions are not recorded"),
    ("common-session-noninteractive", "home", "no homes are made for cron and user managers"),
    ("common-session-noninteractive", "record", "sudo is not recorded"),
];

pub(super) fn checks() -> Vec<Check> {
    vec![check(Path::new(DIRECTORY), Path::new(MODULE))]
}

fn check(directory: &Path, module: &Path) -> Check {
    if !module.is_file() {
        let seen = format!("`{}` is missing", module.display());
        return Check::bad(NAME, seen, "run `apt-get install --reinstall hostward`");
    }
    let mut missing = Vec::new();
    for (file, argument, without) in LINES {
        match std::fs::read_to_string(directory.join(file)) {
            Ok(text) if text.lines().any(|line| asks(line, argument)) => {}
            Ok(_) => missing.push(without),
            Err(error) => {
                let seen = format!("cannot read `{}`: {error}", directory.join(file).display());
                return Check::bad(NAME, seen, "run `pam-auth-update --package`");
            }
        }
    }
    if missing.is_empty() {
        return Check::good(NAME, "it asks the module in account and session");
    }
    Check::bad(
        NAME,
        format!("the module is not asked: {}", missing.join(", ")),
        "run `pam-auth-update --enable hostward hostward-record`; where it says that there are local modifications, add the lines that docs/pam.md gives",
    )
}

/// Whether a line names the module with this argument.
fn asks(line: &str, argument: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_comment = line.trim_start().starts_with('#');
    let named = words.any(|word| word.rsplit('/').next() == Some("pam_hostward.so"));
    named && !is_comment && words.next().unwrap_or_default() == argument
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn each_line_that_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("module");
        let seen = || match check(dir.path(), &module).verdict {
            Verdict::Bad { seen, .. } => seen,
            _ => String::new(),
        };
        assert!(seen().contains("is missing"));
        std::fs::write(&module, "").unwrap();
        assert!(seen().contains("cannot read"));
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("common-account", "account [a=b c=d]\t/x/pam_hostward.so\n");
        let session =
            "session optional /x/pam_hostward.so home\nsession [default=ignore] /x/pam_hostward.so record\n";
        write("common-session", session);
        write("common-session-noninteractive", session);
        assert_eq!(seen(), "");
        write("common-session", &session.replace("session [", "# session ["));
        assert_eq!(seen(), "the module is not asked: sessions are not recorded");
        write("common-account", "account required pam_unix.so\n");
        assert!(seen().contains("told why, sessions"), "{}", seen());
    }
}
