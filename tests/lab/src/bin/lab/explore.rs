//! A lab that stays up: `up`, `shell`, `ssh`, `backend`, `down`.

use std::env;
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hostward_lab::{Host, Lab, Release, built_package};

use crate::stage;

/// The lab that `up` starts and the others find.
const NAME: &str = "explore";
const SOON: Duration = Duration::from_secs(30);

/// Starts a lab with an enrolled host and says how to use it.
pub fn up(release: Release) -> Result<()> {
    let package = built_package()?;
    let lab = Lab::named(NAME)?;
    stage::laptop(&lab)?;
    let backend = lab.backend(stage::TEAM)?;
    let host = lab.host(stage::HOST, release).boot()?;
    stage::configure(&host, &backend);
    host.install(&package);
    let enrolled = host.run_with_input("hostward enroll", backend.token().as_bytes());
    if !enrolled.success() {
        bail!("{enrolled}\n{}", host.journal("hostward.service"));
    }
    host.wait_until_ok(SOON, "getent passwd alice");
    let program = env::current_exe().context("cannot find the path of this program")?;
    println!(
        "{host} ({release}, {address}) is enrolled; its backend is {url}\n\n\
         a root shell       {lab} shell\n\
         a login            {lab} ssh alice\n\
         change the policy  edit {team}\n\
         hosts, reports     {lab} backend hosts\n\
         make it misbehave  {lab} backend faults --all\n\
         remove it all      make lab-down",
        host = host.name(),
        address = host.address(),
        url = backend.url(),
        lab = program.display(),
        team = backend.team_file().display(),
    );
    backend.keep();
    host.keep();
    lab.keep()
}

/// A root shell on a host.
pub fn shell(name: &str) -> Result<()> {
    let lab = Lab::attach(NAME)?;
    host(&lab, name)?.shell()
}

/// A login with a new key and certificate, on the caller's terminal.
pub fn ssh(user: &str, name: &str, command: &[String]) -> Result<()> {
    let lab = Lab::attach(NAME)?;
    let host = host(&lab, name)?;
    let key = lab.directory("keys")?.join(user);
    if !key.exists() {
        lab.ssh_key(user)?;
    }
    let public = key.with_extension("pub");
    lab.attached_backend()?.must(&["sign-key", "--user", user, "--pubkey", &public.to_string_lossy()]);
    let args = lab.login(&host, user).key(&key).args(&[]);
    let status = lab
        .terminal_in_network(&args.iter().chain(command).map(String::as_str).collect::<Vec<_>>())
        .context("cannot start ssh")?;
    process::exit(status.code().unwrap_or(255));
}

/// A command of the backend.
pub fn backend(args: &[String]) -> Result<()> {
    let lab = Lab::attach(NAME)?;
    let backend = lab.attached_backend()?;
    let status = Command::new(backend.program())
        .arg("--state")
        .arg(backend.state_dir())
        .args(args)
        .status()
        .context("cannot start the backend's program")?;
    process::exit(status.code().unwrap_or(255));
}

/// Removes the lab.
pub fn down() -> Result<()> {
    Lab::attach(NAME)?.remove()
}

fn host(lab: &Lab, name: &str) -> Result<Host> {
    lab.hosts()?
        .into_iter()
        .find(|host| host.name() == name)
        .with_context(|| format!("no host `{name}` in the lab"))
}
