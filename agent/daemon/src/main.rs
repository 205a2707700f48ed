//! The network process: enrolls the host, mirrors the policy for root, delivers reports.
//!
//! It runs as an unprivileged user and decides nothing: what it fetches is believed by nobody until the
//! root process has checked the project's signatures. It must never supply a root of trust, and never send
//! a credential anywhere but to the backend's own origin.

mod apply;
mod backend;
mod backoff;
mod clock;
mod control;
mod delivery;
mod disk;
mod driver;
mod enrollment;
mod events;
mod foreign;
mod host_certificates;
mod host_info;
mod identity;
mod inbox;
mod job;
mod journal;
mod machine;
mod metrics;
mod paths;
mod policy;
mod random;
mod reporting;
mod service;
mod siem;
mod sockets;
mod sources;
mod ssh_agent;
mod status;
mod token;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = paths::Options::parse();
    journal::start();
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: paths::Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Names are looked up on a thread of their own; it goes as soon as it has nothing to do.
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .max_blocking_threads(4)
        .build()?;
    runtime.block_on(service::run(options))
}
