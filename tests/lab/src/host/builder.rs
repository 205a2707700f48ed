//! What a host is to be like, before it boots for the first time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Host, Machine};
use crate::image::{self, Image};
use crate::lab::Lab;
use crate::release::Release;
use crate::{network, workspace};

/// A host to be booted.
#[derive(Debug)]
#[must_use]
pub struct HostBuilder<'lab> {
    lab: &'lab Lab,
    name: String,
    hostname: String,
    release: Release,
    disk_mib: Option<u32>,
    package: Option<PathBuf>,
    seeds: Vec<(String, u32, Vec<u8>)>,
}

impl<'lab> HostBuilder<'lab> {
    pub(crate) fn new(lab: &'lab Lab, name: &str, release: Release) -> Self {
        Self {
            lab,
            name: name.to_owned(),
            hostname: name.to_owned(),
            release,
            disk_mib: None,
            package: None,
            seeds: Vec::new(),
        }
    }

    /// What the host calls itself, if not its name in the lab.
    pub fn hostname(mut self, hostname: &str) -> Self {
        hostname.clone_into(&mut self.hostname);
        self
    }

    /// Puts the host's changes on a file system of this size, so that a test can fill it.
    pub fn disk_mib(mut self, size: u32) -> Self {
        self.disk_mib = Some(size);
        self
    }

    /// Boots it from an image that this package was baked into.
    pub fn with_package(mut self, deb: &Path) -> Self {
        self.package = Some(deb.to_owned());
        self
    }

    /// A file, owned by root, that is there when the host boots for the first time.
    pub fn with_file(mut self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.seeds.push((path.to_owned(), mode, content.as_ref().to_owned()));
        self
    }

    /// Boots it, and returns once its default target is reached.
    ///
    /// # Errors
    /// When it cannot be set up or does not boot; the end of its console is then part of the error.
    pub fn boot(self) -> Result<Host> {
        let image = match &self.package {
            Some(deb) => Image::with_package(self.release, deb)?,
            None => Image::base(self.release)?,
        };
        let record = self.lab.admit(&self.name, &self.hostname, self.release, image)?;
        let directory = self.lab.directory(&format!("host-{}", self.name))?;
        let seed = Machine::seed(&directory);
        let hosts = format!(
            "127.0.0.1 localhost\n127.0.1.1 {}\n{} {}\n",
            self.hostname,
            network::HERE,
            network::BACKEND_NAME
        );
        put(&seed, "/etc/machine-id", 0o444, random_machine_id()?.as_bytes())?;
        put(&seed, "/etc/hostname", 0o644, format!("{}\n", self.hostname).as_bytes())?;
        put(&seed, "/etc/hosts", 0o644, hosts.as_bytes())?;
        for (path, mode, content) in &self.seeds {
            put(&seed, path, *mode, content)?;
        }
        host_keys(&seed.join("etc/ssh"))?;
        if let Some(size) = self.disk_mib {
            let image = directory.join("disk.img");
            succeed(Command::new("truncate").arg(format!("--size={size}M")).arg(&image))?;
            succeed(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        }
        Host::boot(self.lab, record)
    }
}

/// What `ssh-keygen -A` makes. But for RSA, of which one key serves all hosts: it takes as long as booting one.
fn host_keys(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).context("cannot create the seed's `/etc/ssh`")?;
    let generate = |kind: &str, file: &Path| {
        succeed(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(file))
    };
    for kind in ["ecdsa", "ed25519"] {
        generate(kind, &directory.join(format!("ssh_host_{kind}_key")))?;
    }
    let kept = workspace::lab_dir().join("ssh_host_rsa_key");
    if !kept.with_extension("pub").exists() {
        let _only_one_maker = image::lock(&kept.with_extension("lock"))?;
        if !kept.with_extension("pub").exists() {
            let new = kept.with_file_name("ssh_host_rsa_key_new");
            let _none = fs::remove_file(&new);
            generate("rsa", &new)?;
            fs::rename(&new, &kept).context("cannot keep the RSA key of hosts")?;
            fs::rename(new.with_extension("pub"), kept.with_extension("pub"))
                .context("cannot keep the RSA key of hosts")?;
        }
    }
    let key = directory.join("ssh_host_rsa_key");
    for (from, to) in [(kept.with_extension("pub"), key.with_extension("pub")), (kept, key)] {
        fs::copy(&from, to).with_context(|| format!("cannot copy `{}`", from.display()))?;
    }
    Ok(())
}

fn put(seed: &Path, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let place = seed.join(path.trim_start_matches('/'));
    let written = (|| {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&place, content)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))
    })();
    written.with_context(|| format!("cannot write `{}`", place.display()))
}

/// As machine-id(5) has it: 128 random bits in lower-case hexadecimal.
fn random_machine_id() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("cannot read a random UUID")?;
    Ok(uuid.replace('-', ""))
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
