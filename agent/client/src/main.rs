//! The command line of hostward.

mod ask;
mod caller;
mod cli;
mod command;
mod doctor;
mod enroll;
mod generate;
mod show;
mod state;
mod status;
mod unenroll;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match command::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hostward: {}", show::chain(&*error));
            ExitCode::from(command::exit::CANNOT_ASK)
        }
    }
}
