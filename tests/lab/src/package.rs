//! The package under test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// The package that `make package` built, or the one that `HOSTWARD_DEB` names.
///
/// # Errors
/// When there is none.
pub fn built_package() -> Result<PathBuf> {
    if let Some(path) = env::var_os("HOSTWARD_DEB") {
        return Ok(PathBuf::from(path));
    }
    let directory = workspace::target_dir().join("package");
    let newest = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "deb"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .max();
    match newest {
        Some((_, path)) => Ok(path),
        None => bail!("no package in `{}`: run `make package` or set HOSTWARD_DEB", directory.display()),
    }
}

/// The same package under another version, written into `directory`: something to upgrade to.
///
/// # Errors
/// When dpkg-deb fails.
pub fn with_version(deb: &Path, version: &str, directory: &Path) -> Result<PathBuf> {
    let tree = tempfile::tempdir().context("cannot create a temporary directory")?;
    let unpacked = tree.path().join("package");
    dpkg_deb(&["--raw-extract"], &[deb, &unpacked])?;
    let control = unpacked.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("cannot read the package's control file")?;
    let text: String = text
        .lines()
        .map(|line| match line.strip_prefix("Version: ") {
            Some(_) => format!("Version: {version}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    fs::write(&control, text).context("cannot write the package's control file")?;
    let new = directory.join(format!("hostward_{version}_amd64.deb"));
    dpkg_deb(&["--root-owner-group", "-Zgzip", "-z1", "--build"], &[&unpacked, &new])?;
    Ok(new)
}

fn dpkg_deb(options: &[&str], paths: &[&Path]) -> Result<()> {
    let output =
        Command::new("dpkg-deb").args(options).args(paths).output().context("cannot start dpkg-deb")?;
    if !output.status.success() {
        bail!("dpkg-deb failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
