//! What may be typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "hostward",
    version,
    about = "Access to this host, as its project's policy says",
    max_term_width = 100
)]
#[command(after_help = crate::exit::HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show whether this host is enrolled, which policy is in force, and what needs attention
    Status(Format),
    /// Check nsswitch, PAM, sshd, sudo, clock, permissions, backend and trust, each with its mend
    Doctor(Format),
    /// Print what an apply would do, and change nothing
    Plan(Format),
    /// Make the host obey the policy that it has, now
    Apply {
        #[command(flatten)]
        format: Format,
        /// Print nothing but failures (used by the timer)
        #[arg(long)]
        quiet: bool,
    },
    /// Ask the backend for the newest policy now, and wait until it is in force
    Sync(Format),
    /// Say why somebody can or cannot log in here, and which commands they may run
    Explain {
        /// User name
        user: String,
        #[command(flatten)]
        format: Format,
    },
    /// Show what happened on this host: accounts, certificates, changes, refusals
    Events(EventsOptions),
    /// Enroll this host with an enrollment token, and wait for the outcome
    Enroll {
        /// File that holds the token; `-` or nothing: standard input
        #[arg(value_name = "FILE")]
        token: Option<PathBuf>,
        /// Seconds to wait for the outcome
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        wait: u64,
    },
    /// Tell the backend that this host leaves, and remove everything hostward wrote but homes
    Unenroll {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Do not tell the backend, which goes on listing this host (it is gone, or the package is being removed)
        #[arg(long)]
        local: bool,
    },
    /// Go to a host as the service user that this account stands for
    Ssh {
        /// Name, id or address of the host
        name: String,
        /// What to run there; nothing: a shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Connect to a host's sshd, over its bastions; for ssh(1)
    Proxycommand {
        /// Name, id or address of the host
        #[arg(required_unless_present = "config")]
        name: Option<String>,
        /// Port of its sshd, if it is neither 22 nor the one that the host reports
        port: Option<u16>,
        /// Print a block for ~/.ssh/config instead
        #[arg(long, conflicts_with_all = ["name", "port"])]
        config: bool,
    },
    /// Say where a host is, if this account may go there with hostward
    Resolve {
        /// Name, id or address of the host
        name: String,
        /// Print nothing: the exit status is the answer (for `Match exec` of ssh_config)
        #[arg(short, long)]
        quiet: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Show or change what this account decides for itself, in ~/.config/hostward/config.toml
    Config {
        /// Which setting
        key: Key,
        /// What it is to be; nothing: show it
        value: Option<bool>,
    },
    /// Print the version
    Version(Format),
    /// Write man pages or completions, for packaging
    #[command(hide = true)]
    Generate {
        /// What to write
        #[command(subcommand)]
        what: Generate,
    },
}

/// What an account decides for itself.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Key {
    /// Whether ssh of this account uses the service user that it stands for
    #[value(name = "service_auth.enable")]
    ServiceAuthEnable,
}

/// For a person, or for a program.
#[derive(Args, Clone, Copy, Debug)]
pub struct Format {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which events, and how.
#[derive(Args, Clone, Debug, Default)]
pub struct EventsOptions {
    /// Only those since a time (2026-01-31T08:00:00Z), or since so long ago (30m, 2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those that name this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Only those of this type, or whose type begins so (certificate.issued, certificate)
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Go on with those that come, until interrupted
    #[arg(long)]
    pub follow: bool,
    /// Print JSON: each event as it is in the log, one a line
    #[arg(long)]
    pub json: bool,
    /// Show no events, but whether the log is as it was written, and where not
    #[arg(long, conflicts_with_all = ["since", "user", "kind", "follow"])]
    pub verify: bool,
}

/// What packaging asks for.
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Man pages
    Man {
        /// Directory to write them to
        directory: PathBuf,
    },
    /// Completions for bash, zsh and fish
    Completions {
        /// Directory to write them to
        directory: PathBuf,
    },
}
