//! The service around the agent: signals, the watchdog, what is watched; and its start and end.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::control::{Asked, Control};
use crate::disk;
use crate::driver::{Agent, Signals};
use crate::events::Events;
use crate::machine::machine;
use crate::paths::Options;
use crate::sockets::{self, Inherited};
use crate::sources::Sources;
use crate::ssh_agent;
use crate::watch::{Place, Watch};

/// How long the end of the agent may wait for what reads PAM's records and the journal.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where machine-id(5) is.
const MACHINE_ID: &str = "/etc/machine-id";

/// Runs until told to stop.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let options = Arc::new(options);
    let mut terminate = signal(SignalKind::terminate()).context("cannot take SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot take SIGINT")?;
    let hang_up = signal(SignalKind::hangup()).context("cannot take SIGHUP")?;

    let config = hostward_config::load(&options.config())?;
    let machine = machine(Path::new(MACHINE_ID))?;
    disk::private_dir(&options.state)?;
    let inherited = Inherited::take()?;
    let asked = control(&options, inherited.control)?;
    let watch = Watch::start(watched(&options))?;
    let events = Arc::new(Events::start(&options, &config)?);
    let agent = Agent::new(options.clone(), config, machine, events.clone())?;
    events.started();
    ssh_agent(&options, inherited.ssh_agent, &agent)?;
    let signals = Signals { asked, watch, hang_up, watchdog: sd_notify::watchdog_enabled() };

    // Nothing was asked of the network yet: a backend that does not answer must not hold up a boot.
    notify(NotifyState::Ready);
    let sources = Sources::start(&options, &events)?;
    tokio::select! {
        () = agent.run(signals) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Whatever was under way is dropped: every file is replaced in one step, every request may be repeated.
    notify(NotifyState::Stopping);
    sources.stop(PATIENCE);
    events.stopped();
    Ok(())
}

/// Tells the service manager, where there is one.
pub fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("cannot tell the service manager: {error}");
    }
}

fn control(options: &Options, inherited: Option<UnixListener>) -> anyhow::Result<mpsc::Receiver<Asked>> {
    let control = match (&options.agent_socket, inherited) {
        (Some(path), _) => Some(Control::bound(path)?),
        (None, Some(listener)) => Some(Control::inherited(listener)?),
        (None, None) => None,
    };
    let (sender, receiver) = mpsc::channel(1);
    match control {
        Some(control) => {
            tokio::spawn(control.serve(sender));
        }
        None => log::warn!(
            "no control socket was handed over (hostward.socket): `hostward sync` and `hostward unenroll` cannot ask this process"
        ),
    }
    Ok(receiver)
}

fn ssh_agent(options: &Options, inherited: Option<UnixListener>, agent: &Agent) -> anyhow::Result<()> {
    let listener = match (&options.ssh_agent_socket, inherited) {
        (Some(path), _) => sockets::bound(path)?,
        (None, Some(listener)) => sockets::listening("hostward-ssh-agent.socket", listener)?,
        (None, None) => {
            log::warn!(
                "no socket was handed over for the SSH agent (hostward-ssh-agent.socket): service users get no certificates"
            );
            return Ok(());
        }
    };
    tokio::spawn(ssh_agent::serve(listener, agent.desk()));
    Ok(())
}

fn watched(options: &Options) -> Vec<Place> {
    let (status_dir, status_name) = options.host_status_place();
    vec![
        Place {
            dir: options.etc.clone(),
            names: ["enrollment.token", "hostward.toml", "root.json"].map(Into::into).into(),
        },
        Place { dir: status_dir.into(), names: vec![status_name.into()] },
        Place {
            dir: options.ssh.clone(),
            names: ["services.json", "user_ca.pub", "known_hosts"].map(Into::into).into(),
        },
    ]
}
