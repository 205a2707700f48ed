//! The command `lab`: throwaway hosts to explore, and the demonstration.

mod colours;
mod demo;
mod explore;
mod stage;
mod story;

use std::process::ExitCode;
use std::thread;

use anyhow::Result;
use clap::{Parser, Subcommand};
use hostward_lab::{Clean, Release, base_image, clean};

/// Throwaway Debian hosts with a backend
#[derive(Parser)]
#[command(name = "lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the base images that are not there yet
    Images {
        /// Only this release
        release: Option<Release>,
    },
    /// Show the main job from end to end on a throwaway host
    Demo {
        /// What the host runs
        #[arg(long, default_value = "bookworm")]
        release: Release,
    },
    /// Start a lab to explore: an enrolled host `web1` and its backend
    Up {
        /// What the host runs
        #[arg(long, default_value = "bookworm")]
        release: Release,
    },
    /// Show whether hosts and backend of the lab that is up run, and whether its team file is in force
    Status,
    /// Open a root shell on a host of the lab that is up
    Shell {
        /// The host's name
        #[arg(default_value = stage::HOST)]
        host: String,
    },
    /// Log in to a host of the lab that is up, with a new certificate of three minutes
    Ssh {
        /// Whom to log in as
        user: String,
        /// The host's name
        #[arg(default_value = stage::HOST)]
        host: String,
        /// What to run there in place of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run a command of the backend of the lab that is up, such as `hosts`, `reports` or `token`
    Backend {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Remove the lab that is up
    Down,
    /// Remove what labs that are no longer running left behind
    Clean,
}

fn main() -> ExitCode {
    // A backtrace is of no use to whoever explores.
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Images { release } => {
            let wanted = release.map_or(Release::ALL.to_vec(), |release| vec![release]);
            // Much of making one is waiting for the archive.
            let images = thread::scope(|scope| {
                let makers: Vec<_> =
                    wanted.into_iter().map(|release| scope.spawn(move || base_image(release))).collect();
                makers.into_iter().map(|maker| maker.join().expect("does not panic")).collect::<Vec<_>>()
            });
            for image in images {
                println!("{}", image?.display());
            }
            Ok(())
        }
        Command::Demo { release } => demo::run(release),
        Command::Up { release } => explore::up(release),
        Command::Status => explore::status(),
        Command::Shell { host } => explore::shell(&host),
        Command::Ssh { user, host, command } => explore::ssh(&user, &host, &command),
        Command::Backend { args } => explore::backend(&args),
        Command::Down => explore::down(),
        Command::Clean => {
            for id in clean(Clean::Abandoned)? {
                println!("removed what was left of lab {id}");
            }
            Ok(())
        }
    }
}
