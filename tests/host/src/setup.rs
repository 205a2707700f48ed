//! From nothing to a host with the package on it and a backend beside it.

use std::path::PathBuf;

use hostward_lab::{Backend, Host, Lab, Release, built_package};
use hostward_mock_backend::client::Client;

use crate::fixture::Fixture;
use crate::team::TEAM;

/// The package's name.
pub const PACKAGE: &str = "hostward";

/// Where the host finds the CA that vouches for the backend.
const CA_FILE: &str = "/etc/hostward/backend-ca.pem";

/// An empty lab.
#[track_caller]
#[must_use]
pub fn new_lab() -> Lab {
    Lab::new().expect("a lab (root is needed; `make setup` installs the rest)")
}

/// The package under test.
#[track_caller]
#[must_use]
pub fn package() -> PathBuf {
    built_package().expect("the package")
}

/// What a host is to be like before anything happens to it.
#[must_use]
pub struct Setup<'lab> {
    lab: &'lab Lab,
    release: Release,
    name: String,
    team: String,
    configuration: String,
    install: bool,
    backend_options: Vec<String>,
    disk_mib: Option<u32>,
}

impl<'lab> Setup<'lab> {
    pub(crate) fn new(lab: &'lab Lab, release: Release) -> Self {
        Self {
            lab,
            release,
            name: "web1".to_owned(),
            team: TEAM.to_owned(),
            configuration: String::new(),
            install: true,
            backend_options: Vec::new(),
            disk_mib: None,
        }
    }

    /// The host's name, if not `web1`.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Another team than [`TEAM`].
    pub fn team(mut self, team: &str) -> Self {
        team.clone_into(&mut self.team);
        self
    }

    /// Further text of `hostward.toml`, without `[backend]`.
    pub fn configuration(mut self, text: &str) -> Self {
        text.clone_into(&mut self.configuration);
        self
    }

    /// Further options of the backend's `serve`.
    pub fn backend_option(mut self, option: &str, value: &str) -> Self {
        self.backend_options.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// Puts the host's changes on a file system of this size.
    pub fn disk_mib(mut self, size: u32) -> Self {
        self.disk_mib = Some(size);
        self
    }

    /// Leaves the installation of the package to the test.
    pub fn without_package(mut self) -> Self {
        self.install = false;
        self
    }

    /// Boots the host with the package on it, starts the backend, and tells the host where the backend's CA is.
    #[track_caller]
    #[must_use]
    pub fn boot(self) -> Fixture<'lab> {
        let mut host = self.lab.host(&self.name, self.release);
        if let Some(size) = self.disk_mib {
            host = host.disk_mib(size);
        }
        if self.install {
            host = host.with_package(&package());
        }
        let host = host.boot().expect("a host");
        let options: Vec<&str> = self.backend_options.iter().map(String::as_str).collect();
        let backend = self.lab.backend_with(&self.team, &options).expect("a backend");
        let client = Client::new(backend.state_dir());
        trust_backend(&host, &backend, &self.configuration);
        Fixture::new(self.lab, host, backend, client)
    }

    /// As [`Setup::boot`], and enrolls the host: its accounts are there.
    #[track_caller]
    #[must_use]
    pub fn enrolled(self) -> Fixture<'lab> {
        let fixture = self.boot();
        fixture.enroll();
        fixture
    }
}

/// Puts the backend's CA and the configuration that names it on the host.
#[track_caller]
pub(crate) fn trust_backend(host: &Host, backend: &Backend<'_>, more: &str) {
    host.write(CA_FILE, 0o644, "root:root", backend.ca_pem());
    configure(host, more);
}

/// Writes `hostward.toml`, and has the agent read it where there is one.
#[track_caller]
pub(crate) fn configure(host: &Host, more: &str) {
    let text = format!("[backend]\nca_file = \"{CA_FILE}\"\n\n{more}\n");
    host.write("/etc/hostward/hostward.toml", 0o644, "root:root", text);
    host.must("! systemctl --quiet is-active hostward.service || systemctl reload hostward.service");
}
