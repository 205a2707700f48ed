//! Logging in to a host with ssh from the lab's side of the network.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::command::{Background, Output};
use crate::host::Host;
use crate::lab::Lab;
use crate::network;

/// A login to be made. It takes nothing from the configuration, agent or keys of whoever runs it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Login<'lab> {
    lab: &'lab Lab,
    target: String,
    source: String,
    options: Vec<String>,
}

impl Lab {
    /// A login as `user`, from an address that no other login of this lab has used lately: trixie's sshd makes a whole
    /// address pay for one refused login.
    pub fn login(&self, host: &Host, user: &str) -> Login<'_> {
        Login {
            lab: self,
            target: format!("{user}@{}", host.address()),
            source: network::client_address(self.number()),
            options: Vec::new(),
        }
    }

    /// A new key pair (Ed25519, no passphrase) called `name`; its public half has `.pub` appended.
    ///
    /// # Errors
    /// When ssh-keygen fails.
    pub fn ssh_key(&self, name: &str) -> Result<PathBuf> {
        let key = self.directory("keys")?.join(name);
        let path = key.to_string_lossy();
        let made = self.run_args_in_network(
            &["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &path],
            &[],
        );
        if !made.success() {
            bail!("{made}");
        }
        Ok(key)
    }
}

impl Login<'_> {
    /// Offers this private key, and the certificate next to it (`-cert.pub`) if there is one.
    pub fn key(self, key: &Path) -> Self {
        self.option(&format!("IdentityFile={}", key.display()))
    }

    /// Offers this certificate.
    pub fn certificate(self, certificate: &Path) -> Self {
        self.option(&format!("CertificateFile={}", certificate.display()))
    }

    /// Comes from this address, one of 10.66.1.0/24.
    pub fn from(mut self, address: &str) -> Self {
        address.clone_into(&mut self.source);
        self
    }

    /// Any option of ssh_config(5).
    pub fn option(mut self, option: &str) -> Self {
        self.options.extend(["-o".to_owned(), option.to_owned()]);
        self
    }

    /// Logs in and runs `cmd` in the user's shell.
    pub fn run(&self, cmd: &str) -> Output {
        let mut args = self.args(&[]);
        args.push(cmd.to_owned());
        self.lab.run_args_in_network(&borrowed(&args), &[])
    }

    /// Logs in and leaves `cmd` running, with or without a terminal.
    #[must_use]
    pub fn open(&self, terminal: Terminal, cmd: &str) -> Background {
        let mut args = self.args(match terminal {
            Terminal::Yes => &["-tt"],
            Terminal::No => &["-T"],
        });
        args.push(cmd.to_owned());
        self.lab.spawn_args_in_network(&borrowed(&args))
    }

    /// The ssh command up to its target, for a person to repeat.
    #[must_use]
    pub fn args(&self, more: &[&str]) -> Vec<String> {
        let fixed = [
            "ssh",
            "-F",
            "/dev/null",
            "-b",
            &self.source,
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ];
        let mut args: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
        args.extend(self.options.iter().cloned());
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args.push(self.target.clone());
        args
    }
}

/// Whether a login has a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// As in an interactive login.
    Yes,
    /// As for a single command.
    No,
}

fn borrowed(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}
