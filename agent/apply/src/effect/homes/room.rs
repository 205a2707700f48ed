//! Whether there is room for an archive: a home must not fill the file system that logs and hostward's own state are on.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use super::{HomeError, LIMIT, inside};
use crate::command::run_in;
use crate::root::Root;

/// What is left free, in bytes: a twentieth of the file system, but so much at least.
const MARGIN: u64 = 256 << 20;
/// And so much at most: on a large disk a twentieth is more than anybody needs at once.
const LARGEST_MARGIN: u64 = 4 << 30;

/// What tar puts before each file: its header, and one with what does not fit into that.
const HEADERS: u64 = 1536;

/// How many bytes an archive in `directory` may have.
pub fn free(directory: &Path) -> Result<u64, HomeError> {
    let system = rustix::fs::statvfs(directory).map_err(|errno| HomeError::Io {
        step: "tell how much is free for the archive of",
        home: directory.display().to_string(),
        source: errno.into(),
    })?;
    let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    Ok(beside_the_margin(bytes(system.f_bavail), bytes(system.f_blocks)))
}

fn beside_the_margin(available: u64, whole: u64) -> u64 {
    available.saturating_sub((whole / 20).clamp(MARGIN, LARGEST_MARGIN))
}

/// How many bytes the archive of a home will have, about.
pub fn estimate(root: &Root, home: &OwnedFd) -> Result<u64, HomeError> {
    let bytes = usage(root, home, "--block-size=1")?;
    let files = usage(root, home, "--inodes")?;
    Ok(bytes.saturating_add(files.saturating_mul(HEADERS)))
}

fn usage(root: &Root, home: &OwnedFd, what: &str) -> Result<u64, HomeError> {
    let arguments = ["--summarize", "--one-file-system", what, "."];
    let ran = run_in(&root.path("/usr/bin/du"), arguments, &inside(home), Stdio::piped(), LIMIT)?;
    let number = ran.stdout.split_ascii_whitespace().next().and_then(|number| number.parse().ok());
    match number {
        Some(number) if ran.success => Ok(number),
        _ => Err(HomeError::Failed { program: "du", said: ran.said() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_stays_free() {
        const GIB: u64 = 1 << 30;
        assert_eq!(beside_the_margin(GIB, 2 * GIB), GIB - MARGIN);
        assert_eq!(beside_the_margin(10 * GIB, 40 * GIB), 8 * GIB);
        assert_eq!(beside_the_margin(10 * GIB, 4000 * GIB), 6 * GIB);
        assert_eq!(beside_the_margin(MARGIN - 1, GIB), 0);
    }
}
