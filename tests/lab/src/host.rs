//! A host of the lab: a booted Debian system with its own disk, network, PID 1, sshd, sudo and glibc.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{self, Background, Output, PATIENCE};
use crate::lab::{HostRecord, Lab};
use crate::release::Release;
use crate::{cgroup, network};

mod builder;
mod files;
mod machine;
mod package;

pub use builder::HostBuilder;
pub use files::{Entry, Tree};
pub(crate) use machine::Machine;

/// Without what the tests' own commands leave there.
const LAST_OF_JOURNAL: &str =
    "journalctl --no-pager -n 600 -o short-precise | grep -v ' runuser\\[' | tail -n 60";

/// Enters a host: `sh -c ENTER CGROUP LEADER COMMAND...`.
const ENTER: &str = r#"
echo $$ >"$0/cgroup.procs"
leader=$1
shift
exec nsenter -t "$leader" -m -u -i -n -p -C -- "$@"
"#;

/// All that a command inside finds in its environment.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
];

/// Runs `$2` in a shell as the user `$1`, whoever answers for that user in NSS, without PAM.
const AS_USER: &str = r#"
home=$(getent passwd "$1" | cut -d: -f6)
exec setpriv --reuid="$(id -u "$1")" --regid="$(id -g "$1")" --init-groups -- env HOME="$home" USER="$1" LOGNAME="$1" sh -c "$2"
"#;

/// How a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum State {
    /// All its units were started.
    Running,
    /// It boots or shuts down.
    Between,
    /// It was shut down, or lost its power.
    Off,
}

/// A booted host. Dropping it ends it as a power cut would; its disk goes with the lab.
#[derive(Debug)]
pub struct Host {
    record: HostRecord,
    lab: String,
    machine: Machine,
    /// For names that must not repeat on this host.
    count: AtomicUsize,
    /// A host found by [`Lab::attach`] is somebody else's to end.
    owned: bool,
}

impl Host {
    pub(crate) fn boot(lab: &Lab, record: HostRecord) -> Result<Self> {
        let mut host = Self::of(lab, record)?;
        host.owned = true;
        network::plug(&host.lab, &host.machine.name, host.record.index)?;
        host.machine.start()?;
        Ok(host)
    }

    /// A host that another process booted, whether it runs or not.
    pub(crate) fn attach(lab: &Lab, record: HostRecord) -> Result<Self> {
        Self::of(lab, record)
    }

    fn of(lab: &Lab, record: HostRecord) -> Result<Self> {
        let directory = lab.directory(&format!("host-{}", record.name))?;
        let name = format!("{}-{}", lab.name(), record.name);
        let cgroup = lab.cgroup().join(format!("host-{}", record.name));
        let machine = Machine::new(record.image.clone(), directory, cgroup, name, record.hostname.clone());
        Ok(Self { record, lab: lab.name().to_owned(), machine, count: AtomicUsize::new(0), owned: false })
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What it calls itself.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.record.hostname
    }

    /// What it runs.
    #[must_use]
    pub fn release(&self) -> Release {
        self.record.release
    }

    /// Its address in the lab's network.
    #[must_use]
    pub fn address(&self) -> String {
        network::address(self.record.index)
    }

    /// How it is.
    pub fn state(&self) -> State {
        let asked = self.try_enter(&self.machine.commands()).map(|mut command| {
            command.args(["timeout", "5", "systemctl", "is-system-running"]);
            command::complete(command, format!("{}# systemctl is-system-running", self.record.name), &[])
        });
        match asked {
            Ok(answer) if matches!(answer.stdout.trim(), "running" | "degraded") => State::Running,
            _ if self.machine.is_off() => State::Off,
            _ => State::Between,
        }
    }

    /// Runs `cmd` in a shell as root, without a terminal, for at most a minute.
    #[track_caller]
    pub fn run(&self, cmd: &str) -> Output {
        self.run_args(&["sh", "-c", cmd], &[], PATIENCE)
    }

    /// Runs `cmd` in a shell as root, for as long as `patience` allows.
    #[track_caller]
    pub fn run_within(&self, patience: Duration, cmd: &str) -> Output {
        self.run_args(&["sh", "-c", cmd], &[], patience)
    }

    /// Runs `cmd` in a shell as root, with `input` to read.
    #[track_caller]
    pub fn run_with_input(&self, cmd: &str, input: &[u8]) -> Output {
        self.run_args(&["sh", "-c", cmd], input, PATIENCE)
    }

    /// Runs `cmd` in a shell as `user`, without a session of its own.
    #[track_caller]
    pub fn run_as(&self, user: &str, cmd: &str) -> Output {
        self.run_args(&["sh", "-eu", "-c", AS_USER, "as-user", user, cmd], &[], PATIENCE)
    }

    /// Runs `cmd` in a shell as root and returns what it printed.
    ///
    /// # Panics
    /// When it fails, with everything it said.
    #[track_caller]
    #[must_use]
    pub fn ok(&self, cmd: &str) -> String {
        self.run(cmd).expect_success()
    }

    /// Runs `cmd` in a shell as root, which must succeed.
    ///
    /// # Panics
    /// When it fails, with everything it said.
    #[track_caller]
    pub fn must(&self, cmd: &str) {
        let _ = self.ok(cmd);
    }

    /// Runs a program with its arguments, quoted by nobody, with `input` to read.
    #[track_caller]
    pub fn run_args(&self, args: &[&str], input: &[u8], patience: Duration) -> Output {
        let label = format!("{}# {}", self.record.name, shown(args));
        let mut command = self.enter(&self.machine.commands());
        command.args(["timeout", "-k", "5", &patience.as_secs_f64().to_string()]).args(args);
        command::complete(command, label, input)
    }

    /// Starts `cmd` in a shell as root; it ends when it is dropped.
    #[track_caller]
    #[must_use]
    pub fn spawn(&self, cmd: &str) -> Background {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let group = self.machine.commands().join(number.to_string());
        let mut command = self.enter(&group);
        command.args(["sh", "-c", cmd]);
        let log = self.machine.directory.join("background").join(number.to_string());
        Background::start(command, format!("{}# {cmd}", self.record.name), group, log)
    }

    /// A command that will run inside; the program and its arguments are still to be added.
    #[track_caller]
    pub(crate) fn enter(&self, group: &std::path::Path) -> Command {
        match self.try_enter(group) {
            Ok(command) => command,
            Err(error) => panic!("{error:#}\n{}", self.machine.console_tail()),
        }
    }

    fn try_enter(&self, group: &std::path::Path) -> Result<Command> {
        let leader = self.machine.leader()?;
        // Gone after a reboot that the host made by itself.
        cgroup::make(group)?;
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", ENTER]).arg(group).arg(leader.to_string());
        command.env_clear().envs(ENVIRONMENT);
        Ok(command)
    }

    /// Gives the caller's terminal to a root shell inside until it is left.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn shell(&self) -> Result<()> {
        let mut command = self.enter(&self.machine.commands());
        command.env("TERM", std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned()));
        command.args(["bash", "--login"]).status().map(|_| ()).context("cannot start a shell")
    }

    /// Waits until `cmd`, run as root, succeeds; returns how long that took and what it then printed.
    ///
    /// # Panics
    /// When it never does within `patience`.
    #[track_caller]
    pub fn wait_until_ok(&self, patience: Duration, cmd: &str) -> (Duration, String) {
        self.wait_for(patience, &format!("`{cmd}` to succeed"), |host| {
            let output = host.run(cmd);
            if output.success() { Ok(output.stdout) } else { Err(output.to_string()) }
        })
    }

    /// Calls `look` until it has an answer; see [`crate::wait_for`]. A failure also shows what the journal said last.
    ///
    /// # Panics
    /// When there is no answer within `patience`.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        patience: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> (Duration, T) {
        let what = format!("{what} on {}", self.record.name);
        let deadline = std::time::Instant::now() + patience;
        crate::wait_for(patience, &what, || {
            look(self).map_err(|mut seen| {
                if std::time::Instant::now() >= deadline {
                    let journal = self.run(LAST_OF_JOURNAL).stdout;
                    let _infallible = write!(seen, "\n--- journal\n{journal}");
                }
                seen
            })
        })
    }

    /// What `unit` wrote to the journal since the host booted, messages only.
    #[track_caller]
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        let args = ["journalctl", "--no-pager", "--boot", "--output=cat", "--unit", unit];
        self.run_args(&args, &[], PATIENCE).expect_success()
    }

    /// Shuts it down and boots it again.
    ///
    /// # Errors
    /// When it does not shut down or come up in time; the end of its console is part of the error.
    pub fn reboot(&self) -> Result<()> {
        self.power_off()?;
        self.machine.start()
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn power_off(&self) -> Result<()> {
        let asked = self.run("systemctl poweroff --no-block");
        if !asked.success() {
            bail!("cannot shut down: {asked}");
        }
        self.machine.await_end()
    }

    /// Boots it again after [`Host::power_off`] or [`Host::cut_power`].
    ///
    /// # Errors
    /// When it does not come up in time; the end of its console is part of the error.
    pub fn start(&self) -> Result<()> {
        self.machine.start()
    }

    /// Ends everything on it at once. What it had written is on its disk, synced or not.
    pub fn cut_power(&self) {
        self.machine.kill();
    }

    /// Lets it run on after this value is gone; for a lab that is kept.
    pub fn keep(mut self) {
        self.owned = false;
    }

    /// Takes it off the network.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn unplug(&self) -> Result<()> {
        network::set_link(&self.lab, self.record.index, "down")
    }

    /// Puts it back on the network.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn plug(&self) -> Result<()> {
        network::set_link(&self.lab, self.record.index, "up")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.owned {
            self.machine.kill();
        }
    }
}

/// A shell's own words need not be repeated in a message.
fn shown(args: &[&str]) -> String {
    match args {
        ["sh", "-c", cmd] => (*cmd).to_owned(),
        ["sh", "-eu", "-c", AS_USER, _, user, cmd] => format!("[{user}] {cmd}"),
        other => other.join(" "),
    }
}
