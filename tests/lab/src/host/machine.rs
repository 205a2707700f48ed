//! The container manager of one host: starting it, knowing when it has booted, ending it.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cgroup;
use crate::image::Image;

const START: &str = include_str!("start.sh");
const BOOT_PATIENCE: Duration = Duration::from_secs(60);
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);
const CONSOLE_TAIL: usize = 60;

/// A host as a container: its files, its control group, and its manager while this process owns it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) image: Image,
    pub(crate) directory: PathBuf,
    pub(crate) cgroup: PathBuf,
    /// Its network namespace, and its name for systemd-nspawn.
    pub(crate) name: String,
    pub(crate) hostname: String,
    manager: Mutex<Option<Child>>,
}

impl Machine {
    pub(crate) fn new(
        image: Image,
        directory: PathBuf,
        cgroup: PathBuf,
        name: String,
        hostname: String,
    ) -> Self {
        Self { image, directory, cgroup, name, hostname, manager: Mutex::new(None) }
    }

    /// Boots it and returns once every unit of the default target has started.
    pub(crate) fn start(&self) -> Result<()> {
        let notify = format!("{}-ready", self.name);
        let ready = SocketAddr::from_abstract_name(&notify)
            .and_then(|address| UnixDatagram::bind_addr(&address))
            .context("cannot listen for the host's readiness")?;
        ready
            .set_read_timeout(Some(Duration::from_millis(200)))
            .context("cannot listen for the host's readiness")?;
        cgroup::remove(&self.cgroup);
        cgroup::make(&self.cgroup)?;
        let console = fs::File::create(self.console()).context("cannot create the console log")?;
        let errors = console.try_clone().context("cannot share the console log")?;
        let mut manager = Command::new("setsid")
            .args(["unshare", "--mount", "--propagation", "private"])
            .args(["sh", "-eu", "-c", START, "start.sh"])
            .args([&self.cgroup, &self.directory])
            .arg(self.image.layers())
            .arg(format!("/run/netns/{}", self.name))
            .args([&self.name, &self.hostname])
            .env("NOTIFY_SOCKET", format!("@{notify}"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(errors)
            .spawn()
            .context("cannot start systemd-nspawn")?;
        let booted = self.await_readiness(&ready, &mut manager);
        *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = Some(manager);
        booted?;
        cgroup::make(&self.commands())
    }

    fn await_readiness(&self, ready: &UnixDatagram, manager: &mut Child) -> Result<()> {
        let deadline = Instant::now() + BOOT_PATIENCE;
        let mut message = [0; 4096];
        loop {
            match ready.recv(&mut message) {
                Ok(length)
                    if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") =>
                {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).context("cannot listen for the host's readiness"),
            }
            if let Some(status) = manager.try_wait().context("cannot wait for systemd-nspawn")? {
                bail!("`{}` ended while booting ({status})\n{}", self.name, self.console_tail());
            }
            if Instant::now() >= deadline {
                bail!("`{}` did not boot within {BOOT_PATIENCE:?}\n{}", self.name, self.console_tail());
            }
        }
    }

    /// Whether not even its manager runs.
    pub(crate) fn is_off(&self) -> bool {
        !cgroup::is_populated(&self.cgroup)
    }

    /// Waits for the manager's end after an orderly shutdown was asked for inside.
    pub(crate) fn await_end(&self) -> Result<()> {
        let deadline = Instant::now() + SHUTDOWN_PATIENCE;
        while cgroup::is_populated(&self.cgroup) {
            if Instant::now() >= deadline {
                bail!(
                    "`{}` did not shut down within {SHUTDOWN_PATIENCE:?}\n{}",
                    self.name,
                    self.console_tail()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.reap();
        Ok(())
    }

    /// Ends every process of the host at once, as a power cut would.
    pub(crate) fn kill(&self) {
        cgroup::kill(&self.cgroup);
        self.reap();
        let deadline = Instant::now() + SHUTDOWN_PATIENCE;
        while !self.is_off() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn reap(&self) {
        let manager = self.manager.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut manager) = manager {
            let _reaped = manager.wait();
        }
    }

    /// The process that is PID 1 inside.
    pub(crate) fn leader(&self) -> Result<u32> {
        let scope = self.cgroup.join("payload/init.scope/cgroup.procs");
        fs::read_to_string(&scope)
            .ok()
            .and_then(|text| text.lines().next()?.parse().ok())
            .with_context(|| format!("`{}` is not running", self.name))
    }

    /// The group of commands that the lab runs inside. It lies next to the groups that systemd made, which leaves it alone.
    pub(crate) fn commands(&self) -> PathBuf {
        self.cgroup.join("payload/lab")
    }

    fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    pub(crate) fn console_tail(&self) -> String {
        let bytes = fs::read(self.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(CONSOLE_TAIL)..].join("\n");
        format!("--- console, last {CONSOLE_TAIL} lines\n{tail}")
    }

    /// Where the host's own changes to the image are, of one whose disk is a directory.
    pub(crate) fn changes(directory: &Path) -> PathBuf {
        directory.join("disk/upper")
    }

    /// What the host's disk starts with.
    pub(crate) fn seed(directory: &Path) -> PathBuf {
        directory.join("seed")
    }
}
