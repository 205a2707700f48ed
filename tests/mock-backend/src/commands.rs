//! What the command line takes, and the commands that ask a running backend.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hostward_mock_backend::client::Client;
use hostward_mock_backend::control::{ActiveFault, Condition, EnrolledHost};
use hostward_mock_backend::faults::TABLE;
use hostward_mock_backend::keys::Role;
use hostward_mock_backend::publisher::Revocations;
use hostward_mock_backend::registry::{Issued, StoredReport};
use hostward_protocol::report::{Finding, Outcome};

use crate::serve::ServeOptions;
use crate::sign_key::SignKeyOptions;

/// How long a person waits before it is clear that nobody answers.
pub const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// A backend for hostward, for tests and demonstrations: real in all it does, from one team.toml.
#[derive(clap::Parser)]
#[command(version)]
pub struct Arguments {
    /// Where keys, hosts and all else are kept
    #[arg(long, global = true, value_name = "DIR", default_value = "mock-backend-state")]
    pub state: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Publish a team file's policy and answer hosts, until stopped
    Serve(ServeOptions),
    /// Print an enrollment token: the content of /etc/hostward/enrollment.token
    Token {
        /// How many hosts may enroll with it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it is good for
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        ttl: Duration,
        /// Leave out the pin of the root of trust
        #[arg(long)]
        no_pin: bool,
    },
    /// Sign a public key as the project's SSH CA
    SignKey(SignKeyOptions),
    /// List the hosts
    Hosts {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a host
    RemoveHost {
        /// Its id or name
        host: String,
    },
    /// Show what hosts reported
    Reports {
        /// Id or name of a host; all where absent
        host: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the events of a host
    Events {
        /// Its id or name
        host: String,
        /// As JSON, one a line, in the order in which they came
        #[arg(long)]
        json: bool,
    },
    /// List the SSH certificates that hosts and services got since the start
    Certificates {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke certificates and keys
    Revoke {
        /// A serial number
        #[arg(long = "serial", value_name = "SERIAL")]
        serials: Vec<u64>,
        /// A key id
        #[arg(long = "key-id", value_name = "KEY ID")]
        key_ids: Vec<String>,
        /// A public key file
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Take it back
        #[arg(long)]
        undo: bool,
    },
    /// Misbehave, or stop it
    Fault {
        /// Which fault, see `faults --all`; or `all`, to switch all off
        name: String,
        /// on or off
        switch: Switch,
        /// key=value
        arguments: Vec<String>,
    },
    /// List the faults that are on
    Faults {
        /// List all that there are
        #[arg(long)]
        all: bool,
    },
    /// End all connections
    Disconnect,
    /// Publish a new root of trust
    RotateRoot {
        /// Whose keys are replaced: root, targets, snapshot, timestamp or all
        #[arg(long, default_value = "root")]
        keys: String,
        /// How many roots, one after another
        #[arg(long, default_value_t = 1)]
        steps: u32,
    },
    /// Show what is published
    Policy {
        /// With the documents
        #[arg(long)]
        documents: bool,
    },
    /// Show versions and hashes of the roots, the newest last
    Root,
    /// Wait until what is published reflects the team file, and print its version
    Sync,
    /// Show what is served, and whether the team file as it is now is in force
    Status,
}

/// On or off.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Switch {
    /// Begin.
    On,
    /// Stop.
    Off,
}

/// Asks the backend that serves from `state`.
pub fn ask(state: &Path, command: Command) -> anyhow::Result<()> {
    let client = Client::new(state).patience(patience(&command));
    if shows_what_follows_from_the_team(&command) {
        warn_of_team_file(client.condition()?.team.as_deref());
    }
    match command {
        Command::Status => print_condition(&client.condition()?)?,
        Command::Serve(_) | Command::SignKey(_) => bail!("this command asks nobody"),
        Command::Token { uses, ttl, no_pin } => println!("{}", client.token(uses, ttl, !no_pin)?),
        Command::Hosts { json: true } => print_json(&client.hosts()?)?,
        Command::Hosts { json: false } => client.hosts()?.iter().for_each(print_host),
        Command::RemoveHost { host } => client.remove_host(&host)?,
        Command::Reports { host, json: true } => print_json(&client.reports(host.as_deref())?)?,
        Command::Reports { host, json: false } => {
            client.reports(host.as_deref())?.iter().for_each(print_report);
        }
        Command::Events { host, json: true } => {
            client.events(&host)?.iter().for_each(|event| println!("{event}"));
        }
        Command::Events { host, json: false } => print_events(&client, &host)?,
        Command::Certificates { json: true } => print_json(&client.certificates()?)?,
        Command::Certificates { json: false } => client.certificates()?.iter().for_each(print_issued),
        Command::Revoke { serials, key_ids, keys, undo } => {
            let keys = keys.iter().map(|path| read_key(path)).collect::<Result<_, _>>()?;
            let revocations = Revocations { serials, key_ids, keys };
            if revocations == Revocations::default() {
                bail!("revoke what? give --serial, --key-id or --key");
            }
            println!("published version {}", client.revoke(revocations, undo)?);
        }
        Command::Fault { name, switch: Switch::On, arguments } => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            print_faults(&client.fault_on(&name, &arguments)?);
        }
        Command::Fault { name, switch: Switch::Off, .. } => {
            check_fault(&name)?;
            let one = Some(name.as_str()).filter(|name| *name != "all");
            print_faults(&client.fault_off(one)?);
        }
        Command::Faults { all: true } => print_table(),
        Command::Faults { all: false } => print_faults(&client.faults()?),
        Command::Disconnect => client.disconnect()?,
        Command::RotateRoot { keys, steps } => {
            let version = client.rotate_root(&roles(&keys)?, steps)?;
            println!("published root version {version}");
        }
        Command::Policy { documents } => print_policy(&client, documents)?,
        Command::Root => {
            for root in client.roots()? {
                println!("{} {}", root.version, root.sha256);
            }
        }
        Command::Sync => println!("{}", client.sync()?),
    }
    Ok(())
}

/// What publishes may take long for a large team.
fn patience(command: &Command) -> Duration {
    match command {
        Command::Sync | Command::Revoke { .. } | Command::Fault { .. } | Command::RotateRoot { .. } => {
            Duration::from_secs(300)
        }
        Command::Status => SHORT_PATIENCE,
        _ => Duration::from_secs(20),
    }
}

fn shows_what_follows_from_the_team(command: &Command) -> bool {
    matches!(command, Command::Hosts { .. } | Command::Reports { .. } | Command::Policy { .. })
}

/// Whoever just saved the file may look at anything but the log of `serve`.
pub fn warn_of_team_file(problem: Option<&str>) {
    if let Some(problem) = problem {
        eprintln!("warning: the policy before the last change stays in force: {problem}");
    }
}

fn read_key(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(text.trim().to_owned())
}

fn roles(word: &str) -> anyhow::Result<Vec<Role>> {
    match Role::parse(word) {
        Some(role) => Ok(vec![role]),
        None if word == "all" => Ok(Role::ALL.to_vec()),
        None => bail!("`{word}` is none of root, targets, snapshot, timestamp, all"),
    }
}

fn check_fault(name: &str) -> anyhow::Result<()> {
    if name == "all" || TABLE.iter().any(|(known, _, _)| *known == name) {
        return Ok(());
    }
    bail!("there is no fault `{name}`; `faults --all` names them all")
}

fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn print_host(enrolled: &EnrolledHost) {
    let host = &enrolled.host;
    let state = match (enrolled.whole, enrolled.refused) {
        (Some(true), 0) => "everything in force".to_owned(),
        (Some(true), 1) => "in force but for 1 entry that it refused, see reports".to_owned(),
        (Some(true), refused) => format!("in force but for {refused} entries that it refused, see reports"),
        (Some(false), _) => "not everything in force, see reports".to_owned(),
        (None, _) => "no report yet".to_owned(),
    };
    let seen = host.last_seen.format("%F %T");
    println!("{}  {}  seen {seen}  {state}", host.id, host.info.hostname);
}

fn print_issued(issued: &Issued) {
    let Issued { at, host, key_id, serial, principals, .. } = issued;
    println!("{}  {host}  {key_id}  serial {serial}  for {}", at.format("%F %T"), principals.join(","));
}

fn print_events(client: &Client, host: &str) -> anyhow::Result<()> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    for event in client.events(host)? {
        println!("{}  {}  {}", text(&event["time"]), text(&event["type"]), text(&event["data"]["message"]));
    }
    let state = client.event_state(host)?;
    let head = state.head.map_or(0, |head| head.sequence);
    println!("{} events, every one up to {head}", state.kept);
    for gap in state.gaps {
        println!("the host has no events between {} and {}", gap.after, gap.next);
    }
    for broken in state.breaks {
        println!("event {} does not follow from the one before it", broken.sequence);
    }
    if !state.refused.is_empty() {
        println!("refused: {:?}", state.refused);
    }
    Ok(())
}

fn print_report(stored: &StoredReport) {
    let report = &stored.report;
    let version = report.policy.as_ref().map_or(0, |policy| policy.version);
    let received = stored.received.format("%F %T");
    println!(
        "{received}  {}  #{}  policy {version}  {:?}  {} users",
        stored.host, stored.number, report.cause, report.users
    );
    if let Some(finding) = &report.admission {
        print_finding("not admitted", finding);
    }
    for step in &report.steps {
        match &step.outcome {
            Outcome::Done { detail } => println!("    done: {} {detail}", step.step),
            Outcome::Failed(finding) => {
                println!("    failed: {}", step.step);
                print_finding("", finding);
            }
            Outcome::Skipped { reason } => println!("    skipped: {} ({reason})", step.step),
        }
    }
    for (what, findings) in
        [("refused", &report.refusals), ("drift", &report.drift), ("warning", &report.warnings)]
    {
        findings.iter().for_each(|finding| print_finding(what, finding));
    }
}

fn print_finding(what: &str, finding: &Finding) {
    println!("    {what} {}: {} [{}]", finding.subject, finding.message, finding.code);
    println!("        {:?}: {}", finding.responsible, finding.mend);
}

fn print_condition(condition: &Condition) -> anyhow::Result<()> {
    let Condition { project, version, url, hosts, faults, team } = condition;
    println!("project {project}, policy version {version}, hosts: {hosts}, serving at {url}");
    for fault in faults {
        println!("fault on: {} {}", fault.name, fault.arguments);
    }
    match team {
        None => Ok(()),
        Some(problem) => bail!("the policy before the last change stays in force: {problem}"),
    }
}

fn print_faults(faults: &[ActiveFault]) {
    for fault in faults {
        println!("{} {}", fault.name, fault.arguments);
    }
    if faults.is_empty() {
        println!("no faults");
    }
}

fn print_table() {
    for (name, arguments, text) in TABLE {
        println!("{name} {arguments}\n    {text}");
    }
    println!(
        "\nSCOPE: [path=TEXT] only requests whose path contains TEXT, [count=N] only the next N\n\
         ROLE: root, targets, snapshot, timestamp\n\
         FLAW: other-ca, other-key, other-type, more-principals, no-principals, expired, not-yet, long, \
         critical-option, more-extensions, garbage\n\
         LIE: ahead, behind, other-hash\n\
         `status` and its like take effect with the next request; those who wait already go on waiting \
         (`disconnect` ends that)."
    );
}

fn print_policy(client: &Client, documents: bool) -> anyhow::Result<()> {
    let published = client.policy(documents)?;
    println!("project {}, version {}", published.project, published.version);
    for target in published.targets {
        println!("{}  {:>8}  {}", target.sha256, target.length, target.name);
        if let Some(content) = target.content {
            println!("{content}");
        }
    }
    Ok(())
}
