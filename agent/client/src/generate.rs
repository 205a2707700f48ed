//! Man pages and completions, made from the same description that parses the command line.

mod man;

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, Generate};

/// Writes them.
pub fn run(what: Generate) -> anyhow::Result<ExitCode> {
    let (Generate::Man { directory } | Generate::Completions { directory }) = &what;
    fs::create_dir_all(directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
    match &what {
        Generate::Man { directory } => {
            man::write(visible(Cli::command()), directory)
                .with_context(|| format!("cannot write man pages to `{}`", directory.display()))?;
        }
        Generate::Completions { directory } => {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                clap_complete::generate_to(shell, &mut visible(Cli::command()), "hostward", directory)
                    .with_context(|| format!("cannot write completions to `{}`", directory.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The command without what only packaging uses.
fn visible(command: clap::Command) -> clap::Command {
    let hidden: Vec<_> = command.get_subcommands().filter(|c| !c.is_hide_set()).cloned().collect();
    let mut shown = clap::Command::new("hostward")
        .version(env!("CARGO_PKG_VERSION"))
        .about(command.get_about().cloned().unwrap_or_default())
        .subcommand_required(true);
    for subcommand in hidden {
        shown = shown.subcommand(subcommand);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_has_a_man_page_and_packaging_has_none() {
        let dir = tempfile::tempdir().unwrap();
        run(Generate::Man { directory: dir.path().into() }).unwrap();
        for name in ["hostward", "hostward-status", "hostward-explain", "hostward-unenroll"] {
            assert!(dir.path().join(format!("{name}.1")).exists(), "{name}");
        }
        assert!(!dir.path().join("hostward-generate.1").exists());
        run(Generate::Completions { directory: dir.path().into() }).unwrap();
        for name in ["hostward.bash", "_hostward", "hostward.fish"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }
}
