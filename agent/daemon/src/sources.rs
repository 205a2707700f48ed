//! What PAM and the journal say, recorded: a thread that waits for either, and for nothing else.
//!
//! It waits while the disk does not keep up, so that nothing is lost that its sources keep. What it was about to do is
//! in the log of events: killed at any moment it goes on where the log ends.

mod follow;
mod grants;
mod host;
mod place;

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use hostward_sources::{Engine, Records};
use inotify::{Inotify, WatchMask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::events::Events;
use crate::paths::Options;
use follow::Follow;
use grants::Granted;
use place::{Kept, Lost};

/// How long after something was read its position is kept. It only spares reading again.
const KEEP: Duration = Duration::from_secs(10);
/// How often it is looked whether the processes of open sessions are still there.
const LOOK: Duration = Duration::from_secs(600);
const STACK: usize = 512 << 10;
/// A running process is looked at through its directory here.
const PROC: &str = "/proc";

/// The thread, and a way to have it look at once.
pub struct Sources {
    waker: UnixStream,
    thread: JoinHandle<()>,
}

impl Sources {
    /// Starts to read.
    pub fn start(options: &Arc<Options>, events: &Arc<Events>) -> anyhow::Result<Self> {
        let (waker, woken) = UnixStream::pair().context("cannot make a pair of sockets")?;
        for end in [&waker, &woken] {
            end.set_nonblocking(true).context("cannot have a socket not block")?;
        }
        events.wake_sources_by(waker.try_clone().context("cannot copy a socket")?);
        let (options, events) = (options.clone(), events.clone());
        let thread = std::thread::Builder::new()
            .name("sources".into())
            .stack_size(STACK)
            .spawn(move || Reading::start(options, events, woken).run())
            .context("cannot start the thread that reads what PAM and the journal say")?;
        Ok(Sources { waker, thread })
    }

    /// Has it keep its position and end, and waits for that, but no longer than `patience`.
    pub fn stop(self, patience: Duration) {
        let _gone_already = self.waker.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Has the sources look whether sessions were ended; nobody waits for it.
pub fn wake(waker: &UnixStream) {
    let mut waker = waker;
    // A socket that is full wakes it as well.
    let _woken_already = waker.write(&[0]);
}

struct Reading {
    options: Arc<Options>,
    events: Arc<Events>,
    woken: UnixStream,
    changed: Option<Inotify>,
    records: Records,
    engine: Engine,
    follow: Follow,
    lost: Lost,
    granted: Granted,
    since: i64,
    path: PathBuf,
    /// Something was read since the position was kept.
    unkept: Option<Instant>,
    look: Instant,
    said: Option<String>,
}

impl Reading {
    fn start(options: Arc<Options>, events: Arc<Events>, woken: UnixStream) -> Self {
        let path = options.sources();
        let Kept { position, told } = place::kept(&path, &options.events);
        let records = Records::new(&options.records, &options.spill, 0, &position.records);
        let since = if position.since == 0 { Utc::now().timestamp() } else { position.since };
        let lost = Lost::new(&options.spill, &options.boot(), position.lost.clone());
        let engine =
            Engine::resume(position, told, Box::new(host::OfHost { grants: options.grants.clone() }));
        let granted = Granted::new(&options.grants, options.told_grants());
        let changed = watch(&options);
        let follow = Follow::new(options.journalctl.clone());
        let now = Instant::now();
        Reading {
            changed,
            records,
            engine,
            follow,
            lost,
            granted,
            since,
            path,
            unkept: None,
            options,
            events,
            woken,
            look: now,
            said: None,
        }
    }

    /// Until it is stopped, or recording is over.
    fn run(mut self) {
        loop {
            let mut is_busy = self.read_records();
            let entries = self.follow.read(&mut self.engine, self.since);
            if !entries.is_empty() {
                is_busy = true;
                // Whatever was recorded before one of these came is read by now, or will be before the next.
                while self.read_records() {}
                entries.into_iter().for_each(|entry| self.engine.entry(entry));
            }
            if let Some(count) = self.lost.grown() {
                self.engine.lost(&self.options.boot(), count, self.lost.told(), Utc::now());
                self.lost.tell(count);
            }
            let now = Utc::now();
            self.engine.followed(self.follow.is_running());
            if !is_busy && self.engine.due().is_some_and(|due| due <= now) {
                self.engine.idle(now);
            }
            if !self.record(is_busy) {
                return;
            }
            if Instant::now() >= self.look {
                self.look = Instant::now() + LOOK;
                self.end_gone();
                continue;
            }
            if self.unkept.is_some_and(|since| since.elapsed() >= KEEP) {
                self.keep();
            }
            if !is_busy && !self.wait() {
                self.keep();
                return;
            }
        }
    }

    /// Whether there was something.
    fn read_records(&mut self) -> bool {
        let read = match self.records.read() {
            Ok(read) => {
                self.said = None;
                read
            }
            Err(error) => {
                let text = hostward_protocol::causes::chain(&error);
                if self.said.as_ref() != Some(&text) {
                    log::error!("sessions are not recorded: {text}");
                    self.said = Some(text);
                }
                return false;
            }
        };
        if read.damaged > 0 {
            self.engine.damaged(read.damaged, Utc::now());
        }
        let is_some = !read.records.is_empty();
        read.records.into_iter().for_each(|(record, place)| self.engine.record(&record, place));
        is_some || read.damaged > 0
    }

    /// Puts into the log what was made. Whether it takes more.
    fn record(&mut self, is_busy: bool) -> bool {
        let events = self.engine.take();
        if is_busy || !events.is_empty() {
            self.unkept.get_or_insert_with(Instant::now);
        }
        events.into_iter().all(|event| self.events.record_waiting(event))
    }

    /// Tells of sessions whose processes are gone. A session that was closed in order is recorded before its process ends.
    fn end_gone(&mut self) {
        let open = self.engine.sessions().processes();
        let gone: HashSet<_> = open.into_iter().filter(|process| !host::is_there(PROC, *process)).collect();
        while self.read_records() {}
        let boot = self.options.boot();
        self.engine.end_gone(Utc::now(), &boot, |process| !gone.contains(&process));
        self.granted.look(&mut self.engine);
    }

    fn keep(&mut self) {
        self.unkept = None;
        let Some(sequence) = self.events.flush() else { return };
        let lost = (self.options.boot(), self.lost.told());
        let position = self.engine.position(&self.records, sequence, self.since, lost);
        place::keep(&self.path, &position);
        self.granted.keep();
    }

    /// Waits for something to read, or to do. Whether it is to go on.
    fn wait(&mut self) -> bool {
        let now = Instant::now();
        let until = |at: chrono::DateTime<Utc>| now + (at - Utc::now()).to_std().unwrap_or_default();
        let due = [
            self.engine.due().map(until),
            self.unkept.map(|since| since + KEEP),
            self.follow.due(),
            (!self.engine.sessions().is_empty()).then_some(self.look),
        ];
        let due = due.into_iter().flatten().min();
        let timeout = due.map(|due| {
            // A moment later, rather than a moment too early again and again.
            let wait = due.saturating_duration_since(now) + Duration::from_millis(2);
            Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            }
        });
        {
            let watched: Vec<BorrowedFd<'_>> =
                [Some(self.woken.as_fd()), self.changed.as_ref().map(AsFd::as_fd), self.follow.fd()]
                    .into_iter()
                    .flatten()
                    .collect();
            let mut polled: Vec<PollFd<'_>> =
                watched.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    log::error!("cannot wait for what PAM and the journal say: {errno}");
                    return false;
                }
            }
        }
        if let Some(changed) = &mut self.changed {
            let mut buffer = [0; 4096];
            while changed.read_events(&mut buffer).is_ok_and(|events| events.count() > 0) {}
        }
        let mut byte = [0; 64];
        match (&self.woken).read(&mut byte) {
            Ok(0) => false,
            Ok(_) => {
                self.look = now;
                true
            }
            Err(error) => {
                error.kind() == std::io::ErrorKind::WouldBlock
                    || error.kind() == std::io::ErrorKind::Interrupted
            }
        }
    }
}

/// Watches the directories of records, and the one that journald leaves when it goes to where its journal lasts. Where one
/// is missing, what is written there later is found when something else wakes.
fn watch(options: &Options) -> Option<Inotify> {
    let inotify = match Inotify::init() {
        Ok(inotify) => inotify,
        Err(error) => {
            log::error!("cannot notice new records of sessions: {error}; restart hostward.service");
            return None;
        }
    };
    for dir in [&options.records, &options.spill] {
        let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
        if let Err(error) = inotify.watches().add(dir, mask) {
            log::warn!(
                "cannot watch `{}`: {error}; `systemd-tmpfiles --create hostward.conf` makes it, then `systemctl restart hostward`",
                dir.display()
            );
        }
    }
    if let Ok([_, until_reboot]) = follow::places() {
        let _there_is_none = inotify.watches().add(until_reboot, WatchMask::DELETE | WatchMask::ONLYDIR);
    }
    Some(inotify)
}
