//! The local account files: passwd(5), group(5), subuid(5), subgid(5), shells(5).

use std::collections::BTreeSet;
use std::io;

use hostward_config::IdRange;
use hostward_plan::facts::{LocalGroup, LocalUser};

use crate::root::Root;

/// The system user that the network process runs as.
const AGENT: &str = "hostward";

/// Why the host cannot be observed. Without these files nothing could be told apart from what is local, so nothing
/// is changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`")]
pub struct LocalError {
    /// The file.
    pub path: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

fn lines(root: &Root, path: &'static str) -> Result<Vec<String>, LocalError> {
    let bytes = std::fs::read(root.path(path)).map_err(|source| LocalError { path, source })?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

/// The same for a file that need not exist.
fn optional_lines(root: &Root, path: &'static str) -> Result<Vec<String>, LocalError> {
    match lines(root, path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The users of /etc/passwd. A line that glibc would not read is passed over.
pub fn users(root: &Root) -> Result<Vec<LocalUser>, LocalError> {
    let parse = |line: String| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        Some(LocalUser {
            name: name.trim_start().to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: (*home).to_owned(),
        })
    };
    Ok(lines(root, "/etc/passwd")?.into_iter().filter_map(parse).collect())
}

/// The groups of /etc/group.
pub fn groups(root: &Root) -> Result<Vec<LocalGroup>, LocalError> {
    let parse = |line: String| {
        let mut fields = line.split(':');
        let name = fields.next()?.trim_start().to_owned();
        Some(LocalGroup { name, gid: fields.nth(1)?.parse().ok()? })
    };
    Ok(lines(root, "/etc/group")?.into_iter().filter_map(parse).collect())
}

/// Ranges handed out in /etc/subuid and /etc/subgid.
pub fn subordinate_ids(root: &Root) -> Result<Vec<IdRange>, LocalError> {
    let parse = |line: String| {
        let mut fields = line.split(':').skip(1);
        let first: u32 = fields.next()?.trim().parse().ok()?;
        let count: u32 = fields.next()?.trim().parse().ok()?;
        let last = first.saturating_add(count.checked_sub(1)?);
        Some(IdRange { first, last })
    };
    let mut ranges = Vec::new();
    for path in ["/etc/subuid", "/etc/subgid"] {
        ranges.extend(optional_lines(root, path)?.into_iter().filter_map(parse));
    }
    ranges.sort_by_key(|range| (range.first, range.last));
    ranges.dedup();
    Ok(ranges)
}

/// Paths in /etc/shells that exist and are executable.
pub fn shells(root: &Root) -> BTreeSet<String> {
    use std::os::unix::fs::PermissionsExt;
    let is_executable = |path: &String| {
        std::fs::metadata(root.path(path))
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    optional_lines(root, "/etc/shells")
        .unwrap_or_default()
        .into_iter()
        .map(|line| line.trim().to_owned())
        .filter(|line| line.starts_with('/'))
        .filter(is_executable)
        .collect()
}

/// The uid of the agent's user, out of the local passwd file.
pub fn agent_uid(root: &Root) -> Result<Option<u32>, LocalError> {
    Ok(agent(&users(root)?))
}

/// The uid of the agent's user among these.
pub fn agent(users: &[LocalUser]) -> Option<u32> {
    users.iter().find(|user| user.name == AGENT).map(|user| user.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("etc")).expect("etc");
        for (name, text) in files {
            std::fs::write(directory.path().join("etc").join(name), text).expect("a file");
        }
        let root = Root::below(directory.path());
        (directory, root)
    }

    #[test]
    fn passwd_and_group_are_read_as_glibc_reads_them() {
        let (_directory, root) = root(&[
            (
                "passwd",
                "root:x:0:0:root:/root:/bin/bash\n# no user\n+\n+@netgroup::::::\nbad:x:y:0::/:\nhostward:x:998:998::/:/usr/sbin/nologin\n",
            ),
            ("group", "root:x:0:\nsudo:x:27:alice,bob\nbroken\n"),
        ]);
        let users = users(&root).expect("users");
        assert_eq!(
            users.iter().map(|u| (u.name.as_str(), u.uid)).collect::<Vec<_>>(),
            [("root", 0), ("hostward", 998)]
        );
        assert_eq!(groups(&root).expect("groups")[1].gid, 27);
        assert_eq!(agent_uid(&root).expect("passwd"), Some(998));
        assert_eq!(subordinate_ids(&root).expect("none"), []);
    }

    #[test]
    fn no_passwd_file_is_an_error() {
        let (_directory, root) = root(&[]);
        assert!(users(&root).is_err());
    }

    #[test]
    fn subordinate_ranges_of_both_files_count() {
        let (_directory, root) = root(&[
            ("subuid", "a:100000:65536\nb:bad:1\nc:5:0\n"),
            ("subgid", "a:100000:65536\na:300000:10\n"),
        ]);
        assert_eq!(
            subordinate_ids(&root).expect("ranges"),
            [IdRange { first: 100_000, last: 165_535 }, IdRange { first: 300_000, last: 300_009 }]
        );
    }
}
