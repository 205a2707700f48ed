//! Runs the host's own programs: fixed absolute paths, an environment of our own, bounded output, bounded time.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The most that is kept of what a program prints on either stream, in bytes.
const MAX_OUTPUT: u64 = 256 << 10;

/// How long a program may take that only looks at files.
pub const QUICK: Duration = Duration::from_secs(20);

/// What a program did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// It ended with 0.
    pub success: bool,
    /// Its exit status, where it was not killed by a signal.
    pub code: Option<i32>,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

impl Ran {
    /// Everything it printed, with control characters made visible: it may quote files that others wrote.
    pub fn said(&self) -> String {
        let text = format!("{}\n{}", self.stderr.trim(), self.stdout.trim());
        text.trim()
            .chars()
            .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
            .take(2000)
            .collect()
    }
}

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started.
    #[error("cannot run `{program}`", program = program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("`{program}` did not end within {seconds} s and was killed", program = program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// How long it was given.
        seconds: u64,
    },
}

/// Runs `program` with `arguments`.
pub fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<Ran, CommandError> {
    run_in(program, arguments, Path::new("/"), Stdio::piped(), limit)
}

/// The same with a working directory and somewhere for standard output to go.
pub fn run_in<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    directory: &Path,
    stdout: Stdio,
    limit: Duration,
) -> Result<Ran, CommandError> {
    let failed = |source| CommandError::Start { program: program.into(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let deadline = Instant::now() + limit;
    let ended = await_end(&child, deadline).map_err(failed)?;
    if !ended {
        kill_group(&child);
        let _ = child.wait();
        return Err(CommandError::TimedOut { program: program.into(), seconds: limit.as_secs() });
    }
    let status = child.wait().map_err(failed)?;
    // A grandchild that keeps the pipe open must not keep us.
    let text = |collected: Option<mpsc::Receiver<Vec<u8>>>| {
        let bytes = collected.and_then(|c| c.recv_timeout(Duration::from_secs(1)).ok());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    };
    Ok(Ran {
        success: status.success(),
        code: status.code().or(status.signal().map(|signal| 128 + signal)),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

fn collect(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = stream.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
        let _ = io::copy(&mut stream, &mut io::sink());
        let _ = sender.send(kept);
    });
    receiver
}

/// Whether the child ended before the deadline.
fn await_end(child: &Child, deadline: Instant) -> io::Result<bool> {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Ok(true);
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut wait = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut wait, Some(&timespec(left))) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A duration as poll(2) wants it.
pub fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may just have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_kept() {
        let ran =
            run(Path::new("/bin/sh"), ["-c", "echo out; echo err >&2; env; exit 3"], QUICK).expect("it runs");
        assert!(!ran.success);
        assert_eq!(ran.code, Some(3));
        assert_eq!(ran.stderr, "err\n");
        assert!(ran.stdout.starts_with("out\n"), "{}", ran.stdout);
        assert!(!ran.stdout.contains("HOME="), "{}", ran.stdout);
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_its_children() {
        let error = run(Path::new("/bin/sh"), ["-c", "sleep 1000 & sleep 1000"], Duration::ZERO)
            .expect_err("it is killed");
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let none: [&str; 0] = [];
        assert!(matches!(run(Path::new("/nonexistent"), none, QUICK), Err(CommandError::Start { .. })));
    }
}
