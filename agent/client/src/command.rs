//! From what was typed to what is done.

use std::process::ExitCode;

use hostward_protocol::local::{AgentReply, AgentRequest, ApplyReply, ApplyRequest};
use hostward_protocol::report::{Cause, Finding, Report};
use serde::Serialize;

use crate::ask::{self, AskError};
use crate::cli::{Cli, Command, Format};
use crate::{doctor, enroll, generate, show, status, unenroll};

/// Exit statuses.
pub mod exit {
    /// Something needs attention.
    pub const ATTENTION: u8 = 1;
    /// hostward could not be asked.
    pub const CANNOT_ASK: u8 = 3;
    /// `unenroll` would end the session that it was called from. The package's prerm goes by it.
    pub const OWN_SESSION: u8 = 4;
}

/// Carries out the command.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Status(format) => status::run(format),
        Command::Doctor(format) => doctor::run(format),
        Command::Plan(format) => text(ApplyRequest::Plan, format),
        Command::Explain { user, format } => text(ApplyRequest::Explain { user }, format),
        Command::Apply { format, quiet } => apply(format, quiet),
        Command::Sync(format) => sync(format),
        Command::Enroll { token, wait } => enroll::run(token.as_deref(), wait),
        Command::Unenroll { yes, local } => unenroll::run(yes, local),
        Command::Version(format) => version(format),
        Command::Generate { what } => generate::run(what),
    }
}

fn text(request: ApplyRequest, format: Format) -> anyhow::Result<ExitCode> {
    match ask::apply(&request)? {
        ApplyReply::Text { text, json } => {
            if format.json {
                print_json(&json)?;
            } else {
                println!("{}", show::clean_lines(text.trim_end()));
            }
            Ok(ExitCode::SUCCESS)
        }
        ApplyReply::Failed(finding) => failed(&finding, format),
        other => Err(AskError::Unexpected(format!("{other:?}")).into()),
    }
}

fn apply(format: Format, quiet: bool) -> anyhow::Result<ExitCode> {
    let cause = if quiet { Cause::Timer } else { Cause::Operator };
    match ask::apply(&ApplyRequest::Apply { cause })? {
        ApplyReply::Report(report) => report_outcome(&report, format, quiet),
        ApplyReply::Failed(finding) => failed(&finding, format),
        other => Err(AskError::Unexpected(format!("{other:?}")).into()),
    }
}

fn sync(format: Format) -> anyhow::Result<ExitCode> {
    match ask::agent(&AgentRequest::Sync)? {
        AgentReply::Synced { report: Some(report) } => report_outcome(&report, format, false),
        AgentReply::Synced { report: None } => {
            if format.json {
                print_json(&serde_json::json!({ "changed": false }))?;
            } else {
                println!("nothing new; the policy in force is the newest one");
            }
            Ok(ExitCode::SUCCESS)
        }
        AgentReply::Failed(finding) => failed(&finding, format),
        other => Err(AskError::Unexpected(format!("{other:?}")).into()),
    }
}

fn report_outcome(report: &Report, format: Format, quiet: bool) -> anyhow::Result<ExitCode> {
    if format.json {
        print_json(report)?;
    } else if !quiet {
        print!("{}", show::report(report));
    } else if !report.is_whole() {
        eprint!("{}", show::report(report));
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(exit::ATTENTION) })
}

fn failed(finding: &Finding, format: Format) -> anyhow::Result<ExitCode> {
    if format.json {
        print_json(finding)?;
    } else {
        eprint!("{}", show::finding(finding));
    }
    Ok(ExitCode::from(exit::ATTENTION))
}

fn version(format: Format) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if format.json {
        print_json(&serde_json::json!({ "version": version }))?;
    } else {
        println!("hostward {version}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a value for a program.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
