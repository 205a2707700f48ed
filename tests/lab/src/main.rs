//! The command `lab`: throwaway hosts to explore, and the demonstration.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use hostward_lab::{Clean, Lab, Release, base_image, clean};

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
    /// Open a root shell on a host of the lab that is up
    Shell {
        /// The host's name
        host: String,
    },
    /// Remove the lab that is up
    Down,
    /// Remove what labs that are no longer running left behind
    Clean,
}

/// The lab that `up` starts and the others find.
const EXPLORED: &str = "explore";

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Images { release } => {
            let wanted = release.map_or(Release::ALL.to_vec(), |release| vec![release]);
            for release in wanted {
                println!("{}", base_image(release)?.display());
            }
            Ok(())
        }
        Command::Shell { host } => {
            let lab = Lab::attach(EXPLORED)?;
            let hosts = lab.hosts()?;
            let host = hosts
                .iter()
                .find(|candidate| candidate.name() == host)
                .with_context(|| format!("no host `{host}` in the lab"))?;
            host.shell()
        }
        Command::Down => Lab::attach(EXPLORED)?.remove(),
        Command::Clean => {
            for id in clean(Clean::Abandoned)? {
                println!("removed what was left of lab {id}");
            }
            Ok(())
        }
    }
}
