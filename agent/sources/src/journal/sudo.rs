//! What sudo and sudo-rs say of commands.
//!
//! `alice : TTY=pts/0 ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/id`, refused with the reason before the first of these.
//! Nothing of it is escaped in a way that would tell fields from text that looks like them: a directory may be called
//! `/tmp/x ; USER=dave ; COMMAND=/bin/true`, and an argument likewise. What can be read in two ways is said to be.
//! Where the operator has `log_format=json` it is JSON, and cannot.

use serde::{Deserialize, Serialize};

/// A command that sudo says was run or refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who asked.
    pub by: String,
    /// Why it was refused; `None` where it was not.
    pub refused: Option<String>,
    /// The terminal.
    pub tty: Option<String>,
    /// Where it was asked for.
    pub directory: Option<String>,
    /// As whom.
    pub run_as: Option<String>,
    /// As which group.
    pub group: Option<String>,
    /// The command and its arguments.
    pub command: Option<String>,
    /// Whether it can be read in another way.
    pub is_ambiguous: bool,
}

/// How a command ended, which newer sudos say at the end of a second entry like the first: `; SIGNAL=KILL ; EXIT=137`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The status: 128 and the signal's number where one ended it.
    pub code: u32,
    /// The signal, without `SIG`.
    pub signal: Option<String>,
}

/// What stands for the middle of a command line that a record of PAM's has no room for.
pub const CUT: &str = hostward_records::CUT;

/// Of an entry that may say how a command ended: the rest of it, and how. Arguments of a command can look the same.
pub fn end(message: &str) -> Option<(&str, Exit)> {
    let (rest, code) = message.rsplit_once(" ; EXIT=")?;
    let code = code.parse().ok()?;
    let is_signal = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
    };
    match rest.rsplit_once(" ; SIGNAL=").filter(|(_, signal)| is_signal(signal)) {
        Some((rest, signal)) => Some((rest, Exit { code, signal: Some(signal.to_owned()) })),
        None => Some((rest, Exit { code, signal: None })),
    }
}

/// The command of an entry, from the first field of that name.
pub fn command(message: &str) -> &str {
    message.split_once(" ; COMMAND=").map_or(message, |(_, command)| command)
}

/// Whether it is a further part of an entry that was too long.
pub fn is_continued(message: &str) -> bool {
    message.split_once(" : ").is_some_and(|(_, rest)| rest.trim_start().starts_with("(command continued)"))
}

/// What a message says of a command, if it does.
pub fn read(message: &str) -> Option<Said> {
    match message.strip_prefix("@cee:") {
        Some(json) => of_json(json),
        None => of_text(message),
    }
}

/// What sudo says in the same form of what is no refusal.
const WARNINGS: &[&str] = &[
    "unable to ",
    "problem with ",
    "parse error",
    "error ",
    "timestamp ",
    "ignoring ",
    "(command continued)",
    "invalid ",
];

fn of_text(message: &str) -> Option<Said> {
    let (by, rest) = message.trim_start().split_once(" : ")?;
    let rest = rest.trim_start();
    let is_field = |text: &str| text.starts_with("TTY=") || text.starts_with("PWD=");
    let (refused, fields) = if is_field(rest) {
        (None, rest)
    } else {
        let at = rest.match_indices(" ; ").map(|(at, _)| at).find(|at| is_field(&rest[at + 3..]))?;
        (Some(&rest[..at]), &rest[at + 3..])
    };
    if refused.is_some_and(|reason| WARNINGS.iter().any(|warning| reason.starts_with(warning))) {
        return None;
    }
    let mut said = Said { by: by.trim().to_owned(), refused: refused.map(str::to_owned), ..Said::default() };
    said.is_ambiguous =
        ["PWD=", " ; USER=", " ; GROUP=", " ; COMMAND="].iter().any(|field| rest.matches(field).count() > 1);
    let mut left = fields;
    if let Some(rest) = left.strip_prefix("TTY=") {
        let (tty, rest) = rest.split_once(" ; ")?;
        said.tty = (tty != "unknown").then(|| tty.to_owned());
        left = rest;
    }
    let (directory, left) = left.strip_prefix("PWD=")?.split_once(" ; USER=")?;
    said.directory = Some(directory.to_owned());
    let (head, command) = match left.split_once(" ; COMMAND=") {
        Some((head, command)) => (head, Some(command.to_owned())),
        None => (left.trim_end_matches(" ;"), None),
    };
    said.command = command;
    let mut parts = head.split(" ; ");
    said.run_as = parts.next().map(str::to_owned);
    said.group = parts.find_map(|part| part.strip_prefix("GROUP=")).map(str::to_owned);
    Some(said)
}

#[derive(Deserialize)]
struct Wrapped {
    sudo: Option<Json>,
    #[serde(flatten)]
    bare: Json,
}

#[derive(Deserialize)]
struct Json {
    accept: Option<Command>,
    reject: Option<Command>,
}

#[derive(Deserialize)]
struct Command {
    submituser: String,
    submitcwd: Option<String>,
    command: Option<String>,
    runuser: Option<String>,
    rungroup: Option<String>,
    ttyname: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    runargv: Vec<String>,
}

fn of_json(json: &str) -> Option<Said> {
    let wrapped: Wrapped = serde_json::from_str(json).ok()?;
    let Json { accept, reject } = wrapped.sudo.unwrap_or(wrapped.bare);
    let is_refused = accept.is_none();
    let found = accept.or(reject)?;
    let mut command = found.command.unwrap_or_default();
    for argument in found.runargv.iter().skip(1) {
        command.push(' ');
        command.push_str(argument);
    }
    let tty = found.ttyname.map(|tty| tty.strip_prefix("/dev/").unwrap_or(&tty).to_owned());
    Some(Said {
        by: found.submituser,
        refused: is_refused.then(|| found.reason.unwrap_or_else(|| "command not allowed".into())),
        tty,
        directory: found.submitcwd,
        run_as: found.runuser,
        group: found.rungroup,
        command: (!command.is_empty()).then_some(command),
        is_ambiguous: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_command_ended() {
        let ended = |code, signal: Option<&str>| Exit { code, signal: signal.map(str::to_owned) };
        let id = "alice : PWD=/ ; USER=root ; COMMAND=/usr/bin/id";
        assert_eq!(end(&format!("{id} ; EXIT=1")), Some((id, ended(1, None))));
        assert_eq!(end(&format!("{id} ; SIGNAL=KILL ; EXIT=137")), Some((id, ended(137, Some("KILL")))));
        for none in ["", " ; EXIT=", " ; EXIT=-1", " ; EXIT=0 "] {
            assert_eq!(end(&format!("{id}{none}")), None, "{none}");
        }
        assert_eq!(command(id), "/usr/bin/id");
        assert!(is_continued("   alice : (command continued) 1 2 3") && !is_continued(id));
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn commands_of_each_sudo() {
        let id = Said {
            by: "alice".into(),
            directory: text("/home/alice"),
            run_as: text("root"),
            command: text("/usr/bin/id -u"),
            ..Said::default()
        };
        let line = "   alice : PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id -u";
        assert_eq!(read(line), Some(id.clone()));
        let rs = "alice :  PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id -u";
        assert_eq!(read(rs), Some(id.clone()));
        let full = "alice : TTY=pts/1 ; PWD=/home/alice ; USER=dave ; GROUP=dave ; TSID=00001 ; COMMAND=/usr/bin/id -u";
        let with = Said { tty: text("pts/1"), run_as: text("dave"), group: text("dave"), ..id.clone() };
        assert_eq!(read(full), Some(with));
        let refused = "   carol : command not allowed ; TTY=unknown ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id -u";
        let expected = Said { by: "carol".into(), refused: text("command not allowed"), ..id };
        assert_eq!(read(refused), Some(expected));
        let unknown = read("   carol : unknown user nosuch ; PWD=/tmp ; USER=nosuch ;").unwrap();
        assert_eq!(
            (unknown.refused, unknown.run_as, unknown.command),
            (text("unknown user nosuch"), text("nosuch"), None)
        );
    }

    #[test]
    fn what_looks_like_a_field_is_ambiguous() {
        for line in [
            "   alice : PWD=/tmp/x ; USER=dave ; COMMAND=/bin/true ; USER=root ; COMMAND=/usr/bin/id",
            "   alice : PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id a ; USER=root ; COMMAND=/bin/sh",
            "   alice : sorry, you are not allowed to set the following environment variables: FOO ; PWD=/home/alice ; USER=root ; ENV=FOO=bar ; COMMAND=x ; COMMAND=/usr/bin/id",
        ] {
            assert!(read(line).unwrap().is_ambiguous, "{line}");
        }
        // Whatever somebody calls a variable, what is refused does not come to be allowed.
        let named = "alice : sorry, you are not allowed to set the following environment variables: X ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id";
        let said = read(named).unwrap();
        assert!(said.refused.is_some() && said.is_ambiguous);
    }

    #[test]
    fn json_tells_fields_apart() {
        let inner = r#""submituser":"alice","command":"/usr/bin/id","runuser":"root","runcwd":"/x","ttyname":"/dev/pts/1","submitcwd":"/tmp/x ; USER=dave ; COMMAND=/bin/true","runargv":["/usr/bin/id","a b"]"#;
        for line in [
            format!("@cee:{{\"sudo\":{{\"accept\":{{{inner}}}}}}}"),
            format!("@cee:{{\"accept\":{{{inner}}}}}"),
        ] {
            let said = read(&line).unwrap();
            assert_eq!(said.command, text("/usr/bin/id a b"));
            assert_eq!(said.directory, text("/tmp/x ; USER=dave ; COMMAND=/bin/true"));
            assert_eq!((said.refused, said.tty, said.is_ambiguous), (None, text("pts/1"), false));
        }
        let refused =
            read(&format!("@cee:{{\"sudo\":{{\"reject\":{{\"reason\":\"no\",{inner}}}}}}}")).unwrap();
        assert_eq!(refused.refused, text("no"));
        assert_eq!(read(r#"@cee:{"sudo":{"exit":{"uuid":"x","exit_value":1}}}"#), None);
    }

    #[test]
    fn what_is_of_no_command_says_nothing() {
        for line in [
            "",
            "pam_unix(sudo:session): session opened for user root(uid=0) by alice(uid=70001)",
            "   alice : (command continued) 253 254",
            "[...]  246 247",
            "   alice : unable to resolve host web1: Name or service not known ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id",
            "   alice : PWD=/home/alice",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
