//! A lab's network: one namespace with a bridge, on which this side and every host have an address.
//!
//! Nothing of it is reachable from outside, and nothing outside can be reached from it. As each lab has a namespace of
//! its own, all of them use the same addresses.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// This side's address, where the backend listens and ssh clients come from.
pub const HERE: &str = "10.66.0.1";

/// The name of [`HERE`] in every `/etc/hosts`.
pub const BACKEND_NAME: &str = "backend.test";

/// The address of a lab's n-th host, from 0.
#[must_use]
pub fn address(index: usize) -> String {
    format!("10.66.0.{}", index + 10)
}

/// The n-th address that a client on this side may come from, in turns.
#[must_use]
pub fn client_address(index: usize) -> String {
    format!("10.66.1.{}", index % 254 + 1)
}

/// The bridge's own: it would take a port's otherwise, and change it when that is plugged or goes, and every host would
/// send to where nobody is until its neighbour entry dies.
const BRIDGE: &str = "02:00:00:00:00:01";

/// Makes the namespace of a lab with its bridge.
pub(crate) fn make(namespace: &str) -> Result<()> {
    ip(&[], &format!("netns add {namespace}"))?;
    ip(
        &["-n", namespace],
        &format!(
            "link set lo up\n\
             link add lab address {BRIDGE} type bridge forward_delay 0\n\
             addr add {HERE}/16 dev lab\n\
             link set lab up\n\
             route add local 10.66.1.0/24 dev lab\n"
        ),
    )
}

/// Makes the namespace of the n-th host and plugs it into the lab's bridge.
pub(crate) fn plug(lab: &str, host: &str, index: usize) -> Result<()> {
    ip(&[], &format!("netns add {host}"))?;
    ip(
        &["-n", lab],
        &format!(
            "link add port{index} type veth peer name host0 netns {host}\n\
             link set port{index} master lab up\n"
        ),
    )?;
    ip(
        &["-n", host],
        &format!(
            "link set lo up\n\
             addr add {}/16 dev host0\n\
             link set host0 up\n",
            address(index)
        ),
    )
}

/// Takes a host off the network, or puts it back.
pub(crate) fn set_link(lab: &str, index: usize, state: &str) -> Result<()> {
    ip(&["-n", lab], &format!("link set port{index} {state}\n"))
}

fn ip(options: &[&str], batch: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start `ip`: is iproute2 installed?")?;
    if let Some(stdin) = child.stdin.as_mut() {
        stdin.write_all(batch.as_bytes()).context("cannot write to `ip`")?;
    }
    let output = child.wait_with_output().context("cannot wait for `ip`")?;
    if !output.status.success() {
        bail!("cannot set up the network, run as root?\n{batch}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
