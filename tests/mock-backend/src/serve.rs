//! `serve`: runs until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostward_mock_backend::backend::Options;
use hostward_mock_backend::server::Server;
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `serve`.
#[derive(clap::Args)]
pub struct ServeOptions {
    /// The team file; it is read again whenever it changes
    #[arg(long, value_name = "FILE")]
    team: PathBuf,
    /// Where to listen; port 0 for any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// A further name or address of the server, in its certificate and accepted in credentials
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// The URL that tokens name; by default https:// and the address listened on
    #[arg(long)]
    url: Option<String>,
    /// How long a timestamp is good for
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    timestamp_expiry: Duration,
    /// How old a timestamp gets before it is signed anew; a quarter of its expiry by default
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    resign: Option<Duration>,
    /// Ask for host credentials on the policy's files too
    #[arg(long)]
    repository_auth: bool,
    /// A fault that is on from the start, such as "delay ms=200"
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<String>,
}

/// Serves.
pub fn run(state: &Path, arguments: ServeOptions) -> anyhow::Result<()> {
    let mut options = Options::new(arguments.team, state);
    options.listen = arguments.listen;
    options.names = arguments.names;
    options.url = arguments.url;
    options.source.lifetimes.timestamp = arguments.timestamp_expiry;
    options.source.resign = arguments.resign.unwrap_or(arguments.timestamp_expiry / 4);
    options.repository_auth = arguments.repository_auth;
    for fault in &arguments.faults {
        let mut words = fault.split_whitespace().map(str::to_owned);
        let name = words.next().unwrap_or_default();
        options.faults.push((name, words.collect()));
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(until_stopped(options))
}

async fn until_stopped(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(options).await?;
    // Whoever started it may not be listening.
    let _ = announce(&server);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn announce(server: &Server) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let view = server.backend().view();
    writeln!(out, "project {}, policy version {}", view.project, view.version)?;
    for (name, arguments) in server.backend().faults().shown() {
        writeln!(out, "fault on: {name} {arguments}")?;
    }
    writeln!(out, "its CA: {}", server.ca_path.display())?;
    writeln!(out, "serving {} at {}", server.url, server.address)
}
