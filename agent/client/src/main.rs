//! The command line of hostward.

mod ask;
mod caller;
mod cli;
mod command;
mod doctor;
mod enroll;
mod events;
mod exit;
mod generate;
mod input;
mod service;
mod show;
mod state;
mod status;
mod time;
mod unenroll;
mod units;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match command::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hostward: {}", show::paragraph(&hostward_protocol::causes::chain(&*error), "  "));
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &anyhow::Error) -> u8 {
    use service::ServiceError::{Connect, Refused, Settings, TurnedOff};
    match error.downcast_ref() {
        Some(Refused(_) | TurnedOff | Connect { .. }) => exit::ATTENTION,
        Some(Settings { .. }) => exit::USAGE,
        _ if error.is::<input::InputError>() => exit::USAGE,
        _ => exit::CANNOT_ASK,
    }
}
