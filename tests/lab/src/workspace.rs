//! Where things lie in the source tree: build products, the lab's own directory.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The root of the source tree that this lab was built from.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// Cargo's target directory.
#[must_use]
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The lab's directory: `images/` is a cache, `run/` holds one directory per running lab. `HOSTWARD_LAB_DIR` moves it,
/// for a tree on a file system that cannot carry an overlay.
#[must_use]
pub fn lab_dir() -> PathBuf {
    env::var_os("HOSTWARD_LAB_DIR").map_or_else(|| target_dir().join("lab"), PathBuf::from)
}

/// A program of this workspace: the file named by `variable` if it is set, else the newest build of `name`.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let newest = ["debug", "release"]
        .into_iter()
        .map(|profile| target_dir().join(profile).join(name))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max();
    match newest {
        Some((_, path)) => Ok(path),
        None => bail!("`{name}` is not built: run `cargo build -p {name}` or set {variable}"),
    }
}
