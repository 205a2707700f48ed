//! Images with a package baked in, as machine images are made: installed while nothing may be started, identity removed.
//!
//! Most tests are not about the installation, which takes longer than all else that is done to a host. Those that are
//! install the package on a host that runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::{Image, base, lock};
use crate::digest::sha256_hex;
use crate::host::Machine;
use crate::lab::Lab;
use crate::release::Release;
use crate::workspace;

/// Takes the host's changes for a layer; see the file for its arguments.
const BAKE: &str = include_str!("bake.sh");
/// Layers of packages that were built anew since are of no use to anybody after this long.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The image of `release` with the package of this file installed, which is made first if it does not exist.
pub(super) fn with_package(release: Release, deb: &Path) -> Result<Image> {
    let below = base(release)?;
    let content = fs::read(deb).with_context(|| format!("cannot read `{}`", deb.display()))?;
    let images = workspace::lab_dir().join("images");
    let recipe = [below.as_os_str().as_encoded_bytes(), BAKE.as_bytes(), &content].join(&b"\n--\n"[..]);
    let ours = format!("baked-{release}-");
    let layer = images.join(format!("{ours}{}", &sha256_hex(&recipe)[..12]));
    if !layer.is_dir() {
        let _only_one_builder = lock(&images.join(format!("{ours}lock")))?;
        if !layer.is_dir() {
            remove_old(&images, &ours)?;
            bake(release, deb, &layer)?;
        }
    }
    Ok(Image { layers: vec![layer, below] })
}

fn bake(release: Release, deb: &Path, layer: &Path) -> Result<()> {
    let lab = Lab::new()?;
    let host = lab
        .host("image", release)
        .with_file("/usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\nexit 101\n")
        .boot()
        .context("cannot boot a host to bake an image from")?;
    host.install(deb);
    host.power_off()?;
    let directory = lab.directory("host-image")?;
    let output = Command::new("sh")
        .args(["-eu", "-c", BAKE, "bake.sh"])
        .args([&Machine::changes(&directory), &Machine::seed(&directory), layer])
        .output()
        .context("cannot start sh")?;
    if !output.status.success() {
        bail!("cannot make `{}`: {}", layer.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn remove_old(images: &Path, ours: &str) -> Result<()> {
    let stale = |path: &PathBuf| {
        let age = path.metadata().and_then(|metadata| metadata.modified()).ok();
        age.and_then(|made| SystemTime::now().duration_since(made).ok()).is_some_and(|age| age > KEPT)
    };
    let entries = fs::read_dir(images).with_context(|| format!("cannot read `{}`", images.display()))?;
    let layers = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(ours));
    for layer in layers.map(|entry| entry.path()).filter(|path| path.is_dir()).filter(stale) {
        fs::remove_dir_all(&layer).with_context(|| format!("cannot remove `{}`", layer.display()))?;
    }
    Ok(())
}
