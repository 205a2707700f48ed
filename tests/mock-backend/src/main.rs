//! The mock backend's command line: one command serves, the others ask the one that serves.

mod commands;
mod serve;
mod sign_key;

use std::process::ExitCode;

use clap::Parser;

use commands::{Arguments, Command};

fn main() -> ExitCode {
    // A backtrace is of no use to whoever mistyped a name.
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Serve(options) => serve::run(&arguments.state, options),
        Command::SignKey(options) => sign_key::run(&arguments.state, options),
        command => commands::ask(&arguments.state, command),
    }
}
