//! What demonstration and exploration have in common: a host, a backend, and a laptop to log in from.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hostward_lab::{Backend, Host, Lab};

/// The host's name.
pub const HOST: &str = "web1";

/// The team that the backend starts with.
pub const TEAM: &str = include_str!("team.toml");

const CONFIGURATION: &str = "\
[backend]
ca_file = \"/etc/hostward/backend-ca.pem\"

[labels]
env = \"demo\"
";

/// Asks for nothing and remembers nothing: hosts of a lab come and go.
const SSH_CONFIG: &str = "\
Host *
    BatchMode yes
    ConnectTimeout 10
    IdentityAgent none
    IdentitiesOnly yes
    LogLevel ERROR
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
";

/// Puts the configuration where the host finds its backend: what configuration management does elsewhere.
pub fn configure(host: &Host, backend: &Backend<'_>) {
    host.write("/etc/hostward/backend-ca.pem", 0o644, "root:root", backend.ca_pem());
    host.write("/etc/hostward/hostward.toml", 0o644, "root:root", CONFIGURATION);
}

/// The directory on the lab's side that plays a person's laptop, with an `ssh_config` in it.
pub fn laptop(lab: &Lab) -> Result<PathBuf> {
    let laptop = lab.directory("laptop")?;
    fs::write(laptop.join("ssh_config"), SSH_CONFIG).context("cannot write the laptop's ssh_config")?;
    Ok(laptop)
}
