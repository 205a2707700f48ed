//! `sign-key`: an SSH certificate, a sane one by default. Works whether the backend runs or not.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use hostward_mock_backend::client::{Client, ClientError};
use hostward_mock_backend::policy::Policy;
use hostward_mock_backend::ssh::{
    Ca, Certificate, DEFAULT_EXTENSIONS, certificate_path, random_serial, sign,
};

use crate::commands::{SHORT_PATIENCE, warn_of_team_file};

/// Clocks of hosts may be a little behind.
const BACKDATE: Duration = Duration::from_secs(60);

/// Arguments of `sign-key`.
#[derive(clap::Args)]
pub struct SignKeyOptions {
    /// The user of the team file whose principals it gets
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The public key; FILE.pub gives FILE-cert.pub
    #[arg(long, value_name = "FILE")]
    pubkey: PathBuf,
    /// How long it is good for from now
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// A principal, in place of the user's; may be given several times
    #[arg(long = "principal", value_name = "PRINCIPAL")]
    principals: Vec<String>,
    /// No principals at all
    #[arg(long, conflicts_with = "principals")]
    no_principals: bool,
    /// What logs call it; the user's name by default
    #[arg(long)]
    key_id: Option<String>,
    /// Its serial number; random by default
    #[arg(long)]
    serial: Option<u64>,
    /// Which CA signs it; `other` is one that nobody trusts
    #[arg(long, value_enum, default_value = "user")]
    ca: CaName,
    /// A host certificate
    #[arg(long)]
    host_cert: bool,
    /// When it begins to be good, from now: -1h, +5m; a minute ago by default
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = offset)]
    valid_from: Option<Offset>,
    /// When it ends to be good, from now, in place of --ttl
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = offset)]
    valid_to: Option<Offset>,
    /// A critical option, such as force-command=/bin/true
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// An extension, in place of those that `ssh-keygen` gives; "" for none
    #[arg(long = "extension", value_name = "NAME[=VALUE]")]
    extensions: Option<Vec<String>>,
    /// Where to write it, in place of FILE-cert.pub; `-` for standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum CaName {
    User,
    Host,
    Other,
}

#[derive(Clone, Copy)]
struct Offset {
    before: bool,
    time: Duration,
}

fn offset(text: &str) -> Result<Offset, humantime::DurationError> {
    let (before, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let time = humantime::parse_duration(text)?;
    Ok(Offset { before, time })
}

impl Offset {
    fn from(self, now: SystemTime) -> SystemTime {
        let moved = if self.before { now.checked_sub(self.time) } else { now.checked_add(self.time) };
        moved.unwrap_or(UNIX_EPOCH)
    }
}

/// Signs.
pub fn run(state: &Path, options: SignKeyOptions) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let from = options.valid_from.map_or(now - BACKDATE, |offset| offset.from(now));
    let to = options.valid_to.map_or(now + options.ttl, |offset| offset.from(now));
    let certificate = Certificate {
        key_id: key_id(&options)?,
        serial: options.serial.unwrap_or_else(random_serial),
        principals: principals(state, &options)?,
        valid_after: from.duration_since(UNIX_EPOCH)?.as_secs(),
        valid_before: to.duration_since(UNIX_EPOCH)?.as_secs(),
        host: options.host_cert,
        critical_options: pairs(&options.options),
        extensions: match &options.extensions {
            Some(given) => pairs(given),
            None if options.host_cert => Vec::new(),
            None => pairs(&DEFAULT_EXTENSIONS.map(str::to_owned)),
        },
    };
    let ca = match options.ca {
        CaName::User => Ca::User,
        CaName::Host => Ca::Host,
        CaName::Other => Ca::Other,
    };
    let line = sign(state, ca, &options.pubkey, &certificate)?;
    let path = options.output.unwrap_or_else(|| certificate_path(&options.pubkey));
    if path.as_os_str() == "-" {
        println!("{line}");
        return Ok(());
    }
    std::fs::write(&path, line + "\n").with_context(|| format!("cannot write `{}`", path.display()))?;
    println!(
        "{}: {} for {}, serial {}",
        path.display(),
        certificate.key_id,
        certificate.principals.join(", "),
        certificate.serial
    );
    Ok(())
}

fn key_id(options: &SignKeyOptions) -> anyhow::Result<String> {
    let given = options.key_id.as_ref().or(options.user.as_ref());
    let given = given.or(options.principals.first()).cloned();
    given.ok_or_else(|| anyhow!("whose certificate? give --user, --principal or --key-id"))
}

fn principals(state: &Path, options: &SignKeyOptions) -> anyhow::Result<Vec<String>> {
    if options.no_principals || !options.principals.is_empty() {
        return Ok(options.principals.clone());
    }
    let Some(user) = &options.user else {
        return Err(anyhow!("for which principals? give --user, --principal or --no-principals"));
    };
    let client = Client::new(state).patience(SHORT_PATIENCE);
    match client.principals(user) {
        Err(ClientError::NotRunning { .. }) => from_team_file(state, user),
        Err(silent @ ClientError::Silent { .. }) => {
            eprintln!("warning: {silent}; the principals are those of the team file as it is now");
            from_team_file(state, user)
        }
        answer => {
            warn_of_team_file(client.condition()?.team.as_deref());
            Ok(answer?)
        }
    }
}

fn from_team_file(state: &Path, user: &str) -> anyhow::Result<Vec<String>> {
    let place = state.join("team-file");
    let path = std::fs::read_to_string(&place).with_context(|| {
        let state = state.display();
        format!("no backend ever served from `{state}`: give its --state, or --principal")
    })?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    let policy = Policy::parse(&text).with_context(|| format!("cannot use `{path}`"))?;
    let principals = policy.principals.get(user).cloned();
    principals.ok_or_else(|| anyhow!("`{path}` has no [users.{user}]"))
}

fn pairs(given: &[String]) -> Vec<(String, String)> {
    let given = given.iter().filter(|text| !text.is_empty());
    given
        .map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text.clone(), String::new()),
        })
        .collect()
}
