//! The mock backend's command line: one command serves, the others ask the one that serves.

mod commands;
mod serve;
mod sign_key;

use clap::Parser;

use commands::{Arguments, Command};

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Serve(options) => serve::run(&arguments.state, options),
        Command::SignKey(options) => sign_key::run(&arguments.state, options),
        command => commands::ask(&arguments.state, command),
    }
}
