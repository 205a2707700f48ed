//! Telling a story with real commands: each is printed as it is run, with what it said.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use hostward_lab::{Background, Host, Lab, Output};

use crate::colours::{self, Colour, paint};

/// What a command is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It succeeds.
    Success,
    /// It fails, which is the point.
    Refusal,
}

/// Prints as it goes; the first command that does not come to what is expected ends the story.
pub struct Story<'a> {
    lab: &'a Lab,
    laptop: &'a Path,
    chapter: usize,
    colours: bool,
}

impl<'a> Story<'a> {
    /// A story whose laptop is this directory.
    pub fn new(lab: &'a Lab, laptop: &'a Path) -> Self {
        Self { lab, laptop, chapter: 0, colours: colours::wanted() }
    }

    /// The laptop's directory.
    pub fn laptop(&self) -> &Path {
        self.laptop
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        println!("\n{}", self.heading(format_args!("{}. {title}", self.chapter)));
    }

    /// A text that stands out.
    pub fn heading(&self, text: impl Display) -> String {
        paint(self.colours, Colour::Bold, text)
    }

    /// Says something.
    pub fn say(&self, text: &str) {
        println!("   {text}");
        let _unprinted = io::stdout().flush();
    }

    /// Runs a command on the host as root.
    pub fn on(&self, host: &Host, expect: Expect, cmd: &str) -> Result<String> {
        self.command(&format!("{}#", host.name()), cmd);
        self.outcome(host.run_within(Duration::from_secs(180), cmd), expect)
    }

    /// Runs a command on the host as root, with something to read.
    pub fn on_with_input(&self, host: &Host, cmd: &str, input: &str) -> Result<String> {
        self.command(&format!("{}#", host.name()), cmd);
        self.outcome(host.run_with_input(cmd, input.as_bytes()), Expect::Success)
    }

    /// Runs a command on the laptop.
    pub fn on_laptop(&self, expect: Expect, cmd: &str) -> Result<String> {
        self.command("laptop$", cmd);
        self.outcome(self.lab.run_in_network(&self.there(cmd)), expect)
    }

    /// Starts a command on the laptop that goes on while the story does.
    pub fn open_on_laptop(&self, cmd: &str) -> Background {
        self.command("laptop$", cmd);
        self.lab.spawn_in_network(&self.there(&format!("exec {cmd}")))
    }

    /// Prints what a command that was run otherwise said.
    pub fn show(&self, prompt: &str, cmd: &str, output: Output) -> Result<String> {
        self.command(prompt, cmd);
        self.outcome(output, Expect::Success)
    }

    fn there(&self, cmd: &str) -> String {
        format!("cd '{}' && {cmd}", self.laptop.display())
    }

    fn command(&self, prompt: &str, cmd: &str) {
        println!("   {} {cmd}", paint(self.colours, Colour::Cyan, prompt));
        let _unprinted = io::stdout().flush();
    }

    fn outcome(&self, output: Output, expect: Expect) -> Result<String> {
        for line in output.text().lines() {
            println!("      {line}");
        }
        if output.success() != (expect == Expect::Success) {
            bail!("that was not to happen (exit status {})", output.status);
        }
        Ok(output.stdout)
    }
}
