//! Reading, writing and comparing files on a host.

use std::collections::BTreeMap;
use std::fmt;

use super::Host;
use crate::command::PATIENCE;

/// Puts standard input at `$1` with mode `$2` and owner `$3`, whole from the first moment on.
const WRITE: &str = r#"
mkdir -p "$(dirname "$1")"
new=$(mktemp "$(dirname "$1")/.lab.XXXXXX")
cat >"$new"
chown "$3" "$new"
chmod "$2" "$new"
mv -f "$new" "$1"
"#;

/// Lists the trees `$@`: kind, mode, owner, group, path, link target; an empty record; then checksums of regular files.
const LIST: &str = r#"
find "$@" -printf '%y\t%m\t%U:%G\t%p\t%l\0'
printf '\0'
find "$@" -type f -exec sha256sum --zero -- {} +
"#;

/// One file, directory or link as [`Host::snapshot`] saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `f`, `d`, `l`, ...: find(1), `%y`.
    pub kind: String,
    /// Permissions in octal.
    pub mode: String,
    /// Numeric owner and group.
    pub owner: String,
    /// A file's SHA-256, a link's target.
    pub content: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.kind, self.mode, self.owner, self.content)
    }
}

/// The entries below some directories by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Entry>);

impl Tree {
    /// How `later` differs, one line an entry: `+ path ...` appeared, `- path ...` is gone, `~ path ... -> ...` changed.
    #[must_use]
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let gone_or_changed = self.0.iter().filter_map(|(path, was)| match later.0.get(path) {
            None => Some(format!("- {path} {was}")),
            Some(is) if is != was => Some(format!("~ {path} {was} -> {is}")),
            Some(_) => None,
        });
        let new = later
            .0
            .iter()
            .filter(|(path, _)| !self.0.contains_key(*path))
            .map(|(path, is)| format!("+ {path} {is}"));
        gone_or_changed.chain(new).collect()
    }

    /// The tree without these paths and what is below them.
    #[must_use]
    pub fn without(mut self, paths: &[&str]) -> Self {
        self.0.retain(|path, _| {
            !paths.iter().any(|left_out| {
                path.strip_prefix(left_out).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        });
        self
    }
}

impl Host {
    /// Writes a file in one go: nobody sees it half written or with another mode. `owner` is `user:group`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn write(&self, path: &str, mode: u32, owner: &str, content: impl AsRef<[u8]>) {
        let mode = format!("{mode:o}");
        let args = ["sh", "-eu", "-c", WRITE, "write", path, &mode, owner];
        let _ = self.run_args(&args, content.as_ref(), PATIENCE).expect_success();
    }

    /// A file's content.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        self.run_args(&["cat", "--", path], &[], PATIENCE).expect_success()
    }

    /// Whether something is there, a dangling link included.
    #[track_caller]
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.run_args(&["sh", "-c", r#"[ -e "$0" ] || [ -L "$0" ]"#, path], &[], PATIENCE).success()
    }

    /// `type mode user:group` of a path, such as `regular file 440 root:root`.
    ///
    /// # Panics
    /// When it does not exist.
    #[track_caller]
    #[must_use]
    pub fn stat(&self, path: &str) -> String {
        self.run_args(&["stat", "--format=%F %a %U:%G", "--", path], &[], PATIENCE)
            .expect_success()
            .trim_end()
            .to_owned()
    }

    /// Everything in /etc, for a comparison with [`Tree::changes`].
    #[track_caller]
    #[must_use]
    pub fn snapshot_etc(&self) -> Tree {
        self.snapshot(&["/etc"])
    }

    /// Everything in the given directories.
    ///
    /// # Panics
    /// When one of them cannot be read.
    #[track_caller]
    #[must_use]
    pub fn snapshot(&self, directories: &[&str]) -> Tree {
        let args = [&["sh", "-eu", "-c", LIST, "list"][..], directories].concat();
        parse(&self.run_args(&args, &[], PATIENCE).expect_success())
    }
}

fn parse(listing: &str) -> Tree {
    let (entries, checksums) = listing.split_once("\0\0").unwrap_or((listing, ""));
    let mut tree = BTreeMap::new();
    for line in entries.split('\0') {
        let fields: Vec<_> = line.splitn(5, '\t').collect();
        if let [kind, mode, owner, path, target] = fields[..] {
            let entry = Entry {
                kind: kind.to_owned(),
                mode: mode.to_owned(),
                owner: owner.to_owned(),
                content: target.to_owned(),
            };
            tree.insert(path.to_owned(), entry);
        }
    }
    for line in checksums.split('\0') {
        if let Some((sum, path)) = line.split_once("  ")
            && let Some(entry) = tree.get_mut(path)
        {
            sum.clone_into(&mut entry.content);
        }
    }
    Tree(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_content_mode_and_presence_are_seen() {
        let before = parse("f\t644\t0:0\t/etc/a\t\0l\t777\t0:0\t/etc/l\tb\0\0aa  /etc/a\0");
        let after = parse("f\t600\t0:0\t/etc/a\t\0d\t755\t0:0\t/etc/d\t\0\0bb  /etc/a\0");
        assert_eq!(
            before.changes(&after),
            ["~ /etc/a f 644 0:0 aa -> f 600 0:0 bb", "- /etc/l l 777 0:0 b", "+ /etc/d d 755 0:0 ",]
        );
    }

    #[test]
    fn without_leaves_out_a_path_and_below_but_not_its_namesakes() {
        let tree = parse("f\t1\t0:0\t/etc/a\t\0f\t1\t0:0\t/etc/a/b\t\0f\t1\t0:0\t/etc/ab\t\0\0");
        let left: Vec<_> = tree.without(&["/etc/a"]).0.into_keys().collect();
        assert_eq!(left, ["/etc/ab"]);
    }
}
