//! Packages on a host.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Host;
use crate::command::Output;

const PATIENCE: Duration = Duration::from_secs(180);

/// Quiet, asks nothing, keeps changed configuration files.
const APT: &str = "DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes --no-install-recommends \
                   -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0";

impl Host {
    /// Installs a package file with all it depends on, or upgrades to it.
    ///
    /// # Panics
    /// When that fails, with everything apt said.
    #[track_caller]
    pub fn install(&self, deb: &Path) {
        let _ = self.try_install(deb).expect_success();
    }

    /// As [`Host::install`], for a package that may not install.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[track_caller]
    pub fn try_install(&self, deb: &Path) -> Output {
        let content =
            fs::read(deb).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", deb.display()));
        let name = deb.file_name().unwrap_or_default().to_string_lossy();
        let place = format!("/var/cache/lab/{name}");
        self.write(&place, 0o644, "root:root", content);
        self.run_within(PATIENCE, &format!("{APT} install --allow-downgrades {place}"))
    }

    /// Upgrades to a newer package file; the same to apt, another word for the reader.
    ///
    /// # Panics
    /// When that fails, with everything apt said.
    #[track_caller]
    pub fn upgrade(&self, deb: &Path) {
        self.install(deb);
    }

    /// Installs packages by name from the image's own directory; see `image.rs` for what is offered there.
    ///
    /// # Panics
    /// When that fails, with everything apt said.
    #[track_caller]
    pub fn install_offered(&self, names: &str) {
        let _ = self.run_within(PATIENCE, &format!("{APT} install {names}")).expect_success();
    }

    /// Removes packages, keeping their configuration.
    ///
    /// # Panics
    /// When that fails, with everything apt said.
    #[track_caller]
    pub fn remove(&self, names: &str) {
        let _ = self.run_within(PATIENCE, &format!("{APT} remove {names}")).expect_success();
    }

    /// Removes packages with their configuration.
    ///
    /// # Panics
    /// When that fails, with everything apt said.
    #[track_caller]
    pub fn purge(&self, names: &str) {
        let _ = self.run_within(PATIENCE, &format!("{APT} purge {names}")).expect_success();
    }
}
