//! `hostward unenroll`: the host leaves its project.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::bail;
use hostward_protocol::local::{AgentReply, AgentRequest, ApplyReply, ApplyRequest};

use crate::ask::{self, AskError};
use crate::command::exit;
use crate::{caller, show, state};

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
    let told = if local { true } else { tell_backend() };
    match ask::apply(&ApplyRequest::Unenroll)? {
        ApplyReply::Report(report) if report.is_whole() => {
            println!("everything hostward wrote is removed; homes are left as they are");
            Ok(if told { ExitCode::SUCCESS } else { ExitCode::from(exit::ATTENTION) })
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
        bail!("this removes all managed accounts from this host; say --yes where nobody can be asked");
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

/// A backend that cannot be told does not keep a host from leaving.
fn tell_backend() -> bool {
    match ask::agent(&AgentRequest::Unenroll) {
        Ok(AgentReply::Unenrolled { told_backend: Ok(()) }) => {
            println!("the backend knows that this host has left");
            true
        }
        Ok(AgentReply::Unenrolled { told_backend: Err(finding) } | AgentReply::Failed(finding)) => {
            eprint!(
                "the backend could not be told; remove the host there by hand:\n{}",
                show::finding(&finding)
            );
            false
        }
        Ok(other) => {
            eprintln!("{}", AskError::Unexpected(format!("{other:?}")));
            false
        }
        Err(error) => {
            eprintln!(
                "the backend could not be told; remove the host there by hand: {}",
                show::chain(&error)
            );
            false
        }
    }
}
