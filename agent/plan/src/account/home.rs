//! Home directories.
//!
//! A home may be archived and deleted one day, so this decides what hostward could ever delete.

use std::borrow::Cow;
use std::path::{Component, PathBuf};

use crate::refusal::Refusal;
use crate::text::shown;

/// A normalised absolute path directly below a directory that the operator allows homes in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HomePath<'a>(Cow<'a, str>);

/// Trees in which no home is, whatever the operator allows.
const SYSTEM_TREES: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var/cache",
    "/var/log",
    "/var/run",
    "/var/lock",
    "/var/spool",
    "/var/tmp",
    "/var/backups",
    "/var/crash",
    "/var/mail",
    "/lost+found",
];

/// Directories that are no home themselves; there may be homes below them.
const SYSTEM_DIRECTORIES: &[&str] = &[
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/srv",
    "/var",
    "/var/home",
    "/var/lib",
    "/var/local",
    "/var/opt",
    "/var/www",
    "/afs",
    "/data",
    "/export",
    "/snap",
    "/nix",
    "/opt/containerd",
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/lib/systemd",
    "/var/lib/hostward",
    "/var/lib/misc",
    "/var/lib/hostward-agent",
];

const MAX_LEN: usize = 256;

/// Where the operator allows homes.
#[derive(Debug)]
pub(crate) struct HomeRules {
    parents: Vec<String>,
}

impl HomeRules {
    /// `parents` are absolute. One with `..` in it, or that is not UTF-8, allows nothing.
    pub(crate) fn new(parents: &[PathBuf]) -> Self {
        let normal = |parent: &PathBuf| {
            let parent: PathBuf = parent.components().collect();
            let up = parent.components().any(|c| c == Component::ParentDir);
            parent.into_os_string().into_string().ok().filter(|_| !up)
        };
        HomeRules { parents: parents.iter().filter_map(normal).collect() }
    }
}

impl<'a> HomePath<'a> {
    pub(crate) fn parse(text: Cow<'a, str>, rules: &HomeRules) -> Result<Self, Refusal> {
        check(&text, rules)?;
        Ok(HomePath(match text {
            Cow::Borrowed(text) => text.strip_suffix('/').unwrap_or(text).into(),
            Cow::Owned(text) => text.strip_suffix('/').unwrap_or(&text).to_owned().into(),
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str, rules: &HomeRules) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        Refusal::backend(
            "user-home-invalid",
            format!("its home `{}` {why}", shown(text)),
            "choose another home on the backend",
        )
    };
    let path = text.strip_suffix('/').unwrap_or(text);
    let Some((parent, name)) = path.rsplit_once('/') else {
        return Err(refuse("is no absolute path"));
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-@+".contains(&b);
    if path.len() > MAX_LEN || !path.bytes().all(is_plain) {
        return Err(refuse(
            "has characters other than ASCII letters, digits and `._-@+`, or more than 256 bytes",
        ));
    }
    if !path.starts_with('/') || path.split('/').skip(1).any(|c| matches!(c, "" | "." | "..")) {
        return Err(refuse("is not an absolute path without `.`, `..` and `//`"));
    }
    let is_system = SYSTEM_DIRECTORIES.contains(&path)
        || SYSTEM_TREES.iter().any(|tree| is_within(path, tree))
        || rules.parents.iter().any(|allowed| is_within(allowed, path));
    if is_system || name.starts_with(['.', '-']) || name == "lost+found" {
        return Err(refuse("is, or could be, a directory of the system"));
    }
    if !rules.parents.iter().any(|allowed| allowed == parent) {
        return Err(Refusal::operator(
            "user-home-outside-parents",
            format!(
                "its home `{}` is not directly below one of this host's `accounts.home_parents`",
                shown(text)
            ),
            "choose another home on the backend, or add the directory to `home_parents` under [accounts] in /etc/hostward/hostward.toml",
        ));
    }
    Ok(())
}

/// Whether `path` is `tree` or below it; both normalised.
fn is_within(path: &str, tree: &str) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let parents = ["/home", "/srv/people/", "/home/staff", "/etc", "/var"].map(PathBuf::from);
        match HomePath::parse(text.into(), &HomeRules::new(&parents)) {
            Ok(home) => home.as_str().to_owned(),
            Err(refusal) => refusal.code,
        }
    }

    #[test]
    fn homes() {
        for (text, home) in [
            ("/home/alice", "/home/alice"),
            ("/home/alice/", "/home/alice"),
            ("/srv/people/bob", "/srv/people/bob"),
            ("/home/staff/carol", "/home/staff/carol"),
        ] {
            assert_eq!(code(text), home);
        }
        for invalid in [
            "",
            "/",
            "//",
            "home/alice",
            "/home",
            "/home/",
            "/home//alice",
            "/home/../root",
            "/home/./a",
            "/home/..",
            "/home/a b",
            "/home/a:b",
            "/home/a\n",
            "/home/é",
            "/home/staff",
            "/home/lost+found",
            "/home/.snapshots",
            "/home/-rf",
            "/etc",
            "/etc/alice",
            "/root",
            "/var/log",
            "/var/lib",
            "/tmp/a",
            "/home/alice//",
        ] {
            assert_eq!(code(invalid), "user-home-invalid", "{invalid:?}");
        }
        for outside in ["/opt/alice", "/home/a/b", "/srv/alice"] {
            assert_eq!(code(outside), "user-home-outside-parents", "{outside:?}");
        }
    }
}
