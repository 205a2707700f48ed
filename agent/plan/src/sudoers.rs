//! Entitlements as sudoers rules.
//!
//! Only what sudo 1.9.5 to 1.9.16 and sudo-rs 0.2.5 read alike, and as no more than was meant; everything else is
//! refused with its reason. "The parser accepts it" is no criterion: an unescaped `#` in an argument begins a comment, and
//! so allows any arguments.
//!
//! One rule a line, one command a rule: whatever is taken away costs no other rule, and sudo-rs' limit of 127 items a
//! list is never met. Must never emit a line that could make a file unreadable, because that spoils sudo for everybody.

mod argument;
mod environment;
mod file;
mod path;
mod raw;
mod run_as;

pub(crate) use file::{RuleSource, SudoersFile, changes, narrowed};

use hostward_protocol::document::{Arguments, Command, Entitlement, Entry};
use hostward_protocol::report::Finding;

use crate::facts::SudoDialect;
use crate::refusal::{Refusal, malformed};
use crate::text::shown;
use argument::Argument;
use environment::Environment;
use path::CommandPath;
use run_as::RunAs;

/// What decides what can be expressed.
#[derive(Clone, Copy, Debug)]
pub struct Dialects<'a> {
    /// The implementations of sudo that read the file.
    pub installed: &'a [SudoDialect],
    /// The operator accepts `raw` commands.
    pub allow_raw: bool,
}

impl Dialects<'_> {
    fn has_sudo_rs(self) -> bool {
        self.installed.contains(&SudoDialect::SudoRs)
    }
}

/// An entitlement as sudoers has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expressed {
    /// What comes after `WHO ALL=` in a rule, each on its own: `(root) NOPASSWD: /usr/bin/id`.
    pub rules: Vec<String>,
    /// Lines that hold for the commands whoever runs them, to come before the rules.
    pub environment: Vec<String>,
    /// What of it is refused.
    pub refusals: Vec<Finding>,
    /// What somebody should know of it.
    pub warnings: Vec<Finding>,
}

impl Expressed {
    /// A whole sudoers file that gives this to `who` (`%#70001`, or a user name).
    pub fn file_for(&self, who: &str) -> String {
        let rules = self.rules.iter().map(|rule| format!("{who} ALL={rule}"));
        let lines: Vec<String> = self.environment.iter().cloned().chain(rules).collect();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// The longest run of text that sudo-rs reads as one token is 1024 bytes; paths and argument lists stay below.
const MAX_TOKEN: usize = 1000;

/// Expresses an entitlement, command by command.
pub fn express(entitlement: &Entitlement, dialects: Dialects<'_>) -> Expressed {
    let mut expressed = Expressed::default();
    let subject = format!("entitlement `{}`", shown(&entitlement.name));
    let run_as = match RunAs::parse(&entitlement.run_as) {
        Ok(run_as) => run_as,
        Err(refusal) => return refused(expressed, &refusal, subject),
    };
    if entitlement.no_exec && dialects.has_sudo_rs() {
        return refused(expressed, &no_exec_on_sudo_rs(), subject);
    }
    let environment =
        match Environment::parse(&entitlement.env_keep, &entitlement.env_delete, &mut expressed, &subject) {
            Ok(environment) => environment,
            Err(refusal) => return refused(expressed, &refusal, subject),
        };
    let mut commands = Vec::new();
    for (number, command) in entitlement.commands.iter().enumerate() {
        let subject = format!("command {} of {subject}", number + 1);
        match command {
            Entry::Malformed { label, at } => {
                let mut finding = malformed("command", label, *at);
                finding.subject = subject;
                expressed.refusals.push(finding);
            }
            Entry::Shaped(command) => match self::command(command, dialects) {
                Ok(text) if commands.contains(&text) => {}
                Ok(text) => commands.push(text),
                Err(refusal) => expressed.refusals.push(refusal.about(subject)),
            },
        }
    }
    let tags = tags(entitlement);
    for run_as in run_as.specs() {
        let rule = |command: &String| format!("({run_as}) {tags}{command}");
        expressed.rules.extend(commands.iter().map(rule));
    }
    if !commands.is_empty() && !environment.is_empty() {
        expressed.environment = environment.lines(&commands);
        expressed.warnings.push(environment.shared_warning().about(subject));
    }
    expressed
}

fn refused(mut expressed: Expressed, refusal: &Refusal, subject: String) -> Expressed {
    expressed.refusals.push(refusal.about(subject));
    expressed
}

fn tags(entitlement: &Entitlement) -> String {
    let mut tags = String::new();
    for (wanted, tag) in [
        (entitlement.no_passwd, "NOPASSWD: "),
        (entitlement.set_env, "SETENV: "),
        (entitlement.no_exec, "NOEXEC: "),
    ] {
        if wanted {
            tags.push_str(tag);
        }
    }
    tags
}

fn no_exec_on_sudo_rs() -> Refusal {
    Refusal::operator(
        "entitlement-no-exec-unsupported",
        "it has `no_exec`, which sudo-rs, installed on this host, cannot enforce",
        "remove sudo-rs from this host, or grant an entitlement without `no_exec` here",
    )
}

/// The sudoers text of one command.
fn command(command: &Command, dialects: Dialects<'_>) -> Result<String, Refusal> {
    match command {
        Command::Executable { executable, arguments } => {
            let path = CommandPath::executable(executable)?;
            match arguments {
                Arguments::Any => Ok(path.into_text()),
                Arguments::None => Ok(format!("{} \"\"", path.into_text())),
                Arguments::Exact(list) => exact(path, list),
            }
        }
        Command::Directory { directory } => Ok(CommandPath::directory(directory)?.into_text()),
        Command::Raw { .. } if !dialects.allow_raw => Err(Refusal::operator(
            "command-raw-not-allowed",
            "it is a `raw` command, which this host does not accept",
            "use `executable` or `directory` on the backend, or set `allow_raw = true` under [sudo] in /etc/hostward/hostward.toml",
        )),
        Command::Raw { raw } => raw::parse(raw, dialects),
    }
}

fn exact(path: CommandPath, list: &[String]) -> Result<String, Refusal> {
    let mut text = String::new();
    for argument in list {
        text.push(' ');
        text.push_str(Argument::parse(argument)?.text());
        if text.len() > MAX_TOKEN {
            return Err(too_long());
        }
    }
    if text.is_empty() {
        // No list at all would mean any arguments.
        text.push_str(" \"\"");
    }
    Ok(path.into_text() + &text)
}

fn too_long() -> Refusal {
    Refusal::backend(
        "command-too-long",
        format!("its path or its arguments have more than {MAX_TOKEN} bytes, which sudo-rs cannot read"),
        "grant a script that does this instead",
    )
}

#[cfg(test)]
mod tests;
