//! What kind of host it is: labels that grants select by, and which sudo is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hostward_plan::facts::SudoDialect;

use crate::command::{QUICK, run};
use crate::root::Root;

/// Where a visudo may be, Todd Miller's or sudo-rs'.
const VISUDO: [&str; 4] =
    ["/usr/sbin/visudo", "/usr/sbin/visudo-rs", "/usr/bin/visudo-rs", "/usr/lib/cargo/bin/visudo"];

/// `host.*` and `os.*` labels.
pub fn labels(root: &Root) -> BTreeMap<String, String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().into_owned();
    // There is no network here to ask.
    let hosts = std::fs::read_to_string(root.path("/etc/hosts")).unwrap_or_default();
    let mut labels = BTreeMap::from([
        ("host.fqdn".into(), hostward_config::fully_qualified(&hosts, &name).unwrap_or(name.clone())),
        ("host.arch".into(), system.machine().to_string_lossy().into_owned()),
        ("host.name".into(), name),
    ]);
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Ok(text) = std::fs::read_to_string(root.path(path)) {
            for (label, key) in [("os.id", "ID"), ("os.version", "VERSION_ID")] {
                if let Some(value) = os_release(&text, key) {
                    labels.insert(label.into(), value);
                }
            }
            break;
        }
    }
    labels
}

/// A value of os-release(5).
fn os_release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// Databases that glibc does not ask hostward for, of those that it serves: nsswitch.conf(5).
pub fn unserved_databases(root: &Root) -> Vec<&'static str> {
    let text = std::fs::read_to_string(root.path("/etc/nsswitch.conf")).unwrap_or_default();
    let asks_hostward = |database: &str| {
        text.lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.trim() == database)
            .any(|(_, services)| services.split_ascii_whitespace().any(|service| service == "hostward"))
    };
    ["passwd", "group", "shadow"].into_iter().filter(|database| !asks_hostward(database)).collect()
}

/// The visudo programs that are installed, each once, and whose they are.
pub fn visudos(root: &Root) -> Vec<(PathBuf, SudoDialect)> {
    let mut found: Vec<(PathBuf, SudoDialect)> = Vec::new();
    for path in VISUDO {
        let path = root.path(path);
        let Ok(real) = std::fs::canonicalize(&path) else {
            continue;
        };
        let text = real.to_string_lossy();
        let dialect = if text.ends_with("-rs") || text.contains("/cargo/") {
            SudoDialect::SudoRs
        } else {
            SudoDialect::Sudo
        };
        if !found.iter().any(|(known, _)| *known == real) {
            found.push((real, dialect));
        }
    }
    found
}

/// Which sudo implementations are installed.
pub fn sudo_dialects(visudos: &[(PathBuf, SudoDialect)]) -> Vec<SudoDialect> {
    let dialects: BTreeSet<SudoDialect> = visudos.iter().map(|(_, dialect)| *dialect).collect();
    dialects.into_iter().collect()
}

/// The oldest sudo that is known to take `log_exit_status`.
const LOGS_EXIT: [u32; 3] = [1, 9, 13];

/// Whether every sudo that is installed takes `log_exit_status`, by the versions of their visudos.
pub fn sudo_logs_exit(visudos: &[(PathBuf, SudoDialect)]) -> bool {
    !visudos.is_empty()
        && visudos.iter().all(|(program, dialect)| {
            *dialect == SudoDialect::Sudo
                && run(program, ["--version"], QUICK)
                    .is_ok_and(|ran| version(&ran.stdout).is_some_and(|version| version >= LOGS_EXIT))
        })
}

/// Of `visudo version 1.9.13p3`.
fn version(text: &str) -> Option<[u32; 3]> {
    let word = text.lines().next()?.strip_prefix("visudo version ")?;
    let mut numbers = word.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nsswitch_lines_are_read_as_glibc_does() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("etc")).expect("etc");
        let root = Root::below(directory.path());
        assert_eq!(unserved_databases(&root), ["passwd", "group", "shadow"]);
        let text = "passwd:files hostward # mine\n group : files [NOTFOUND=return] hostward\nshadow: files #hostward\n";
        std::fs::write(directory.path().join("etc/nsswitch.conf"), text).expect("nsswitch.conf");
        assert_eq!(unserved_databases(&root), ["shadow"]);
    }

    #[test]
    fn versions_of_sudo() {
        assert_eq!(version("visudo version 1.9.13p3\nvisudo grammar version 50\n"), Some([1, 9, 13]));
        assert_eq!(version("visudo version 1.9.5p2\n"), Some([1, 9, 5]));
        assert_eq!(version("visudo version 2.0\n"), None);
        assert_eq!(version("sudo-rs 0.2.5\n"), None);
        assert!([1, 10, 0] > LOGS_EXIT && [1, 9, 5] < LOGS_EXIT);
    }

    #[test]
    fn os_release_values_lose_their_quotes() {
        let text = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nID_LIKE=x\n";
        assert_eq!(os_release(text, "ID").as_deref(), Some("debian"));
        assert_eq!(os_release(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(os_release(text, "VARIANT"), None);
    }
}
