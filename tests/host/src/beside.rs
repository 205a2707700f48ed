//! More than one host of a project.

use hostward_lab::Host;

use crate::fixture::Fixture;
use crate::setup::{package, trust_backend};

impl Fixture<'_> {
    /// Another host on the same network that is enrolled with the same backend, with further text of its
    /// `hostward.toml`.
    #[track_caller]
    #[must_use]
    pub fn beside(&self, name: &str, configuration: &str) -> Host {
        let host = self.lab.host(name, self.host.release()).boot().expect("a host");
        host.install(&package());
        trust_backend(&host, &self.backend, configuration);
        let output = host.run_with_input("hostward enroll --wait 30", self.token().as_bytes());
        assert!(output.success(), "{output}\n{}", host.journal("hostward.service"));
        host
    }
}
