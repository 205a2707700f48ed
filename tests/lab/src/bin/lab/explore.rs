//! A lab that stays up: `up`, `status`, `shell`, `ssh`, `backend`, `down`.

use std::env;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hostward_lab::{Backend, Host, Lab, Output, Release, State, built_package};

use crate::stage;

/// The lab that `up` starts and the others find.
const NAME: &str = "explore";
const SOON: Duration = Duration::from_secs(30);
const BOOT_PATIENCE: Duration = Duration::from_secs(60);

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
         how it all goes    {lab} status\n\
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

/// How hosts and backend are; fails where something is not as it should be.
pub fn status() -> Result<()> {
    let lab = Lab::attach(NAME)?;
    let mut well = true;
    for host in lab.hosts()? {
        let state = match host.state() {
            State::Running => "running",
            State::Between => "booting or shutting down",
            State::Off => "off; `lab shell` and `lab ssh` boot it again",
        };
        well &= host.state() == State::Running;
        println!("host {} ({}, {}): {state}", host.name(), host.release(), host.address());
    }
    let backend = lab.attached_backend()?;
    println!("team file: {}", backend.team_file().display());
    well &= backend.on_terminal(&["status".to_owned()])?.success();
    process::exit(i32::from(!well));
}

/// A root shell on a host.
pub fn shell(name: &str) -> Result<()> {
    let lab = Lab::attach(NAME)?;
    let host = host(&lab, name)?;
    let status = lab.attached_backend()?.run(&["status"]);
    if !status.success() {
        eprintln!("warning: {}", complaint(&status));
    }
    host.shell()
}

/// A login with a new key and certificate, on the caller's terminal.
pub fn ssh(user: &str, name: &str, command: &[String]) -> Result<()> {
    let lab = Lab::attach(NAME)?;
    let host = host(&lab, name)?;
    let key = lab.directory("keys")?.join(user);
    if !key.exists() {
        lab.ssh_key(user)?;
    }
    sign(&lab.attached_backend()?, user, &key.with_extension("pub").to_string_lossy())?;
    let args = lab.login(&host, user).key(&key).args(&[]);
    let status = lab
        .terminal_in_network(&args.iter().chain(command).map(String::as_str).collect::<Vec<_>>())
        .context("cannot start ssh")?;
    process::exit(status.code().unwrap_or(255));
}

fn sign(backend: &Backend<'_>, user: &str, public: &str) -> Result<()> {
    let signed = backend.run(&["sign-key", "--user", user, "--pubkey", public]);
    if !signed.success() {
        bail!(
            "no certificate for `{user}`: {}\nwho there is, and may log in where: {}",
            complaint(&signed),
            backend.team_file().display()
        );
    }
    // Warnings, of a team file that cannot be used for one.
    eprint!("{}", signed.stderr);
    Ok(())
}

/// Why a command failed; what it said before is passed on.
fn complaint(output: &Output) -> &str {
    match output.stderr.trim_end().rsplit_once("Error: ") {
        Some((before, why)) => {
            eprint!("{before}");
            why
        }
        None => output.stderr.trim_end(),
    }
}

/// A command of the backend.
pub fn backend(args: &[String]) -> Result<()> {
    let lab = Lab::attach(NAME)?;
    let status = lab.attached_backend()?.on_terminal(args)?;
    process::exit(status.code().unwrap_or(255));
}

/// Removes the lab.
pub fn down() -> Result<()> {
    Lab::attach(NAME)?.remove()
}

/// A host that runs: one that is booting is waited for, one that was shut down is booted again.
fn host(lab: &Lab, name: &str) -> Result<Host> {
    let hosts = lab.hosts()?;
    let names = hosts.iter().map(|host| host.name().to_owned()).collect::<Vec<_>>().join(", ");
    let host = hosts
        .into_iter()
        .find(|host| host.name() == name)
        .with_context(|| format!("no host `{name}` in the lab; there is: {names}"))?;
    let deadline = Instant::now() + BOOT_PATIENCE;
    let mut said = false;
    loop {
        match host.state() {
            State::Running => return Ok(host),
            State::Off => {
                eprintln!("{name} is off; booting it again");
                host.start()?;
                return Ok(host);
            }
            State::Between if Instant::now() >= deadline => bail!(
                "`{name}` has been booting or shutting down for {} s; `make lab-down lab` makes a new one",
                BOOT_PATIENCE.as_secs()
            ),
            State::Between => {
                if !said {
                    eprintln!("{name} is booting or shutting down; waiting");
                    said = true;
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
