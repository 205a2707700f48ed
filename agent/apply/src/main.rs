//! The root process. Started by its socket, without arguments; ends when nothing is asked any more.

use anyhow::Context;
use hostward_apply::engine::{self, Engine};
use hostward_apply::{Root, journal, serve};

fn main() -> anyhow::Result<()> {
    journal::start();
    let listener = listenfd::ListenFd::from_env()
        .take_unix_listener(0)
        .context("the descriptor that systemd passed is no socket")?
        .context("started without a socket: it is started by hostward-apply.socket only")?;
    let engine = Engine::open(Root::host(), engine::SECOND_LOOK)?;
    serve::serve(&engine, &listener, serve::IDLE)?;
    Ok(())
}
