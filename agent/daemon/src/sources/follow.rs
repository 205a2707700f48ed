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
/// Which of the directories below is this host's own.
const MACHINE_ID: &str = "/etc/machine-id";
/// Where journald keeps what is to last, and where it writes if that is not there.
const LASTING: &str = "/var/log/journal";
const UNTIL_REBOOT: &str = "/run/log/journal";
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
    journal: PathBuf,
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

    /// Whether there is somebody who reads it.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// What to wait for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(|running| running.out.as_fd())
    }

    /// The entries that are there, a portion of them. Starts the child where there is none: from where `engine` was, or
    /// from `since` (seconds since 1970) on.
    pub fn read(&mut self, engine: &mut Engine, since: i64) -> Vec<Entry> {
        if self.child.as_ref().is_some_and(Running::is_elsewhere) {
            self.leave();
            self.next = Instant::now();
        }
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

    /// Ends the child; it, and how it ended.
    fn leave(&mut self) -> Option<(Running, String)> {
        let mut running = self.child.take()?;
        let _gone_already = running.child.kill();
        let status = running.child.wait().map(|status| status.to_string()).unwrap_or_default();
        Some((running, status))
    }

    fn ended(&mut self, why: &str) {
        let Some((running, status)) = self.leave() else { return };
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
        let _how_it_ended = self.leave();
    }
}

/// The directories in which this host's journal may be. Beside them are those of containers, and of hosts that send
/// theirs: what they say of root is not to be believed.
pub fn places() -> io::Result<[PathBuf; 2]> {
    let id = std::fs::read_to_string(MACHINE_ID)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read `{MACHINE_ID}`: {error}")))?;
    Ok([LASTING, UNTIL_REBOOT].map(|journals| Path::new(journals).join(id.trim())))
}

/// The one that is read. What journald has not moved yet to where it lasts is read there later, and once.
fn journal() -> io::Result<PathBuf> {
    let [lasting, until_reboot] = places()?;
    Ok(if lasting.is_dir() { lasting } else { until_reboot })
}

fn start(program: &Path, from: Option<&str>, since: i64) -> io::Result<Running> {
    let journal = journal()?;
    let mut command = Command::new(program);
    command
        // Or `--follow` is about this boot only, and asks which that is where the agent sees no more of /proc than processes.
        .arg("--merge")
        .arg(format!("--directory={}", journal.display()))
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
    Ok(Running { child, journal, out, line: Vec::new(), is_skipping: false, since: Instant::now() })
}

impl Running {
    /// Whether journald began to keep its journal, or ceased to, since the child was started.
    fn is_elsewhere(&self) -> bool {
        journal().is_ok_and(|journal| journal != self.journal)
    }

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
                        Err(error) => log::warn!("{}", hostward_protocol::causes::chain(&error)),
                    }
                }
                self.line.clear();
            }
        }
        Ok(true)
    }
}
