//! `hostward doctor`: each part of the host that access depends on, and its mend.

mod agent;
mod files;
mod nsswitch;
mod pam;
mod ssh;
mod sshd;
mod sudo;

use std::process::ExitCode;

use serde::Serialize;

use crate::ask::AskError;
use crate::cli::Format;
use crate::command::print_json;
use crate::{exit, show, state};

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What was found.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Good {
        /// What was seen.
        seen: String,
    },
    /// Does not concern this host.
    Absent {
        /// Why not.
        why: String,
    },
    /// Not as it should be.
    Bad {
        /// What was seen.
        seen: String,
        /// What to do.
        mend: String,
    },
}

impl Check {
    fn good(name: &'static str, seen: impl Into<String>) -> Self {
        Check { name, verdict: Verdict::Good { seen: seen.into() } }
    }

    fn absent(name: &'static str, why: impl Into<String>) -> Self {
        Check { name, verdict: Verdict::Absent { why: why.into() } }
    }

    fn bad(name: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Check { name, verdict: Verdict::Bad { seen: seen.into(), mend: mend.into() } }
    }
}

/// Runs all checks and prints them.
pub fn run(format: Format) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(AskError::NotRoot.into());
    }
    // Which file cannot be read is told by `agent`.
    let host = state::host().ok().flatten();
    let served = nsswitch::served();
    let checks: Vec<Check> = [
        nsswitch::checks(&served, host.as_ref()),
        files::checks(),
        pam::checks(),
        sshd::checks(served.as_ref().ok().and_then(|users| users.first()), host.as_ref()),
        ssh::checks(),
        sudo::checks(),
        agent::checks(),
    ]
    .into_iter()
    .flatten()
    .collect();
    if format.json {
        print_json(&checks)?;
    } else {
        checks.iter().for_each(print);
    }
    let bad = checks.iter().any(|check| matches!(check.verdict, Verdict::Bad { .. }));
    Ok(if bad { ExitCode::from(exit::ATTENTION) } else { ExitCode::SUCCESS })
}

fn print(check: &Check) {
    const INDENT: &str = "      ";
    match &check.verdict {
        Verdict::Good { seen } => println!("ok    {}: {}", check.name, show::paragraph(seen, INDENT)),
        Verdict::Absent { why } => println!("-     {}: {}", check.name, show::paragraph(why, INDENT)),
        Verdict::Bad { seen, mend } => {
            println!("BAD   {}: {}", check.name, show::paragraph(seen, INDENT));
            println!("      mend: {}", show::paragraph(mend, INDENT));
        }
    }
}

/// Runs a program of the system with a clean environment; its exit status and what it wrote.
fn output(program: &str, arguments: &[&str]) -> std::io::Result<(bool, String)> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null())
        .output()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), text))
}
