//! `hostward enroll`: puts a token where root's process looks for it, and waits for what comes of it.

mod outcome;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use hostward_protocol::local::EnrollmentState;
use hostward_protocol::token::{EnrollmentToken, MAX_TOKEN_LEN};

use crate::ask::AskError;
use crate::input::InputError;
use crate::{exit, show, state};
use outcome::{Attempt, Progress, Seen};

const DIRECTORY: &str = "/etc/hostward";
const TOKEN: &str = "/etc/hostward/enrollment.token";
const TEMPORARY: &str = "/etc/hostward/.enrollment.token.new";
/// Where root keeps it while it is tried.
const TAKEN: &str = "/var/lib/hostward/private/enrollment.token";

/// Enrolls with the token in `source`.
pub fn run(source: Option<&Path>, wait: u64) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(AskError::NotRoot.into());
    }
    let text = read(source)?;
    let token = parse(&text)?;
    let before = match state::agent()?.map(|agent| agent.enrollment) {
        Some(EnrollmentState::Enrolled { host_id, .. }) => Some(host_id),
        _ => None,
    };
    let attempt = Attempt { started: Utc::now(), before };
    place(&text)?;
    println!("token for project {} at {} is in place", show::clean(&token.project), show::clean(&token.url));
    await_outcome(&attempt, Duration::from_secs(wait))
}

fn read(source: Option<&Path>) -> Result<String, InputError> {
    let mut text = String::new();
    let read = match source.filter(|path| path.as_os_str() != "-") {
        Some(path) => {
            fs::File::open(path).and_then(|file| file.take(MAX_TOKEN_LEN).read_to_string(&mut text))
        }
        None => std::io::stdin().take(MAX_TOKEN_LEN).read_to_string(&mut text),
    };
    let file = || source.map_or("standard input".into(), |path| path.display().to_string());
    read.map_err(|source| InputError::Unreadable { file: file(), source })?;
    Ok(text.trim().to_owned())
}

/// Checked here so that a paste that lost its end is told at once and not by the journal.
fn parse(text: &str) -> Result<EnrollmentToken, InputError> {
    if text.is_empty() {
        return Err(InputError::EmptyToken);
    }
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or(InputError::NoToken)
}

fn place(text: &str) -> anyhow::Result<()> {
    let put = || -> std::io::Result<()> {
        _ = fs::remove_file(TEMPORARY);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(TEMPORARY)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(TEMPORARY, TOKEN)?;
        fs::File::open(DIRECTORY)?.sync_all()
    };
    put().with_context(|| format!("cannot put the token into `{TOKEN}`"))
}

fn await_outcome(attempt: &Attempt, wait: Duration) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + wait;
    let mut is_announced = false;
    loop {
        // Before the statuses: once both are gone, what these say is what came of the token.
        let untaken = fs::symlink_metadata(TOKEN).is_ok();
        let is_over = !untaken && fs::symlink_metadata(TAKEN).is_err();
        let (agent, host) = (state::agent()?, state::host()?);
        let seen = Seen { agent: agent.as_ref(), host: host.as_ref(), is_over, untaken };
        match attempt.judge(&seen) {
            Progress::InForce { host_id, host } => {
                println!(
                    "enrolled as host {}; {} managed users can log in",
                    show::clean(host_id),
                    host.users
                );
                if !host.failures.is_empty() || host.refused > 0 {
                    println!("not all of the policy is in force: see `hostward status`");
                }
                return Ok(ExitCode::SUCCESS);
            }
            Progress::Enrolled { host_id } => {
                if !std::mem::replace(&mut is_announced, true) {
                    println!("enrolled as host {}; waiting for the policy", show::clean(host_id));
                }
            }
            Progress::GivenUp(reason) => {
                eprint!("not enrolled{}:\n{}", attempt.remains(), show::finding(reason));
                if untaken {
                    eprintln!(
                        "the token stays in {TOKEN} and is tried again when something changes in {DIRECTORY}"
                    );
                }
                return Ok(ExitCode::from(exit::ATTENTION));
            }
            Progress::Waiting => {}
        }
        if Instant::now() >= deadline {
            eprint!("{}", attempt.timed_out(&seen));
            return Ok(ExitCode::from(exit::ATTENTION));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_token_is_told_from_a_whole_one() {
        let json = br#"{"url":"https://b.example","project":"acme","secret":"s"}"#;
        let whole = URL_SAFE_NO_PAD.encode(json);
        assert_eq!(parse(&whole).unwrap().project, "acme");
        assert!(parse(&whole[..whole.len() / 2]).unwrap_err().to_string().contains("whole line"));
        assert!(parse("").unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = read(Some(Path::new("/nonexistent/token"))).unwrap_err();
        assert!(error.to_string().contains("`/nonexistent/token`"), "{error}");
    }
}
