//! From what was typed to what is done.

use std::process::ExitCode;

use hostward_protocol::local::{AgentReply, AgentRequest, ApplyReply, ApplyRequest, HostStatus};
use hostward_protocol::report::{Cause, Finding, Report};
use serde::Serialize;

use crate::ask::{self, AskError};
use crate::cli::{Cli, Command, Format};
use crate::service::{self, Loudness};
use crate::{doctor, enroll, events, exit, generate, show, state, status, unenroll};

/// Carries out the command.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Status(format) => status::run(format),
        Command::Doctor(format) => doctor::run(format),
        Command::Plan(format) => text(ApplyRequest::Plan, format),
        Command::Explain { user, format } => text(ApplyRequest::Explain { user }, format),
        Command::Apply { format, quiet } => apply(format, quiet),
        Command::Sync(format) => sync(format),
        Command::Events(options) => events::run(&options),
        Command::Enroll { token, wait } => enroll::run(token.as_deref(), wait),
        Command::Unenroll { yes, local } => unenroll::run(yes, local),
        Command::Ssh { name, command } => service::ssh(&name, &command),
        Command::Proxycommand { name: Some(name), port, .. } => service::proxycommand(&name, port),
        Command::Proxycommand { name: None, .. } => service::block(),
        Command::Resolve { name, quiet, format } => {
            let loudness = if quiet { Loudness::Quiet } else { Loudness::Normal };
            service::resolve(&name, loudness, format)
        }
        Command::Config { key, value } => service::config(key, value),
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
        AgentReply::Synced { report: None } => nothing_new(state::host()?.as_ref(), format),
        AgentReply::Failed(finding) => failed(&finding, format),
        other => Err(AskError::Unexpected(format!("{other:?}")).into()),
    }
}

/// That nothing came does not mean that all of what came before is in force.
fn nothing_new(host: Option<&HostStatus>, format: Format) -> anyhow::Result<ExitCode> {
    let (text, code) = since_last_pass(host);
    if format.json {
        print_json(&serde_json::json!({
            "changed": false,
            "admission": host.and_then(|host| host.admission.as_ref()),
            "failures": host.map(|host| &host.failures),
            "refused": host.map(|host| host.refused),
        }))?;
    } else {
        print!("{text}");
    }
    Ok(ExitCode::from(code))
}

fn since_last_pass(host: Option<&HostStatus>) -> (String, u8) {
    let unmet = host.map(status::unmet).unwrap_or_default();
    if unmet.is_empty() {
        ("nothing new; the policy in force is the newest one\n".into(), 0)
    } else {
        (format!("nothing new, but the last pass left something undone\n{unmet}"), exit::ATTENTION)
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
    Ok(ExitCode::from(outcome_code(report)))
}

/// What `status` says after it.
fn outcome_code(report: &Report) -> u8 {
    if report.is_whole() && report.refusals.is_empty() { 0 } else { exit::ATTENTION }
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

#[cfg(test)]
mod tests {
    use hostward_protocol::report::Responsible;

    use super::*;

    fn finding(message: &str) -> Finding {
        Finding {
            code: "x".into(),
            subject: "sudo".into(),
            message: message.into(),
            responsible: Responsible::Backend,
            mend: "mend it".into(),
        }
    }

    #[test]
    fn refusals_need_attention_after_an_apply_too() {
        let mut report = Report::new(Cause::Operator, chrono::DateTime::UNIX_EPOCH, "1");
        report.warnings.push(finding("only a warning"));
        assert_eq!(outcome_code(&report), 0);
        report.refusals.push(finding("refused"));
        assert_eq!(outcome_code(&report), exit::ATTENTION);
        report.refusals.clear();
        report.admission = Some(finding("not admitted"));
        assert_eq!(outcome_code(&report), exit::ATTENTION);
    }

    #[test]
    fn nothing_new_is_not_the_same_as_all_is_well() {
        let host = status::tests::host();
        assert_eq!(since_last_pass(None).1, 0);
        assert_eq!(since_last_pass(Some(&host)).1, 0);
        let failed = HostStatus { failures: vec![finding("visudo fails")], ..host.clone() };
        let (text, code) = since_last_pass(Some(&failed));
        assert!(code == exit::ATTENTION && text.contains("visudo fails"), "{text}");
        let refused = HostStatus { admission: Some(finding("rollback")), ..host.clone() };
        let (text, code) = since_last_pass(Some(&refused));
        assert!(code == exit::ATTENTION && text.contains("rollback"), "{text}");
        let entries = HostStatus { refused: 3, ..host };
        let (text, code) = since_last_pass(Some(&entries));
        assert!(code == exit::ATTENTION && text.contains("3 entries"), "{text}");
    }
}
