//! `hostward unenroll`: the host leaves its project.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use hostward_protocol::local::{AgentReply, AgentRequest, ApplyReply, ApplyRequest};

use crate::ask::{self, AskError};
use crate::input::InputError;
use crate::{caller, exit, show, state};

const STATE: &str = "/var/lib/hostward-agent";
const IDENTITY: &str = "/var/lib/hostward-agent/identity/host.json";

/// Leaves. The backend is told first, because afterwards there is nothing left to tell it with.
pub fn run(yes: bool, local: bool) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        return Err(AskError::NotRoot.into());
    }
    // It ends all managed users' sessions and what they started through sudo: this as well, and a package manager that
    // called it, half way.
    if let Some(user) = caller::managed()? {
        eprintln!(
            "hostward: this runs in a session of the managed user {}, which leaving the project ends before it is done; \
             nothing was changed. Log in as root or with a local account, over SSH or at the console, and try again",
            show::clean(&user)
        );
        return Ok(ExitCode::from(exit::OWN_SESSION));
    }
    if !yes && !confirmed()? {
        println!("nothing was changed");
        return Ok(ExitCode::from(exit::ATTENTION));
    }
    let is_gone = leave(if local { AgentRequest::Forget } else { AgentRequest::Unenroll });
    match ask::apply(&ApplyRequest::Unenroll)? {
        ApplyReply::Report(report) if report.is_whole() => {
            println!("everything hostward wrote is removed; homes are left as they are");
            Ok(if is_gone { ExitCode::SUCCESS } else { ExitCode::from(exit::ATTENTION) })
        }
        ApplyReply::Report(report) => {
            eprint!("{}", show::report(&report));
            eprintln!("something is left; mend it and run `hostward unenroll` again");
            Ok(ExitCode::from(exit::ATTENTION))
        }
        ApplyReply::Failed(finding) => {
            eprint!("{}", show::finding(&finding));
            Ok(ExitCode::from(exit::ATTENTION))
        }
        other => Err(AskError::Unexpected(format!("{other:?}")).into()),
    }
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(InputError::Unconfirmed.into());
    }
    let users = state::host()?.map_or(0, |host| host.users);
    print!(
        "This removes {users} managed users from this host and ends their sessions. Homes stay. Go on? [y/N] "
    );
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A backend that cannot be told, or an agent that cannot, does not keep a host from leaving. Returns whether nothing
/// is left to be done by hand that was not asked for.
fn leave(request: AgentRequest) -> bool {
    let (text, is_gone) = left(&request, ask::agent(&request), std::fs::symlink_metadata(IDENTITY).is_ok());
    if is_gone {
        print!("{text}")
    } else {
        eprint!("{text}")
    }
    is_gone
}

/// What to say of the answer, and whether it is as it should be. `is_identity`: the agent still has one.
fn left(request: &AgentRequest, reply: Result<AgentReply, AskError>, is_identity: bool) -> (String, bool) {
    match reply {
        Ok(AgentReply::Unenrolled { told_backend: Ok(()) }) => {
            ("the backend knows that this host has left\n".into(), true)
        }
        Ok(AgentReply::Unenrolled { told_backend: Err(finding) }) => {
            let why = show::finding(&finding);
            (format!("the backend could not be told; remove the host there by hand:\n{why}"), false)
        }
        Ok(AgentReply::Forgotten { listed: None }) => {
            ("this host was not enrolled: there is no backend to tell\n".into(), true)
        }
        Ok(AgentReply::Forgotten { listed: Some(listed) }) => {
            let (url, id) = (show::clean(&listed.url), show::clean(&listed.host_id));
            let text = format!(
                "the backend {url} was not told and goes on listing this host; remove it there: {id}\n"
            );
            (text, *request == AgentRequest::Forget)
        }
        Ok(AgentReply::Failed(finding)) => (remains(&show::finding(&finding)), false),
        Ok(other) => (remains(&format!("  {}\n", AskError::Unexpected(format!("{other:?}")))), false),
        Err(_) if !is_identity => ("this host was not enrolled: there is no backend to tell\n".into(), true),
        Err(error) => (
            remains(&format!("  {}\n", show::paragraph(&hostward_protocol::causes::chain(&error), "    "))),
            false,
        ),
    }
}

/// What is left, and how to be rid of it.
fn remains(why: &str) -> String {
    format!(
        "the agent could not be made to forget what this host is enrolled as:\n{why}\
         left: {IDENTITY}, with which it goes on talking to the backend, and the host's entry there\n\
         mend: run `systemctl start hostward.socket`, then `hostward unenroll` again; or run\n\
         \x20     `systemctl stop hostward.socket hostward.service`, then `rm -rf {STATE}/identity {STATE}/*.json`,\n\
         \x20     and remove the host on the backend\n"
    )
}

#[cfg(test)]
mod tests {
    use hostward_protocol::local::Listed;

    use super::*;

    fn unreachable() -> AskError {
        AskError::Unreachable {
            socket: "/run/hostward/agent.sock",
            unit: "hostward.socket",
            source: std::io::ErrorKind::ConnectionRefused.into(),
        }
    }

    #[test]
    fn a_backend_that_there_is_not_is_not_said_to_know() {
        for request in [AgentRequest::Unenroll, AgentRequest::Forget] {
            let none = || Ok(AgentReply::Forgotten { listed: None });
            for (reply, identity) in [(none(), true), (none(), false), (Err(unreachable()), false)] {
                let (text, is_gone) = left(&request, reply, identity);
                assert!(is_gone && text.contains("was not enrolled"), "{text}");
            }
        }
    }

    #[test]
    fn what_the_backend_goes_on_listing_is_said() {
        let listed = Listed { url: "https://b.example/".into(), host_id: "h1".into() };
        let reply = || Ok(AgentReply::Forgotten { listed: Some(listed.clone()) });
        let (text, is_gone) = left(&AgentRequest::Forget, reply(), true);
        assert!(is_gone && text.contains("https://b.example/") && text.contains("h1"), "{text}");
        assert!(!left(&AgentRequest::Unenroll, reply(), true).1, "it was to be told");
    }

    #[test]
    fn an_agent_that_cannot_be_asked_leaves_its_identity_and_that_is_said() {
        for request in [AgentRequest::Unenroll, AgentRequest::Forget] {
            let (text, is_gone) = left(&request, Err(unreachable()), true);
            assert!(!is_gone);
            for word in [IDENTITY, "systemctl start hostward.socket", "rm -rf", "on the backend"] {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
    }
}
