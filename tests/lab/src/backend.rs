//! The mock backend, run on the lab's side of the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{Background, Output};
use crate::lab::Lab;
use crate::network::{BACKEND_NAME, HERE};
use crate::wait::wait_for;
use crate::workspace;

const PORT: u16 = 8443;
const PROGRAM: &str = "hostward-mock-backend";
const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A backend with its state; it stops when it is dropped.
#[derive(Debug)]
pub struct Backend<'lab> {
    lab: &'lab Lab,
    program: PathBuf,
    directory: PathBuf,
    /// Further options of `serve`.
    options: Vec<String>,
    server: Option<Background>,
}

impl Lab {
    /// Starts a backend that publishes what `team` (the text of a `team.toml`) says.
    ///
    /// # Errors
    /// When its program was not built or its directory cannot be written.
    ///
    /// # Panics
    /// When it does not listen in time, with what it said.
    pub fn backend(&self, team: &str) -> Result<Backend<'_>> {
        self.backend_with(team, &[])
    }

    /// As [`Lab::backend`], with further options of its `serve`.
    ///
    /// # Errors
    /// As [`Lab::backend`].
    ///
    /// # Panics
    /// As [`Lab::backend`].
    pub fn backend_with(&self, team: &str, options: &[&str]) -> Result<Backend<'_>> {
        let mut backend = self.attached_backend()?;
        backend.options = options.iter().map(|&option| option.to_owned()).collect();
        fs::create_dir_all(backend.state_dir()).context("cannot create the backend's state directory")?;
        backend.set_team(team)?;
        backend.start();
        Ok(backend)
    }

    /// The backend that another process left running in this lab; [`Backend::stop`] has no effect on it.
    ///
    /// # Errors
    /// When its program was not built.
    pub fn attached_backend(&self) -> Result<Backend<'_>> {
        Ok(Backend {
            lab: self,
            program: workspace::program(PROGRAM, "HOSTWARD_MOCK_BACKEND")?,
            directory: self.directory("backend")?,
            options: Vec::new(),
            server: None,
        })
    }
}

impl Backend<'_> {
    /// Its origin, as hosts of the lab reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{BACKEND_NAME}:{PORT}")
    }

    /// The certificate, in PEM, of the CA that vouches for it.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        let path = self.state_dir().join("tls/ca.pem");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()))
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The file that says who belongs to the team, which it reads again when it changes.
    #[must_use]
    pub fn team_file(&self) -> PathBuf {
        self.directory.join("team.toml")
    }

    /// Replaces the team file in one go.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_team(&self, team: &str) -> Result<()> {
        replace(&self.team_file(), team)
    }

    /// Replaces one piece of text in the team file, which must be there.
    ///
    /// # Errors
    /// When the file cannot be read or written, or does not hold `old`.
    pub fn edit_team(&self, old: &str, new: &str) -> Result<()> {
        let path = self.team_file();
        let team = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        anyhow::ensure!(team.contains(old), "`{}` does not hold `{old}`", path.display());
        self.set_team(&team.replace(old, new))
    }

    /// Publishes another team file, and returns once hosts can see it.
    ///
    /// # Panics
    /// When the backend does not accept it, with what it said.
    #[track_caller]
    pub fn publish(&self, team: &str) {
        if let Err(error) = self.set_team(team) {
            panic!("{error:#}");
        }
        self.must(&["sync"]);
    }

    /// Replaces one piece of text in the team file, which must be there, and returns once hosts can see it.
    ///
    /// # Panics
    /// When the text is not there or the backend does not accept the result.
    #[track_caller]
    pub fn change(&self, old: &str, new: &str) {
        if let Err(error) = self.edit_team(old, new) {
            panic!("{error:#}");
        }
        self.must(&["sync"]);
    }

    /// A new enrollment token, which pins the root of trust.
    #[track_caller]
    #[must_use]
    pub fn token(&self) -> String {
        self.ok(&["token"])
    }

    /// The program, for messages that tell a person how to run it.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs one of its subcommands against its state.
    pub fn run(&self, args: &[&str]) -> Output {
        let (program, state) = (self.program.to_string_lossy(), self.state_dir());
        let state = state.to_string_lossy();
        let [subcommand, rest @ ..] = args else {
            panic!("the backend needs a subcommand");
        };
        let args = [&[&*program, subcommand, "--state", &state], rest].concat();
        self.lab.run_args_in_network(&args, &[])
    }

    /// Runs one of its subcommands, which must succeed, and returns what it printed.
    #[track_caller]
    #[must_use]
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).expect_success()
    }

    /// Runs one of its subcommands, which must succeed.
    #[track_caller]
    pub fn must(&self, args: &[&str]) {
        let _ = self.ok(args);
    }

    /// Starts it if it does not run, and returns once it serves.
    ///
    /// # Panics
    /// When it does not in time, with what it said.
    #[track_caller]
    pub fn start(&mut self) {
        let (program, team, state) = (&self.program, self.team_file(), self.state_dir());
        let (program, team, state) =
            (program.to_string_lossy(), team.to_string_lossy(), state.to_string_lossy());
        let (listen, url) = (format!("{HERE}:{PORT}"), self.url());
        let mut args = vec![&*program, "serve", "--team", &team, "--state", &state, "--listen", &listen];
        args.extend(["--name", BACKEND_NAME, "--url", &url]);
        args.extend(self.options.iter().map(String::as_str));
        let mut server = self.lab.spawn_args_in_network(&args);
        wait_for(START_PATIENCE, "the backend to serve", || {
            // Its last words before it only answers.
            if server.stdout().contains("its CA: ") {
                Ok(())
            } else if server.is_running() {
                Err(server.stderr())
            } else {
                panic!("the backend ended: {}", server.wait(Duration::ZERO));
            }
        });
        self.server = Some(server);
    }

    /// Stops it, as a broken backend would: hosts get no connection.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.signal("TERM");
            let _ = server.wait(STOP_PATIENCE);
        }
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Runs one of its subcommands on the caller's terminal.
    ///
    /// # Errors
    /// When its program cannot be started.
    pub fn on_terminal(&self, args: &[String]) -> Result<ExitStatus> {
        Command::new(&self.program)
            .arg("--state")
            .arg(self.state_dir())
            .args(args)
            .status()
            .with_context(|| format!("cannot start `{}`", self.program.display()))
    }

    /// What it wrote to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.as_ref().map(|server| server.stdout() + &server.stderr()).unwrap_or_default()
    }

    /// Leaves it running when this value is dropped; for a lab that is kept.
    pub fn keep(mut self) {
        if let Some(server) = self.server.take() {
            server.keep();
        }
    }
}

fn replace(path: &Path, content: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
