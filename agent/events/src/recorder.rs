//! Writing on a thread of its own: whoever has an event to record never waits for a disk.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hostward_protocol::causes::chain;

use crate::event::Event;
use crate::files::Head;
use crate::kind::Quota;
use crate::log::{Limits, Log, LogError, Opened};
use crate::loss::{Cause, Losses};
use crate::origin::Origin;

/// How many events wait for the disk; about a megabyte.
const QUEUE: usize = 1024;
/// How many are written at once.
const BATCH: usize = 256;
/// How often it is tried to tell of losses.
const TELL: Duration = Duration::from_secs(60);
/// How often it is tried to open a log that cannot be opened.
const OPEN: Duration = Duration::from_secs(10);
const STACK: usize = 256 << 10;

/// Where the events of a recorder go: the log, or something in its place in a test.
pub trait Store: Send {
    /// Appends events, oldest first. `losses` are those that never came here. What cannot be written is counted.
    fn append(&mut self, events: &[(Arc<Origin>, Event)], losses: Losses, now: DateTime<Utc>);
    /// Whether there are losses that no event tells of yet.
    fn has_losses(&self) -> bool;
    /// The limits from now on.
    fn set_limits(&mut self, limits: Limits);
    /// The number of the last event that is written; `None` before the first, and while that is not known.
    fn head(&self) -> Option<u64>;
    /// Says what was not told yet, before the end.
    fn finish(&mut self, now: DateTime<Utc>);
    /// Somebody has everything up to `head`.
    fn acknowledge(&mut self, _head: Head) {}
    /// Whether somebody takes events.
    fn set_taken(&mut self, _is_taken: bool) {}
    /// How far it has come.
    fn progress(&self) -> Progress {
        Progress::default()
    }
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the newest event that can be read.
    pub written: u64,
    /// How many events were lost since the start.
    pub lost: u64,
}

type Listener = Box<dyn Fn(Progress) + Send + Sync>;

/// Takes events from everywhere in a process and has them written in order.
pub struct Recorder {
    sender: Mutex<Option<SyncSender<Message>>>,
    overflow: Arc<[AtomicU64; 3]>,
    listener: Arc<OnceLock<Listener>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Event(Arc<Origin>, Box<Event>),
    Limits(Limits),
    Acknowledged(Head),
    Taken(bool),
    Flush(SyncSender<Option<u64>>),
}

impl Recorder {
    /// Starts the thread, which opens the log in `dir` when the first event comes. `run` is unique to this start.
    pub fn start(dir: PathBuf, limits: Limits, run: String, origin: Arc<Origin>) -> io::Result<Self> {
        Self::with_store(Disk {
            dir,
            limits,
            run,
            origin,
            log: None,
            waiting: Losses::default(),
            lost: 0,
            is_taken: None,
            tried: None,
            said: None,
        })
    }

    /// Starts the thread with another store.
    pub fn with_store(store: impl Store + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let overflow = Arc::new([const { AtomicU64::new(0) }; 3]);
        let listener = Arc::new(OnceLock::new());
        let writer = Writer { receiver, overflow: overflow.clone(), listener: listener.clone() };
        let thread = std::thread::Builder::new()
            .name("events".into())
            .stack_size(STACK)
            .spawn(|| writer.run(store))?;
        let thread = Mutex::new(Some(thread));
        Ok(Recorder { sender: Mutex::new(Some(sender)), overflow, listener, thread })
    }

    /// Calls `listener` on the thread that writes, each time that something is written. The first one counts.
    pub fn on_progress(&self, listener: impl Fn(Progress) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Somebody has everything up to `head`. Answers with whether that will be written down; else it is to be said
    /// again another time.
    pub fn acknowledge(&self, head: Head) -> bool {
        self.send(Message::Acknowledged(head))
    }

    /// Records an event. It is on the disk soon after; where the disk does not keep up it is counted instead.
    pub fn record(&self, origin: &Arc<Origin>, event: Event) {
        let quota = event.quota();
        if !self.send(Message::Event(origin.clone(), Box::new(event))) {
            self.overflow[quota.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records an event, and waits as long as the disk does not keep up: for whoever can let their own source wait.
    /// Answers with whether it was taken; not, once recording is over.
    #[must_use]
    pub fn record_waiting(&self, origin: &Arc<Origin>, event: Event) -> bool {
        self.send_waiting(Message::Event(origin.clone(), Box::new(event)))
    }

    /// Waits until whatever was recorded before is on the disk, or counted as lost. Answers with the number of the last
    /// event of the log, where that is known.
    pub fn flush(&self) -> Option<u64> {
        let (sender, receiver) = sync_channel(1);
        if self.send_waiting(Message::Flush(sender)) { receiver.recv().ok().flatten() } else { None }
    }

    fn send_waiting(&self, message: Message) -> bool {
        // Not while the lock is held, which others take to record without waiting.
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.is_some_and(|sender| sender.send(message).is_ok())
    }

    /// The limits from now on.
    pub fn set_limits(&self, limits: Limits) {
        if !self.send(Message::Limits(limits)) {
            ::log::warn!("the disk is too slow for events; the limits of [events] stay as they were");
        }
    }

    /// Whether somebody takes events. Answers as [`Recorder::acknowledge`] does.
    pub fn set_taken(&self, is_taken: bool) -> bool {
        self.send(Message::Taken(is_taken))
    }

    fn send(&self, message: Message) -> bool {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().is_some_and(|sender| sender.try_send(message).is_ok())
    }

    /// Takes no more events and waits until what was taken is written, but no longer than `patience`. Answers with
    /// whether it is.
    pub fn stop(&self, patience: Duration) -> bool {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return true;
        };
        let deadline = Instant::now() + patience;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.join().is_ok()
    }
}

struct Writer {
    receiver: Receiver<Message>,
    overflow: Arc<[AtomicU64; 3]>,
    listener: Arc<OnceLock<Listener>>,
}

impl Writer {
    fn run(self, mut store: impl Store) {
        let mut is_over = false;
        let mut told = Progress::default();
        while !is_over {
            let (mut events, mut flushed) = (Vec::new(), Vec::new());
            let first = if store.has_losses() {
                self.receiver.recv_timeout(TELL)
            } else {
                self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match first {
                Ok(message) => take(message, &mut events, &mut flushed, &mut store),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => is_over = true,
            }
            while events.len() < BATCH {
                match self.receiver.try_recv() {
                    Ok(message) => take(message, &mut events, &mut flushed, &mut store),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            let now = Utc::now();
            let losses = self.overflown(now);
            if !events.is_empty() || !losses.is_empty() || store.has_losses() {
                store.append(&events, losses, now);
            }
            let progress = store.progress();
            if let Some(listener) = self.listener.get().filter(|_| progress != told) {
                listener(progress);
                told = progress;
            }
            for waiting in flushed {
                let _nobody_waits_any_more = waiting.send(store.head());
            }
        }
        store.finish(Utc::now());
    }

    fn overflown(&self, now: DateTime<Utc>) -> Losses {
        let mut losses = Losses::default();
        for quota in Quota::ALL {
            let count = self.overflow[quota.index()].swap(0, Ordering::Relaxed);
            losses.count_many(quota, Cause::Queue, now, count);
        }
        losses
    }
}

fn take(
    message: Message,
    events: &mut Vec<(Arc<Origin>, Event)>,
    flushed: &mut Vec<SyncSender<Option<u64>>>,
    store: &mut impl Store,
) {
    match message {
        Message::Event(origin, event) => events.push((origin, *event)),
        Message::Limits(limits) => store.set_limits(limits),
        Message::Acknowledged(head) => store.acknowledge(head),
        Message::Taken(is_taken) => store.set_taken(is_taken),
        Message::Flush(sender) => flushed.push(sender),
    }
}

/// The log on a disk, opened when it is needed and anew where that failed.
struct Disk {
    dir: PathBuf,
    limits: Limits,
    run: String,
    origin: Arc<Origin>,
    log: Option<Log>,
    /// Losses while there is no log.
    waiting: Losses,
    /// How many events were lost with logs before this one.
    lost: u64,
    /// Whether somebody takes events, where that was said.
    is_taken: Option<bool>,
    tried: Option<Instant>,
    /// The last error, which is said once.
    said: Option<String>,
}

impl Disk {
    fn opened(&mut self, now: DateTime<Utc>) -> Result<&mut Log, LogError> {
        if let Some(broken) = self.log.take_if(|log| log.is_broken()) {
            self.lost += broken.lost() - broken.losses().total();
            self.waiting.extend(broken.into_losses());
        }
        let log = match self.log.take() {
            Some(log) => log,
            None => {
                let origin = self.origin.clone();
                let Opened { mut log, repaired } =
                    Log::open(&self.dir, self.limits.clone(), &self.run, origin, now)?;
                if let Some(is_taken) = self.is_taken {
                    log.set_taken(is_taken);
                }
                if let Some(repaired) = repaired {
                    ::log::warn!("the end of the event log was damaged by a crash, and set aside");
                    log.append(&[(self.origin.clone(), repaired)], now)?;
                }
                log
            }
        };
        Ok(self.log.insert(log))
    }

    /// Says what is wrong, once, and when it is over.
    fn say(&mut self, result: Result<(), LogError>) {
        let said = result.err().map(|error| chain(&error));
        if said != self.said {
            match &said {
                Some(error) => {
                    ::log::error!("events are not recorded: {error}; those that are lost are counted")
                }
                None => ::log::info!("events are recorded again"),
            }
        }
        self.said = said;
    }
}

impl Store for Disk {
    fn append(&mut self, events: &[(Arc<Origin>, Event)], losses: Losses, now: DateTime<Utc>) {
        self.waiting.extend(losses);
        if let Some((origin, _)) = events.last() {
            self.origin = origin.clone();
        }
        // A disk that is full is not scanned again for each event.
        if self.log.is_some() || self.tried.is_none_or(|at| at.elapsed() >= OPEN) {
            self.tried = Some(Instant::now());
            if let Err(error) = self.opened(now) {
                self.say(Err(error));
            }
        }
        match &mut self.log {
            Some(log) => {
                log.lose(std::mem::take(&mut self.waiting));
                let appended = log.append(events, now);
                self.say(appended);
            }
            None => {
                for (_, event) in events {
                    self.waiting.count(event.quota(), Cause::Disk, event.time());
                }
            }
        }
    }

    fn has_losses(&self) -> bool {
        !self.waiting.is_empty() || self.log.as_ref().is_some_and(|log| !log.losses().is_empty())
    }

    fn set_limits(&mut self, limits: Limits) {
        if let Some(log) = &mut self.log {
            log.set_limits(limits.clone());
        }
        self.limits = limits;
    }

    fn acknowledge(&mut self, head: Head) {
        match self.opened(Utc::now()).and_then(|log| log.acknowledge(head)) {
            Ok(()) => {}
            // The backend has it all the same, and says so again.
            Err(error) => ::log::warn!("{}", chain(&error)),
        }
    }

    fn set_taken(&mut self, is_taken: bool) {
        self.is_taken = Some(is_taken);
        if let Some(log) = &mut self.log {
            log.set_taken(is_taken);
        }
    }

    fn progress(&self) -> Progress {
        let log = self.log.as_ref();
        let written = log.and_then(Log::head).map_or(0, |head| head.sequence);
        let lost = self.lost + self.waiting.total() + log.map_or(0, Log::lost);
        Progress { written, lost }
    }

    fn head(&self) -> Option<u64> {
        self.log.as_ref().and_then(Log::head).map(|head| head.sequence)
    }

    fn finish(&mut self, now: DateTime<Utc>) {
        if !self.has_losses() {
            return;
        }
        self.tried = None;
        self.append(&[], Losses::default(), now);
        if let Some(log) = &mut self.log {
            let finished = log.finish(now);
            self.say(finished);
        }
    }
}

#[cfg(test)]
mod tests;
