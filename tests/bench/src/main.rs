//! Measures the installed package on throwaway hosts and prints a table. It judges nothing: a budget is a person's to hold
//! the figures against, and no test depends on how busy a machine is.

mod boot;
mod effect;
mod events;
mod figures;
mod pam;
mod people;
mod rest;
mod scale;
mod service;
mod size;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use figures::Table;
use hostward_host_tests::Release;

/// Measurements of hostward on a throwaway host; needs root, the package and the mock backend (`make package backend`).
#[derive(Debug, Parser)]
#[command(name = "hostward-bench", version)]
struct Arguments {
    /// What to measure; everything where absent
    #[arg(value_enum)]
    what: Vec<What>,
    /// On which release
    #[arg(long, default_value = "bookworm")]
    release: Release,
    /// How many users the policy has while the effect of changes is measured
    #[arg(long, default_value_t = 10_000)]
    users: usize,
    /// How many changes
    #[arg(long, default_value_t = 50)]
    changes: usize,
    /// How many logins and sudos, with the PAM module and without it
    #[arg(long, default_value_t = 200)]
    logins: usize,
    /// Numbers of users for whom a whole apply is measured
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    scale: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Sizes of the package and its programs
    Size,
    /// Memory and wake-ups of a host at rest
    Rest,
    /// From a change on the backend to its effect, and from a removal to the end of sessions
    Effect,
    /// Applies of large policies
    Scale,
    /// From systemd's start to accounts
    Boot,
    /// Service users: what ssh waits for, and what the SSH agent bears
    Service,
    /// What the PAM module adds to a login and to sudo
    Pam,
    /// What events weigh, and how many a second come from PAM to the backend
    Events,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wanted = |what| arguments.what.is_empty() || arguments.what.contains(&what);
    let mut table = Table::new(arguments.release);
    if wanted(What::Size) {
        size::measure(&mut table, arguments.release)?;
    }
    if wanted(What::Rest) {
        rest::measure(&mut table, arguments.release)?;
    }
    if wanted(What::Boot) {
        boot::measure(&mut table, arguments.release)?;
    }
    if wanted(What::Service) {
        service::measure(&mut table, arguments.release)?;
    }
    if wanted(What::Effect) {
        effect::measure(&mut table, arguments.release, arguments.users, arguments.changes)?;
    }
    if wanted(What::Pam) {
        pam::measure(&mut table, arguments.release, arguments.logins)?;
    }
    if wanted(What::Events) {
        events::measure(&mut table, arguments.release)?;
    }
    if wanted(What::Scale) {
        for users in arguments.scale {
            scale::measure(&mut table, arguments.release, users)?;
        }
    }
    Ok(())
}
