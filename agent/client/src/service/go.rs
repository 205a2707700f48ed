//! Going to a host: `hostward ssh`, and `hostward proxycommand`, which ssh runs.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use hostward_protocol::service::{Answer, Query};

use super::agent::{Agent, ServiceError};
use super::ssh_options::Destination;
use super::{pump, resolve, settings, ssh_options, state};

/// What ssh is called with where nobody said a port.
const USUAL_PORT: u16 = 22;

/// Becomes an ssh to the host.
pub fn ssh(name: &str, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let (way, mut agent) = resolve::find(name)?;
    agent.have_certificate()?;
    let Some(target) = way.route.last() else {
        return Err(agent.unexpected(&Answer::Resolved { user: way.user, route: Vec::new() }).into());
    };
    let mut ssh = Command::new("ssh");
    // It has to be certified for the name that was asked for: a host that calls itself what another is called may be
    // found in its place, and no certificate is for a name that two have.
    let destination = Destination { id: &target.id, called: &name.to_lowercase() };
    ssh.args(ssh_options::arguments(&way.user, &destination, &program()));
    ssh.arg("--").arg(name).args(command);
    match become_(ssh)? {}
}

/// Connects standard input and output to the host's sshd, over its bastions where it has any.
pub fn proxycommand(name: &str, port: Option<u16>) -> anyhow::Result<ExitCode> {
    let (way, mut agent) = resolve::find(name)?;
    agent.have_certificate()?;
    drop(agent);
    let mut route = way.route.iter().rev();
    let (Some(target), bastion) = (route.next(), route.next()) else {
        return Ok(ExitCode::from(crate::exit::ATTENTION));
    };
    // ssh says 22 where nobody said anything.
    let port = port.filter(|port| *port != USUAL_PORT).unwrap_or(target.port);
    let Some(bastion) = bastion else {
        pump::connect(&target.address, port)?.run()?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut ssh = Command::new("ssh");
    // Nothing of the account's own configuration has a say in how a bastion is passed.
    ssh.args(["-F", "none", "-o", "BatchMode=yes"]);
    // Whoever it is, it carries what it cannot read.
    let destination = Destination { id: &bastion.id, called: &bastion.id };
    ssh.args(ssh_options::arguments(&way.user, &destination, &program()));
    ssh.arg("-W").arg(format!("[{}]:{port}", target.address)).arg("--").arg(&bastion.id);
    match become_(ssh)? {}
}

/// Prints what goes into `~/.ssh/config` where the host's own configuration of ssh does not have it.
pub fn block() -> anyhow::Result<ExitCode> {
    if settings::is_off()? {
        return Err(ServiceError::TurnedOff.into());
    }
    let mut agent = Agent::connect()?;
    let state = match agent.ask(&Query::Service)? {
        Answer::Service(state) => state,
        other => return Err(agent.unexpected(&other).into()),
    };
    let Some(user) = &state.user else {
        return Err(ServiceError::Refused(Box::new(state::why_not(&state))).into());
    };
    let program = program();
    println!(
        "# Hosts that hostward knows are gone to as {user}, with a certificate that this account gets by itself."
    );
    println!("Match exec \"{} resolve -q -- '%h'\"", ssh_options::for_shell(&program));
    for line in ssh_options::lines(user, &program) {
        println!("    {line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// This program, for the ssh that runs it again.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/usr/bin/hostward".into())
}

fn become_(mut command: Command) -> Result<Infallible, ServiceError> {
    Err(ServiceError::Ssh(command.exec()))
}
