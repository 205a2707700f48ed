//! Commands that somebody ran with sudo, or was refused.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::event::Event;
use crate::kind::{Kind, Quota};
use crate::ocsf::{self, Severity, Status};
use crate::session::{Account, account};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SudoOutcome {
    /// The command was started.
    Allowed,
    /// It was not; why, as sudo says: `command not allowed`.
    Refused(String),
}

/// A command that somebody wanted to run with sudo.
#[derive(Clone, Debug, PartialEq)]
pub struct Sudo {
    /// Who asked.
    pub by: Account,
    /// As whom it was to run.
    pub run_as: Option<Account>,
    /// As which group, where one was asked for.
    pub group: Option<String>,
    /// The command and its arguments, as sudo wrote them; `None` where it did not say.
    pub command: Option<String>,
    /// sudo's own arguments as they were typed, where PAM's record has them; without `command` they are all that is known.
    pub asked: Option<String>,
    /// The record of PAM's that confirms it.
    pub record: Option<String>,
    /// Where it was asked for.
    pub directory: Option<String>,
    /// The terminal, without `/dev/`.
    pub tty: Option<String>,
    /// sudo's own process, which becomes the command or starts it.
    pub pid: u32,
    /// What sudo wrote can be read in more than one way, because somebody had a directory or argument look like a part of
    /// it. `command`, `run_as` and `directory` are the likeliest; this is all of it.
    pub ambiguous: Option<String>,
    /// What came of it.
    pub outcome: SudoOutcome,
    /// The login that it was asked for in, where that is known.
    pub login: Option<String>,
    /// The boot it happened in: 32 hexadecimal digits.
    pub boot: String,
}

impl Event {
    /// Somebody ran a command with sudo, or was refused it. What is refused takes the room of denials: anybody on the host
    /// can make those.
    pub fn sudo_command(at: DateTime<Utc>, sudo: &Sudo) -> Self {
        let asked = sudo.asked.as_ref().map(|asked| format!("sudo {asked}"));
        let command = sudo.command.as_deref().or(asked.as_deref()).unwrap_or("nothing");
        let run_as = sudo.run_as.as_ref().map_or("root", |user| user.name.as_str());
        let mut message = match &sudo.outcome {
            SudoOutcome::Allowed if sudo.command.is_none() && asked.is_some() => format!(
                "`{}` runs what `{command}` stands for as `{run_as}`; the journal does not say which command that is",
                sudo.by.name
            ),
            SudoOutcome::Allowed => format!("`{}` runs `{command}` as `{run_as}`", sudo.by.name),
            SudoOutcome::Refused(why) if sudo.command.is_none() => {
                format!("`{}` may not use sudo as `{run_as}`: {why}", sudo.by.name)
            }
            SudoOutcome::Refused(why) => {
                format!("`{}` may not run `{command}` as `{run_as}`: {why}", sudo.by.name)
            }
        };
        if sudo.ambiguous.is_some() {
            message.push_str(" (what sudo wrote can be read in another way)");
        }
        let severity = match (&sudo.outcome, &sudo.ambiguous) {
            (SudoOutcome::Allowed, None) => Severity::Informational,
            _ => Severity::Low,
        };
        let process = process(command, sudo.pid, sudo.run_as.as_ref());
        let actor = actor(&sudo.by, sudo.pid, sudo.login.as_deref());
        let mut event = Event::new(Kind::SudoCommand, at, severity, &sudo.by.name, &message)
            .in_boot(&sudo.boot)
            .with("process", process)
            .with("actor", actor);
        event = match &sudo.outcome {
            SudoOutcome::Allowed => event.outcome(Status::Success, None),
            SudoOutcome::Refused(why) => {
                event.outcome(Status::Failure, Some(("refused", why))).counted_as(Quota::Denials)
            }
        };
        if let Some(login) = &sudo.login {
            event = event.of_session(login);
        }
        let texts = [
            ("directory", &sudo.directory),
            ("tty", &sudo.tty),
            ("run_as_group", &sudo.group),
            ("ambiguous", &sudo.ambiguous),
            ("asked", &sudo.asked),
            ("record", &sudo.record),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                event = event.unmapped(name, ocsf::text(text));
            }
        }
        event
    }

    /// A command that somebody ran with sudo ended, as sudo says where it is told to (`log_exit_status`).
    pub fn sudo_exited(at: DateTime<Utc>, exited: &SudoExited) -> Self {
        let SudoExited { by, run_as, command, pid, code, signal, login, boot, record } = exited;
        let how = match signal {
            Some(signal) => format!("was ended by the signal {signal}"),
            None => format!("ended with the status {code}"),
        };
        let message = format!("`{command}`, run by `{}`, {how}", by.name);
        let mut event = Event::new(Kind::SudoExited, at, Severity::Informational, &by.name, &message)
            .in_boot(boot)
            .of_session(login)
            .with("process", process(command, *pid, run_as.as_ref()))
            .with("actor", actor(by, *pid, Some(login)))
            .with("exit_code", *code)
            .outcome(Status::Success, None)
            .unmapped("record", ocsf::text(record));
        if let Some(signal) = signal {
            event = event.unmapped("signal", ocsf::text(signal));
        }
        event
    }
}

/// How a command that somebody ran with sudo ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SudoExited {
    /// Who asked.
    pub by: Account,
    /// As whom it ran.
    pub run_as: Option<Account>,
    /// The command and its arguments, as sudo wrote them.
    pub command: String,
    /// sudo's own process.
    pub pid: u32,
    /// Its exit status; 128 and the signal's number where one ended it.
    pub code: u32,
    /// The signal, without `SIG`.
    pub signal: Option<String>,
    /// The login that it was asked for in.
    pub login: String,
    /// The boot it happened in: 32 hexadecimal digits.
    pub boot: String,
    /// The record of the session of sudo, which the event of the command names too.
    pub record: String,
}

fn process(command: &str, pid: u32, run_as: Option<&Account>) -> Value {
    let path = command.split(' ').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut process = json!({
        "pid": pid,
        "cmd_line": ocsf::text(command),
        "name": ocsf::text(name),
        "file": { "path": ocsf::text(path), "name": ocsf::text(name), "type_id": 1, "type": "Regular File" },
    });
    if let Some(user) = run_as {
        process["user"] = account(user);
    }
    process
}

fn actor(by: &Account, pid: u32, login: Option<&str>) -> Value {
    let mut actor = json!({ "user": account(by), "process": { "name": "sudo", "pid": pid } });
    if let Some(login) = login {
        actor["session"] = json!({ "uid": login });
    }
    actor
}
