//! The journal, followed by journalctl(1) as a child: its library may not be linked, and its files are its own.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use hostward_sources::{Engine, Entry, FIELDS, MATCHES};

use crate::backoff::Backoff;
use crate::random;

/// The longest line that is read; a longer one says nothing that counts.
const MAX_LINE: usize = 256 << 10;
/// How much is read at once.
const PORTION: usize = 64 << 10;
/// A child that lives this long is not one that cannot start.
const HEALTHY: Duration = Duration::from_secs(60);

/// The child, or when there will be one again.
pub struct Follow {
    program: PathBuf,
    child: Option<Running>,
    backoff: Backoff,
    next: Instant,
}

struct Running {
    child: Child,
    out: ChildStdout,
    line: Vec<u8>,
    /// The rest of a line that is too long.
    is_skipping: bool,
    since: Instant,
}

impl Follow {
    /// Follows nothing yet. An empty path is for tests without a journal.
    pub fn new(program: PathBuf) -> Self {
        let backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(300));
        Follow { program, child: None, backoff, next: Instant::now() }
    }

    /// When the child is to be started.
    pub fn due(&self) -> Option<Instant> {
        (self.child.is_none() && !self.program.as_os_str().is_empty()).then_some(self.next)
    }

    /// What to wait for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(|running| running.out.as_fd())
    }

    /// The entries that are there, a portion of them. Starts the child where there is none: from where `engine` was, or
    /// from `since` (seconds since 1970) on.
    pub fn read(&mut self, engine: &mut Engine, since: i64) -> Vec<Entry> {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            match start(&self.program, engine.read_journal(), since) {
                Ok(running) => self.child = Some(running),
                Err(error) => self.failed(&error.to_string()),
            }
        }
        let Some(running) = &mut self.child else { return Vec::new() };
        let mut entries = Vec::new();
        match running.read(&mut entries) {
            Ok(true) => {}
            Ok(false) => self.ended("it ended"),
            Err(error) => self.ended(&error.to_string()),
        }
        entries
    }

    fn ended(&mut self, why: &str) {
        let Some(mut running) = self.child.take() else { return };
        let _gone_already = running.child.kill();
        let status = running.child.wait().map(|status| status.to_string()).unwrap_or_default();
        if running.since.elapsed() >= HEALTHY {
            self.backoff.reset();
        }
        self.failed(&format!("{why} ({status})"));
    }

    fn failed(&mut self, why: &str) {
        let wait = self.backoff.next(random::fraction());
        self.next = Instant::now() + wait;
        log::warn!(
            "cannot follow the journal with `{}`: {why}; again in {} s. Refused logins and sudo commands are recorded then",
            self.program.display(),
            wait.as_secs()
        );
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(running) = &mut self.child {
            let _gone_already = running.child.kill();
            let _status = running.child.wait();
        }
    }
}

fn start(program: &Path, from: Option<&str>, since: i64) -> io::Result<Running> {
    let mut command = Command::new(program);
    command
        .args(["--output=json", "--all", "--follow", "--no-tail", "--no-pager", "--quiet"])
        .arg(format!("--output-fields={FIELDS}"))
        .arg(match from {
            // That entry itself comes first, which shows that it is still there.
            Some(cursor) => format!("--cursor={cursor}"),
            None => format!("--since=@{since}"),
        })
        .args(MATCHES)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn()?;
    let out = child.stdout.take().ok_or_else(|| io::Error::other("it has no standard output"))?;
    rustix::io::ioctl_fionbio(&out, true)?;
    Ok(Running { child, out, line: Vec::new(), is_skipping: false, since: Instant::now() })
}

impl Running {
    /// Whether there may be more, now or later.
    fn read(&mut self, entries: &mut Vec<Entry>) -> io::Result<bool> {
        let mut buffer = vec![0; PORTION];
        let length = match self.out.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        for piece in buffer[..length].split_inclusive(|byte| *byte == b'\n') {
            if !self.is_skipping {
                self.line.extend(piece);
            }
            let is_over = piece.last() == Some(&b'\n');
            if self.line.len() > MAX_LINE {
                self.line = Vec::new();
                self.is_skipping = true;
            }
            if is_over {
                if !std::mem::take(&mut self.is_skipping) {
                    match Entry::parse(self.line.trim_ascii_end()) {
                        Ok(entry) => entries.push(entry),
                        Err(error) => log::warn!("{}", crate::journal::chain(&error)),
                    }
                }
                self.line.clear();
            }
        }
        Ok(true)
    }
}
