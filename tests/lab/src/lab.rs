//! A lab: a network of throwaway hosts, and everything that has to go when it ends.
//!
//! All its processes are in one control group, its network in namespaces that carry its name, its files in one
//! directory. Mounts live in the mount namespaces of its processes. So one short script removes all of it, and a guard
//! process runs that script when the process that owns the lab ends in any way.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

use crate::command::{self, Background, Output, PATIENCE};
use crate::digest::sha256_hex;
use crate::host::{Host, HostBuilder};
use crate::image::Image;
use crate::release::Release;
use crate::{cgroup, network, workspace};

mod leftovers;
mod record;

pub use leftovers::{Clean, clean};
pub use record::{HostRecord, Record};

const CLEANUP: &str = include_str!("lab/cleanup.sh");

/// How many inotify(7) instances one user may have, in the whole machine: root of every host is the same one, and a booted
/// host has about eight.
const WATCHERS: (&str, u32) = ("/proc/sys/fs/inotify/max_user_instances", 2048);

/// Enters the lab's network: `sh -c ENTER CGROUP NAMESPACE HOSTS COMMAND...`. Only there does `/etc/hosts` name the hosts.
const ENTER: &str = r#"
echo $$ >"$0/cgroup.procs"
namespace=$1 hosts=$2
shift 2
exec nsenter --net="$namespace" unshare --mount --propagation private \
    sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$hosts" "$@"
"#;

static LABS: AtomicUsize = AtomicUsize::new(0);

/// A network of throwaway hosts. It and all in it is gone when it is dropped, or its process has ended.
#[derive(Debug)]
pub struct Lab {
    run: PathBuf,
    cgroup: PathBuf,
    /// `hostward-lab-<id>-<tree>`: what everything of this lab is named after.
    name: String,
    record: Mutex<Record>,
    /// `None` once the lab was told to outlive its process.
    guard: Option<Child>,
    commands: AtomicUsize,
}

impl Lab {
    /// Makes an empty lab.
    ///
    /// # Errors
    /// When this process is not root, or the machine lacks what a lab needs.
    pub fn new() -> Result<Self> {
        let owner = record::Process::current()?;
        Self::named(&format!("{owner}-{}", LABS.fetch_add(1, Ordering::Relaxed)))
    }

    /// Makes an empty lab that can be found again as `id` by [`Lab::attach`].
    ///
    /// # Errors
    /// As [`Lab::new`], and when a lab of that name exists.
    pub fn named(id: &str) -> Result<Self> {
        let mut lab = Self::at(id)?;
        allow_watchers();
        let runs = workspace::lab_dir().join("run");
        fs::create_dir_all(&runs).with_context(|| format!("cannot create `{}`", runs.display()))?;
        fs::create_dir(&lab.run).with_context(|| {
            format!(
                "cannot create `{}`: does this lab run already? `make lab-down` removes it",
                lab.run.display()
            )
        })?;
        lab.save()?;
        lab.guard = Some(lab.start_guard()?);
        cgroup::make(&lab.cgroup.join("net"))?;
        network::make(&lab.name)?;
        fs::write(
            lab.hosts_file(),
            format!("127.0.0.1 localhost\n{} {}\n", network::HERE, network::BACKEND_NAME),
        )
        .context("cannot write the lab's hosts file")?;
        Ok(lab)
    }

    /// The lab `id` that an earlier process left running with [`Lab::keep`]. Dropping it leaves it running.
    ///
    /// # Errors
    /// When there is none.
    pub fn attach(id: &str) -> Result<Self> {
        let mut lab = Self::at(id)?;
        if !lab.run.is_dir() {
            bail!("no lab is running: `make lab` starts one");
        }
        lab.record = Mutex::new(Record::read(&lab.run)?);
        Ok(lab)
    }

    fn at(id: &str) -> Result<Self> {
        let run = workspace::lab_dir().join("run").join(id);
        // Another tree may have a lab of the same id; control groups and namespaces are the machine's.
        let tree = &sha256_hex(run.as_os_str().as_encoded_bytes())[..4];
        let name = format!("hostward-lab-{id}-{tree}");
        Ok(Self {
            run,
            cgroup: cgroup::hierarchy()?.join("hostward-lab").join(&name),
            name,
            record: Mutex::new(Record::of_this_process()?),
            guard: None,
            commands: AtomicUsize::new(0),
        })
    }

    /// Describes a host that [`HostBuilder::boot`] then boots.
    pub fn host(&self, name: &str, release: Release) -> HostBuilder<'_> {
        HostBuilder::new(self, name, release)
    }

    /// The hosts of an attached lab, whether they run or not.
    ///
    /// # Errors
    /// When the image of one is gone and cannot be made again.
    pub fn hosts(&self) -> Result<Vec<Host>> {
        let records = self.recorded().hosts.clone();
        records.into_iter().map(|record| Host::attach(self, record)).collect()
    }

    /// Runs `cmd` in a shell on this side of the lab's network, as root, without a terminal.
    pub fn run_in_network(&self, cmd: &str) -> Output {
        self.run_args_in_network(&["sh", "-c", cmd], &[])
    }

    /// Runs a program with its arguments on this side of the lab's network, with `input` to read.
    pub fn run_args_in_network(&self, args: &[&str], input: &[u8]) -> Output {
        let seconds = PATIENCE.as_secs().to_string();
        let mut command = self.enter_network(&self.cgroup.join("net"));
        command.args(["timeout", "-k", "5", &seconds]).args(args);
        command::complete(command, format!("lab$ {}", args.join(" ")), input)
    }

    /// Runs a program on this side of the lab's network on the caller's terminal.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn terminal_in_network(&self, args: &[&str]) -> Result<ExitStatus> {
        let mut command = self.enter_network(&self.cgroup.join("net"));
        command.args(args).status().with_context(|| format!("cannot start `{}`", args.join(" ")))
    }

    /// Starts `cmd` in a shell on this side of the lab's network; it ends when it is dropped.
    #[must_use]
    pub fn spawn_in_network(&self, cmd: &str) -> Background {
        self.spawn_args_in_network(&["sh", "-c", cmd])
    }

    /// Starts a program with its arguments on this side of the lab's network; it ends when it is dropped.
    #[must_use]
    pub fn spawn_args_in_network(&self, args: &[&str]) -> Background {
        let number = self.number().to_string();
        let cgroup = self.cgroup.join("net").join(&number);
        let mut command = self.enter_network(&cgroup);
        // In a session of its own: an interrupt from the terminal is for whoever owns the lab.
        command.arg("setsid").args(args);
        let log = self.run.join("background").join(number);
        Background::start(command, format!("lab$ {}", args.join(" ")), cgroup, log)
    }

    /// A command that will run in the lab's network and in `cgroup`; the program and its arguments are still to be added.
    pub(crate) fn enter_network(&self, cgroup: &Path) -> Command {
        if let Err(error) = cgroup::make(cgroup) {
            panic!("{error:#}");
        }
        let mut command = Command::new("sh");
        command
            .args(["-eu", "-c", ENTER])
            .arg(cgroup)
            .arg(format!("/run/netns/{}", self.name))
            .arg(self.hosts_file())
            .env("LANG", "C.UTF-8");
        command
    }

    /// A directory of this lab, which goes with it, for keys, states and the like.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.run.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(path)
    }

    /// Lets the lab go on after this process: [`Lab::attach`] finds it, [`Lab::remove`] ends it.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub fn keep(mut self) -> Result<()> {
        self.recorded().owner = None;
        self.save()?;
        if let Some(mut guard) = self.guard.take() {
            if let Some(mut stdin) = guard.stdin.take() {
                stdin.write_all(b"keep\n").context("cannot dismiss the lab's guard")?;
            }
            guard.wait().context("cannot wait for the lab's guard")?;
        }
        Ok(())
    }

    /// Removes the lab, now.
    ///
    /// # Errors
    /// When something of it is left.
    pub fn remove(mut self) -> Result<()> {
        self.guard = match self.guard.take() {
            Some(guard) => Some(guard),
            None => Some(self.start_guard()?),
        };
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut guard) = self.guard.take() else {
            return Ok(());
        };
        drop(guard.stdin.take());
        let output = guard.wait_with_output().context("cannot wait for the lab's guard")?;
        if !output.status.success() {
            bail!(
                "something of the lab `{}` is left:\n{}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// In a session of its own, so that an interrupt from the terminal does not end it before its time.
    fn start_guard(&self) -> Result<Child> {
        Command::new("setsid")
            .args(["sh", "-u", "-c", CLEANUP, "cleanup.sh"])
            .args([&self.run, &self.cgroup])
            .args([&self.name, "guard"])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the lab's guard")
    }

    /// Notes down a new host and gives it its place in the network.
    pub(crate) fn admit(
        &self,
        name: &str,
        hostname: &str,
        release: Release,
        image: Image,
    ) -> Result<HostRecord> {
        let host = {
            let mut record = self.recorded();
            let host = HostRecord {
                name: name.to_owned(),
                hostname: hostname.to_owned(),
                release,
                image,
                index: record.hosts.len(),
            };
            record.hosts.push(host.clone());
            host
        };
        let line = format!("{} {}\n", network::address(host.index), host.names().join(" "));
        fs::OpenOptions::new()
            .append(true)
            .open(self.hosts_file())
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .context("cannot add to the lab's hosts file")?;
        self.save()?;
        Ok(host)
    }

    /// Counts up: for names that must not repeat within the lab.
    pub(crate) fn number(&self) -> usize {
        self.commands.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    pub(crate) fn recorded(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn save(&self) -> Result<()> {
        self.recorded().write(&self.run)
    }

    pub(crate) fn hosts_file(&self) -> PathBuf {
        self.run.join("hosts")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Allows [`WATCHERS`]. Where that cannot be, few hosts at a time still work.
fn allow_watchers() {
    let (path, wanted) = WATCHERS;
    let allowed = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if allowed.is_some_and(|allowed| allowed < wanted)
        && let Err(error) = fs::write(path, wanted.to_string())
    {
        eprintln!("cannot write `{path}`: {error}; hosts beyond about 16 at a time will not boot");
    }
}
