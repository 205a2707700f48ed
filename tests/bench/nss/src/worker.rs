//! A process that asks one NSS service; `c/lookups.c` says what it can be told.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Where things are, and what a worker sees instead of the machine's own.
#[derive(Debug)]
pub struct Setting {
    /// The compiled `lookups.c`.
    pub program: PathBuf,
    /// Where `libnss_*.so.2` are that the machine does not have itself.
    pub libraries: PathBuf,
    /// Holds the keys, the table, and all else of this number of users.
    pub data: PathBuf,
    /// Room for the largest answer, in bytes.
    pub buffer: usize,
}

/// A service and what is put in its place for it: file or directory, and path of the machine's.
#[derive(Clone, Debug)]
pub struct Case {
    /// The word of `nsswitch.conf`, or `limit`.
    pub service: &'static str,
    pub binds: Vec<(PathBuf, &'static str)>,
}

impl Setting {
    fn command(&self, case: &Case) -> Command {
        let mut command = Command::new(&self.program);
        for (from, to) in &case.binds {
            command.arg("--bind").arg(from).arg(to);
        }
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// Nanoseconds of the first lookup of a process.
    pub fn first(&self, case: &Case, name: &str) -> Result<f64> {
        Ok(answer(self.command(case).args(["--first", case.service, name]))?[0])
    }

    /// System calls of a warm lookup.
    pub fn calls(&self, case: &Case, operation: &str) -> Result<f64> {
        let mut command = self.command(case);
        command.args(["--calls", case.service]).arg(&self.data).arg(self.buffer.to_string()).arg(operation);
        Ok(answer(&mut command)?[0])
    }

    /// KiB of memory of its own, and of files that it has mapped.
    pub fn memory(&self, case: &Case) -> Result<(f64, f64)> {
        let mut command = self.command(case);
        command.args(["--memory", case.service]).arg(&self.data).arg("65536");
        let said = answer(&mut command)?;
        Ok((said[0], said[1]))
    }

    /// Starts one that waits to be told what to ask.
    pub fn start(&self, case: &Case) -> Result<Worker> {
        let mut command = self.command(case);
        command.arg(case.service).arg(&self.data).arg(self.buffer.to_string());
        command.arg(self.data.join("table"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("no worker")?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else { bail!("no pipes") };
        Ok(Worker { service: case.service, child, to, from: BufReader::new(from) })
    }
}

fn answer(command: &mut Command) -> Result<Vec<f64>> {
    let output = command.output().context("no worker")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    said.split_whitespace().map(|word| word.parse().context("not a number")).collect()
}

/// Ends with its standard input.
#[derive(Debug)]
pub struct Worker {
    pub service: &'static str,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Worker {
    /// Asks so many times in each of so many threads; nanoseconds that a thread took, and entries that all got.
    pub fn ask(&mut self, operation: &str, times: u64, threads: usize) -> Result<(f64, u64)> {
        writeln!(self.to, "{operation} {times} {threads}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [ns, found] => Ok((ns.parse()?, found.parse()?)),
            _ => bail!("the worker that asks {} has ended", self.service),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Compiles `lookups.c` and the module that answers with constants.
pub fn compile(sources: &Path, to: &Path) -> Result<()> {
    let file = |name: &str| sources.join(name);
    let mut lookups = Command::new("cc");
    lookups.args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]).arg(to.join("lookups"));
    lookups.arg(file("lookups.c")).arg(file("limit.c"));
    let mut null = Command::new("cc");
    null.args([
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libnss_null.so.2",
        "-o",
    ]);
    null.arg(to.join("libnss_null.so.2")).arg(file("null.c"));
    for mut command in [lookups, null] {
        ensure!(command.status().context("no C compiler")?.success(), "{command:?} failed");
    }
    Ok(())
}
