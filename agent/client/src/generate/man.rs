//! Man pages: what clap knows of each command, and the sections that it knows nothing of.

use std::io::Write;
use std::path::Path;

use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::exit;

/// What there is to say of a command besides its options.
struct Page {
    /// The subcommand; empty for the program itself.
    command: &'static str,
    /// The exit statuses that it may end with.
    exits: &'static [u8],
    /// What it reads or writes, and what that is.
    files: &'static [(&'static str, &'static str)],
    /// What to type, and what for.
    examples: &'static [(&'static str, &'static str)],
}

const CONFIGURATION: (&str, &str) = (
    "/etc/hostward/hostward.toml",
    "what this host allows and where its backend is; without it the defaults hold",
);
const TOKEN: (&str, &str) = (
    "/etc/hostward/enrollment.token",
    "the enrollment token, owner root, mode 0600; deleted once it was used",
);
const ROOT: (&str, &str) =
    ("/etc/hostward/root.json", "the project's root of trust, where it is pinned by the image");
const HOST_STATUS: (&str, &str) =
    ("/var/lib/hostward/status.json", "what is in force; everybody may read it");
const AGENT_STATUS: (&str, &str) =
    ("/var/lib/hostward-agent/status.json", "what the agent knows: enrollment, backend, token");
const REPORT: (&str, &str) = ("/var/lib/hostward/report.json", "the outcome of each step of the last pass");
const EVENTS: (&str, &str) = (
    "/var/log/hostward/events.jsonl",
    "what happened, newest last; full files beside it have a number in their names",
);
const DATABASE: (&str, &str) =
    ("/var/lib/misc/hostward.db", "the account database that libnss_hostward.so.2 serves");
const SUDOERS: (&str, &str) = ("/etc/sudoers.d/hostward", "what managed users may run with sudo");
const SSHD: (&str, &str) = ("/etc/ssh/sshd_config.d/10-hostward.conf", "how sshd lets managed users in");
const APPLY_SOCKET: (&str, &str) = ("/run/hostward/apply.sock", "where root's process is asked");
const AGENT_SOCKET: (&str, &str) = ("/run/hostward/agent.sock", "where the agent is asked");

const SSH_AGENT_SOCKET: (&str, &str) = (
    "/run/hostward/ssh-agent.sock",
    "the SSH agent; HOSTWARD_SSH_AGENT names it where a container has it elsewhere",
);
const KNOWN_HOSTS: (&str, &str) =
    ("/var/lib/hostward/ssh/known_hosts", "the project's host CAs, as ssh reads them");
const CLIENT_CONFIG: (&str, &str) =
    ("/etc/ssh/ssh_config.d/50-hostward.conf", "has ssh use all this by itself for accounts that are bound");

const USUAL: &[u8] = &[0, exit::ATTENTION, exit::USAGE, exit::CANNOT_ASK];

const PAGES: [Page; 15] = [
    Page {
        command: "",
        exits: &[0, exit::ATTENTION, exit::USAGE, exit::CANNOT_ASK, exit::OWN_SESSION],
        files: &[
            CONFIGURATION,
            TOKEN,
            ROOT,
            HOST_STATUS,
            AGENT_STATUS,
            REPORT,
            EVENTS,
            DATABASE,
            SUDOERS,
            SSHD,
            APPLY_SOCKET,
            AGENT_SOCKET,
            SSH_AGENT_SOCKET,
        ],
        examples: &[
            ("hostward enroll token.txt", "Enroll this host with the token in a file:"),
            ("hostward status", "See what is in force and what needs attention:"),
            ("hostward explain alice", "See why alice can or cannot log in:"),
        ],
    },
    Page {
        command: "status",
        exits: USUAL,
        files: &[HOST_STATUS, AGENT_STATUS, REPORT],
        examples: &[
            ("hostward status", "See what is in force and what needs attention; root sees more:"),
            ("hostward status --json", "The same for a program, such as a monitoring check:"),
        ],
    },
    Page {
        command: "doctor",
        exits: USUAL,
        files: &[
            CONFIGURATION,
            DATABASE,
            SUDOERS,
            SSHD,
            ("/etc/nsswitch.conf", "whether hostward is asked for accounts"),
        ],
        examples: &[(
            "hostward doctor",
            "Look at everything that access depends on; lines that begin with BAD need attention:",
        )],
    },
    Page {
        command: "plan",
        exits: USUAL,
        files: &[CONFIGURATION, APPLY_SOCKET],
        examples: &[
            ("hostward plan", "See what the next pass would do:"),
            ("hostward plan --json", "The same for a program:"),
        ],
    },
    Page {
        command: "apply",
        exits: USUAL,
        files: &[CONFIGURATION, REPORT, APPLY_SOCKET],
        examples: &[
            ("hostward apply", "Repair what was changed behind hostward's back, now:"),
            ("hostward apply --quiet", "The same, saying nothing but what failed:"),
        ],
    },
    Page {
        command: "sync",
        exits: USUAL,
        files: &[HOST_STATUS, AGENT_SOCKET],
        examples: &[("hostward sync", "Fetch the newest policy now, and see what came of it:")],
    },
    Page {
        command: "explain",
        exits: USUAL,
        files: &[CONFIGURATION, APPLY_SOCKET],
        examples: &[
            ("hostward explain alice", "See why alice can or cannot log in, and what she may run with sudo:"),
            ("hostward explain alice --json", "The same for a program:"),
        ],
    },
    Page {
        command: "events",
        exits: USUAL,
        files: &[EVENTS, CONFIGURATION],
        examples: &[
            (
                "hostward events --since 2h",
                "See what happened in the last two hours, as root or a member of adm:",
            ),
            ("hostward events --user alice --json", "Every event that names alice, for a program:"),
            ("hostward events --type certificate --follow", "Watch certificates being issued and refused:"),
            ("hostward events --verify", "See whether the log is as it was written:"),
        ],
    },
    Page {
        command: "enroll",
        exits: USUAL,
        files: &[TOKEN, ROOT, CONFIGURATION, AGENT_STATUS],
        examples: &[
            ("hostward enroll token.txt", "Enroll with the token in a file:"),
            ("hostward enroll", "Enroll with a token that is pasted or piped in:"),
            ("hostward enroll --wait 300 token.txt", "Give a slow network five minutes:"),
        ],
    },
    Page {
        command: "unenroll",
        exits: &[0, exit::ATTENTION, exit::USAGE, exit::CANNOT_ASK, exit::OWN_SESSION],
        files: &[
            ("/var/lib/hostward-agent/identity", "what this host is enrolled as; gone afterwards"),
            APPLY_SOCKET,
            AGENT_SOCKET,
        ],
        examples: &[
            ("hostward unenroll", "Leave the project, after a question:"),
            ("hostward unenroll --yes", "The same from a script:"),
            ("hostward unenroll --local --yes", "Leave although the backend is gone for good:"),
        ],
    },
    Page {
        command: "ssh",
        exits: USUAL,
        files: &[SSH_AGENT_SOCKET, KNOWN_HOSTS],
        examples: &[
            ("hostward ssh web1", "Get a shell on a host; from then on the exit status is that of ssh(1):"),
            ("hostward ssh web1 sudo systemctl restart nginx", "Run a command there:"),
        ],
    },
    Page {
        command: "proxycommand",
        exits: USUAL,
        files: &[SSH_AGENT_SOCKET, KNOWN_HOSTS, CLIENT_CONFIG],
        examples: &[
            (
                "hostward proxycommand --config",
                "Print what goes into ~/.ssh/config of a container's account:",
            ),
            ("hostward proxycommand web1", "What ssh runs then:"),
        ],
    },
    Page {
        command: "resolve",
        exits: USUAL,
        files: &[SSH_AGENT_SOCKET, CLIENT_CONFIG],
        examples: &[
            ("hostward resolve web1", "See where a host is, and which bastions lead there:"),
            ("hostward resolve -q web1", "Only ask whether hostward knows it, as ssh does:"),
        ],
    },
    Page {
        command: "config",
        exits: &[0, exit::USAGE],
        files: &[],
        examples: &[
            ("hostward config service_auth.enable", "See whether ssh of this account uses its service user:"),
            (
                "hostward config service_auth.enable false",
                "Have this account use ssh as if hostward were not there:",
            ),
        ],
    },
    Page {
        command: "version",
        exits: &[0, exit::USAGE],
        files: &[],
        examples: &[("hostward version --json", "For a program:")],
    },
];

/// Writes a page for `command` and for each of its subcommands.
pub fn write(command: clap::Command, directory: &Path) -> std::io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let names: Vec<String> = command.get_subcommands().map(page_name).collect();
    for subcommand in command.get_subcommands().cloned() {
        page(subcommand, &names, directory)?;
    }
    page(command, &names, directory)
}

fn page_name(command: &clap::Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: clap::Command, names: &[String], directory: &Path) -> std::io::Result<()> {
    let name = page_name(&command);
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command).manual("hostward").source(format!("hostward {version}"));
    let mut text = Vec::new();
    man.render(&mut text)?;
    if let Some(page) = PAGES.iter().find(|page| full_name(page) == name) {
        more(page, names).to_writer(&mut text)?;
    }
    std::fs::File::create(directory.join(man.get_filename()))?.write_all(&text)
}

fn full_name(page: &Page) -> String {
    if page.command.is_empty() { "hostward".into() } else { format!("hostward-{}", page.command) }
}

fn more(page: &Page, names: &[String]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in exit::MEANINGS.iter().filter(|(status, _)| page.exits.contains(status)) {
        roff.control("TP", []).text([bold(status.to_string())]).text([roman(*meaning)]);
    }
    if !page.files.is_empty() {
        roff.control("SH", ["FILES"]);
    }
    for (path, what) in page.files {
        roff.control("TP", []).text([italic(*path)]).text([roman(*what)]);
    }
    roff.control("SH", ["EXAMPLES"]);
    for (typed, what) in page.examples {
        roff.control("PP", []).text([roman(*what)]);
        roff.control("RS", ["4"]).control("EX", []).text([bold(*typed)]).control("EE", []).control("RE", []);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text(see_also(page, names));
    roff
}

fn see_also(page: &Page, names: &[String]) -> Vec<Inline> {
    const ELSEWHERE: [(&str, &str); 4] =
        [("journalctl", "1"), ("nsswitch.conf", "5"), ("sshd_config", "5"), ("sudoers", "5")];
    let own = full_name(page);
    let ours = std::iter::once("hostward").chain(names.iter().map(String::as_str));
    let pages = ours.filter(|name| *name != own).map(|name| (name, "1")).chain(ELSEWHERE);
    let mut line = Vec::new();
    for (name, section) in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(format!("({section})"))]);
    }
    line
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_its_sections_and_every_example_can_be_typed() {
        let dir = tempfile::tempdir().unwrap();
        super::super::run(crate::cli::Generate::Man { directory: dir.path().into() }).unwrap();
        let command = Cli::command();
        let visible = command.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name());
        for name in visible.chain([""]) {
            let page = PAGES.iter().find(|page| page.command == name).unwrap_or_else(|| panic!("{name}"));
            let text = std::fs::read_to_string(dir.path().join(format!("{}.1", full_name(page)))).unwrap();
            for heading in ["\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""] {
                assert!(text.contains(&format!(".SH {heading}\n")), "{name}: {heading}\n{text}");
            }
            assert_eq!(text.contains(".SH FILES\n"), !page.files.is_empty(), "{name}");
            assert!(!text.contains(".SH EXTRA"), "{name}");
            assert!(page.files.iter().all(|(path, _)| path.starts_with('/')), "{name}");
            for (typed, _) in page.examples {
                let parsed = Cli::try_parse_from(typed.split(' '));
                assert!(parsed.is_ok(), "{typed}: {parsed:?}");
                assert!(name.is_empty() || typed.starts_with(&format!("hostward {name}")), "{typed}");
            }
        }
    }

    #[test]
    fn the_help_names_every_exit_status() {
        for (status, _) in exit::MEANINGS {
            assert!(exit::HELP.contains(&format!("{status} ")), "{status}");
        }
    }
}
