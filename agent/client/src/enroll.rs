//! `hostward enroll`: puts a token where root's process looks for it, and waits for what comes of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hostward_protocol::local::{AgentStatus, EnrollmentState, HostStatus};
use hostward_protocol::token::{EnrollmentToken, MAX_TOKEN_LEN};

use crate::ask::AskError;
use crate::command::exit;
use crate::{show, state};

const DIRECTORY: &str = "/etc/hostward";
const TOKEN: &str = "/etc/hostward/enrollment.token";
const TEMPORARY: &str = "/etc/hostward/.enrollment.token.new";

/// Enrolls with the token in `source`.
pub fn run(source: Option<&Path>, wait: u64) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(AskError::NotRoot.into());
    }
    let text = read(source)?;
    let token = parse(&text)?;
    let started = Utc::now();
    place(&text)?;
    println!("token for project {} at {} is in place", show::clean(&token.project), show::clean(&token.url));
    await_outcome(started, Duration::from_secs(wait))
}

fn read(source: Option<&Path>) -> anyhow::Result<String> {
    let mut text = String::new();
    match source.filter(|path| path.as_os_str() != "-") {
        Some(path) => fs::File::open(path)
            .and_then(|file| file.take(MAX_TOKEN_LEN).read_to_string(&mut text))
            .with_context(|| format!("cannot read the token in `{}`", path.display()))?,
        None => {
            std::io::stdin().take(MAX_TOKEN_LEN).read_to_string(&mut text).context("cannot read the token")?
        }
    };
    Ok(text.trim().to_owned())
}

/// Checked here so that a paste that lost its end is told at once and not by the journal.
fn parse(text: &str) -> anyhow::Result<EnrollmentToken> {
    if text.is_empty() {
        bail!("the token is empty; copy the whole line that the backend printed");
    }
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .context(
            "this is no enrollment token, or a part of one; copy the whole line that the backend printed",
        )
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

fn await_outcome(started: DateTime<Utc>, wait: Duration) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + wait;
    let mut admitted_since = None;
    loop {
        let agent = state::agent()?.filter(|agent| agent.at >= started);
        let host = state::host()?.filter(|host| host.at >= started);
        match agent.as_ref().map(|a| &a.enrollment) {
            Some(EnrollmentState::Enrolled { host_id, .. }) => {
                if let Some(host) = host.as_ref().filter(|host| host.policy.is_some()) {
                    println!(
                        "enrolled as host {}; {} managed users can log in",
                        show::clean(host_id),
                        host.users
                    );
                    return Ok(ExitCode::SUCCESS);
                }
                if admitted_since.replace(()).is_none() {
                    println!("enrolled as host {}; waiting for the policy", show::clean(host_id));
                }
            }
            Some(EnrollmentState::Refused { reason }) => {
                eprint!("not enrolled:\n{}", show::finding(reason));
                return Ok(ExitCode::from(exit::ATTENTION));
            }
            _ => {}
        }
        if Instant::now() >= deadline {
            eprint!("{}", timed_out(agent.as_ref(), host.as_ref()));
            return Ok(ExitCode::from(exit::ATTENTION));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn timed_out(agent: Option<&AgentStatus>, host: Option<&HostStatus>) -> String {
    let refused = host.and_then(|host| host.admission.as_ref());
    match agent {
        None => "no word from the agent; is it running? See `systemctl status hostward`\n".into(),
        Some(AgentStatus { problem: Some(problem), .. }) => {
            format!("not yet; the agent keeps trying:\n{}", show::finding(problem))
        }
        Some(AgentStatus { enrollment: EnrollmentState::Enrolled { .. }, .. }) if refused.is_some() => {
            let refused = refused.map(show::finding).unwrap_or_default();
            format!("enrolled, but the policy is not admitted; the agent keeps trying:\n{refused}")
        }
        Some(_) => "not yet; the agent keeps trying, see `hostward status`\n".into(),
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
}
