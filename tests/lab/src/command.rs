//! Running a command to its end, or in the background, and what came of it.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use std::os::unix::process::ExitStatusExt;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long a command may take unless the caller says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `timeout` exits with when it had to end the command.
const TIMED_OUT: i32 = 124;

/// A command that has ended.
#[derive(Clone, Debug)]
#[must_use]
pub struct Output {
    /// The command and where it ran, for messages.
    pub command: String,
    /// The exit code; 128 + n after signal n; 124 when it did not end in time.
    pub status: i32,
    /// Its standard output, lossily read as UTF-8.
    pub stdout: String,
    /// Its standard error, lossily read as UTF-8.
    pub stderr: String,
}

impl Output {
    /// Whether it exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Its standard output.
    ///
    /// # Panics
    /// When the command failed, with everything it said.
    #[track_caller]
    #[must_use]
    pub fn expect_success(self) -> String {
        assert!(self.success(), "{self}");
        self.stdout
    }

    /// Both outputs together, standard output first.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        let why = if self.status == TIMED_OUT { " (did not end in time)" } else { "" };
        writeln!(f, "exit status {}{why}", self.status)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                writeln!(f, "--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// Runs `command` to its end. Its outputs are files, not pipes, so that a daemon it leaves behind keeps nobody waiting.
pub(crate) fn complete(mut command: Command, label: String, input: &[u8]) -> Output {
    let outcome = (|| {
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let child =
            command.stdin(file_of(input)?).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
        Ok::<_, std::io::Error>((end_of(&child)?, text_of(&mut stdout)?, text_of(&mut stderr)?))
    })();
    match outcome {
        Ok((status, stdout, stderr)) => Output { command: label, status, stdout, stderr },
        Err(error) => panic!("{label}\ncannot be run: {error}"),
    }
}

/// Waits for the end of a child. nsenter stops when what it runs is stopped, as everything is at the end of a shutdown, and
/// then nobody would ever reap what is killed next: it goes on.
fn end_of(child: &Child) -> std::io::Result<i32> {
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        match waitpid(pid, Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(WaitStatus::Stopped(..)) => kill(pid, Signal::SIGCONT)?,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A command that runs until it ends by itself, is killed, or is dropped.
#[derive(Debug)]
pub struct Background {
    label: String,
    child: Child,
    /// Holds all that the command started, wherever it moved in the process tree.
    cgroup: PathBuf,
    /// What it prints goes to this path with `.out` and `.err` appended.
    log: PathBuf,
}

impl Background {
    pub(crate) fn start(mut command: Command, label: String, cgroup: PathBuf, log: PathBuf) -> Self {
        let started = (|| {
            if let Some(directory) = log.parent() {
                fs::create_dir_all(directory)?;
            }
            command
                .stdin(Stdio::piped())
                .stdout(File::create(log.with_extension("out"))?)
                .stderr(File::create(log.with_extension("err"))?)
                .spawn()
        })();
        match started {
            Ok(child) => Self { label, child, cgroup, log },
            Err(error) => panic!("{label}\ncannot be started: {error}"),
        }
    }

    /// What it printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.log.with_extension("out"))
    }

    /// What it complained of so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.log.with_extension("err"))
    }

    /// Writes to its standard input, which is open until then.
    ///
    /// # Panics
    /// When it no longer reads.
    #[track_caller]
    pub fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is a pipe");
        if let Err(error) = stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()) {
            panic!("{}\nno longer reads: {error}\n{}", self.label, self.stderr());
        }
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `patience`.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> Output {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return self.output(code(status)),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) => panic!("still running after {patience:?}: {}", self.output(TIMED_OUT)),
                Err(error) => panic!("{}\ncannot be waited for: {error}", self.label),
            }
        }
    }

    /// Asks it to end with `signal` (a name as kill(1) knows it), which goes to the command only.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let _already_gone = Command::new("kill").args(["-s", signal, &pid]).status();
    }

    /// Ends it and all that it started, at once.
    pub fn kill(&mut self) {
        let _already_gone = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let _killed = self.child.wait();
    }

    /// Lets it run on after this value is gone.
    pub fn keep(self) {
        // Its standard input must end here, but the destructor, which would kill it, must not run.
        let mut this = std::mem::ManuallyDrop::new(self);
        drop(this.child.stdin.take());
    }

    fn output(&self, status: i32) -> Output {
        Output { command: self.label.clone(), status, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
        let _still_dying = fs::remove_dir(&self.cgroup);
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn file_of(input: &[u8]) -> std::io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

fn text_of(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_lossy(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
