//! Base images: minimal Debian systems, made once per recipe and never changed afterwards.
//!
//! An image is the read-only lower layer under every host. Its directory name carries a hash of the recipe, so that a
//! change of the recipe makes a new image and nothing ever runs on an old one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::release::Release;
use crate::workspace;

mod baked;

/// What lies below a host's own files: directories, the uppermost first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    layers: Vec<PathBuf>,
}

impl Image {
    /// The base image of `release`.
    pub(crate) fn base(release: Release) -> Result<Self> {
        Ok(Self { layers: vec![base(release)?] })
    }

    /// The base image with the package of this file installed on it, before the host boots for the first time.
    pub(crate) fn with_package(release: Release, deb: &Path) -> Result<Self> {
        baked::with_package(release, deb)
    }

    /// As overlayfs wants them.
    pub(crate) fn layers(&self) -> OsString {
        let mut layers = OsString::new();
        for layer in &self.layers {
            if !layers.is_empty() {
                layers.push(":");
            }
            layers.push(layer);
        }
        layers
    }
}

/// In every image: what a small server has, and what tests look at it with.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "cron",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "openssh-client",
    "openssh-server",
    "passwd",
    "procps",
    "python3-minimal",
    "strace",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tmux",
];

/// In a local repository inside every image, so that a test can `apt-get install` them without a network.
const OFFERED: &[&str] =
    &["faketime", "git", "libnss-systemd", "nscd", "python3-paramiko", "rsync", "rsyslog", "uidmap"];
/// Of Ansible bullseye has only the whole, which is large.
const OFFERED_FROM_BOOKWORM: &[&str] = &["ansible-core"];
const OFFERED_FROM_TRIXIE: &[&str] = &["sudo-rs"];

/// Makes the image; see the file for its arguments.
const BUILD: &str = include_str!("image/build.sh");
/// Runs on the unpacked image, which it makes quick to boot and free of identity.
const FINISH: &str = include_str!("image/finish.sh");

/// The directory of the image of `release`, which is made first if it does not exist.
///
/// # Errors
/// When mmdebstrap is missing or fails; its output is part of the error.
pub fn base(release: Release) -> Result<PathBuf> {
    let images = workspace::lab_dir().join("images");
    fs::create_dir_all(&images).with_context(|| format!("cannot create `{}`", images.display()))?;
    let image = images.join(format!("{release}-{}", recipe_hash(release)));
    if image.is_dir() {
        return Ok(image);
    }
    let _only_one_builder = lock(&images.join(format!("{release}.lock")))?;
    if !image.is_dir() {
        build(release, &image)?;
    }
    Ok(image)
}

fn offered(release: Release) -> Vec<&'static str> {
    let mut names = OFFERED.to_vec();
    if release >= Release::Bookworm {
        names.extend(OFFERED_FROM_BOOKWORM);
    }
    if release >= Release::Trixie {
        names.extend(OFFERED_FROM_TRIXIE);
    }
    names
}

fn recipe_hash(release: Release) -> String {
    let recipe =
        [release.suite(), &PACKAGES.join(","), &offered(release).join(","), BUILD, FINISH].join("\n--\n");
    sha256_hex(recipe.as_bytes())[..12].to_owned()
}

pub(crate) fn lock(path: &Path) -> Result<Flock<File>> {
    let file = File::create(path).with_context(|| format!("cannot create `{}`", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("cannot lock `{}`", path.display()))
}

fn build(release: Release, image: &Path) -> Result<()> {
    eprintln!("lab: making the {release} image (once, about half a minute)");
    let output = Command::new("sh")
        .args(["-eu", "-c", BUILD, "build.sh", release.suite()])
        .arg(image)
        .arg(PACKAGES.join(","))
        .arg(offered(release).join(" "))
        .env("LAB_FINISH", FINISH)
        .output()
        .context("cannot start sh")?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "cannot make the {release} image ({}); `make setup` installs what it needs\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )
}
