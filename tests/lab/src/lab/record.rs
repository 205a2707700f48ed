//! What is written down about a running lab, for later processes: who owns it and which hosts it has.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::release::Release;

const FILE: &str = "lab.json";

/// A running lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The process that ends the lab when it ends; none for a lab that was kept.
    pub owner: Option<Process>,
    /// The hosts that were booted.
    pub hosts: Vec<HostRecord>,
}

/// A process, told apart from later ones with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pid: u32,
    /// In clock ticks since the machine booted: field 22 of proc_pid_stat(5).
    start_time: u64,
}

/// A booted host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name in the lab.
    pub name: String,
    /// What it calls itself.
    pub hostname: String,
    /// What it runs.
    pub release: Release,
    /// The image below its own files.
    pub image: Image,
    /// Its place on the bridge.
    pub index: usize,
}

impl HostRecord {
    /// All its names, without repetition.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = vec![self.hostname.as_str()];
        if self.name != self.hostname {
            names.push(&self.name);
        }
        names
    }
}

impl Record {
    pub(crate) fn of_this_process() -> Result<Self> {
        Ok(Self { owner: Some(Process::current()?), hosts: Vec::new() })
    }

    pub(crate) fn read(run: &Path) -> Result<Self> {
        let path = run.join(FILE);
        let text = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("`{}` is damaged", path.display()))
    }

    pub(crate) fn write(&self, run: &Path) -> Result<()> {
        let path = run.join(FILE);
        let text = serde_json::to_vec_pretty(self).context("cannot encode the lab's record")?;
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.start_time)
    }
}

impl Process {
    pub(crate) fn current() -> Result<Self> {
        Self::number(std::process::id()).context("cannot read `/proc/self/stat`")
    }

    fn number(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command name, in parentheses, may itself hold spaces and parentheses.
        let (_, fields) = stat.rsplit_once(") ")?;
        let start_time = fields.split(' ').nth(19)?.parse().ok()?;
        Some(Self { pid, start_time })
    }

    pub(crate) fn is_alive(&self) -> bool {
        Self::number(self.pid).as_ref() == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_recycled_number_is_not_it() {
        let this = Process::number(std::process::id()).expect("own stat");
        assert!(this.is_alive());
        let earlier = Process { start_time: this.start_time - 1, ..this };
        assert!(!earlier.is_alive());
    }
}
