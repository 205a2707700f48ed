//! The service around the agent: signals, the watchdog, what is watched; and its start and end.

use std::path::Path;
use std::sync::Arc;

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
use crate::watch::{Place, Watch};

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
    let asked = control(&options)?;
    let watch = Watch::start(watched(&options))?;
    let events = Arc::new(Events::start(&options, &config)?);
    let agent = Agent::new(options, config, machine, events.clone())?;
    events.started();
    let signals = Signals { asked, watch, hang_up, watchdog: sd_notify::watchdog_enabled() };

    // Nothing was asked of the network yet: a backend that does not answer must not hold up a boot.
    notify(NotifyState::Ready);
    tokio::select! {
        () = agent.run(signals) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Whatever was under way is dropped: every file is replaced in one step, every request may be repeated.
    notify(NotifyState::Stopping);
    events.stopped();
    Ok(())
}

/// Tells the service manager, where there is one.
pub fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("cannot tell the service manager: {error}");
    }
}

fn control(options: &Options) -> anyhow::Result<mpsc::Receiver<Asked>> {
    let control = match &options.agent_socket {
        Some(path) => Some(Control::bound(path)?),
        None => Control::inherited()?,
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

fn watched(options: &Options) -> Vec<Place> {
    let (status_dir, status_name) = options.host_status_place();
    vec![
        Place {
            dir: options.etc.clone(),
            names: ["enrollment.token", "hostward.toml", "root.json"].map(Into::into).into(),
        },
        Place { dir: status_dir.into(), names: vec![status_name.into()] },
    ]
}
