//! Events on their way to places of the operator's: syslog, the journal, a collector of OpenTelemetry.
//!
//! Each place has a task and a position of its own and reads the log by itself: one that is dead holds up neither the
//! others nor the backend, and takes no room from anybody. Each event is handed over at least once; what the log had to
//! give up before it could be handed over is counted.

mod fields;
mod journal;
mod otlp;
mod output;
mod position;
mod syslog;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hostward_config::Config;
use hostward_events::{Progress, Reader};
use hostward_protocol::local::OutputStatus;
use hostward_protocol::report::Finding;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::events::{self, Events};
use crate::paths::Options;
use crate::random;
use output::{Handed, Output, OutputError};
use position::Position;

/// The most bytes and events that are read at once.
const MAX_BYTES: usize = 256 << 10;
const MOST: usize = 500;
/// How long an event waits for others of the same moment.
const GATHER: Duration = Duration::from_millis(100);

/// The places that are switched on, each with its task. They end when this is dropped.
pub struct Siem {
    tasks: Vec<JoinHandle<()>>,
    board: Arc<Board>,
}

/// How it stands with each.
struct Board {
    outputs: Mutex<Vec<OutputStatus>>,
    changed: Notify,
}

impl Siem {
    /// Starts what the configuration switches on.
    pub fn start(config: &Config, options: &Options, events: &Events) -> Self {
        let outputs = Output::all(&config.siem, options);
        let statuses = outputs
            .iter()
            .map(|output| OutputStatus { name: output.name().into(), ..OutputStatus::default() })
            .collect();
        let board = Arc::new(Board { outputs: Mutex::new(statuses), changed: Notify::new() });
        let tasks = outputs.into_iter().enumerate().map(|(index, output)| {
            let task = Task {
                position: Position::at(options.siem_position(output.name())),
                log: options.events.clone(),
                progress: events.progress(),
                board: board.clone(),
                index,
            };
            tokio::spawn(task.run(output))
        });
        Siem { tasks: tasks.collect(), board }
    }

    /// How it stands with each.
    pub fn describe(&self) -> Vec<OutputStatus> {
        self.board.outputs().clone()
    }

    /// Waits until something goes wrong, or is well again.
    pub async fn changed(&self) {
        self.board.changed.notified().await;
    }
}

impl Drop for Siem {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Board {
    fn outputs(&self) -> MutexGuard<'_, Vec<OutputStatus>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    position: Position,
    log: PathBuf,
    progress: watch::Receiver<Progress>,
    board: Arc<Board>,
    index: usize,
}

impl Task {
    async fn run(mut self, mut output: Output) {
        let mut reader = Some(Reader::new(&self.log));
        let mut failures = Backoff::backend();
        let mut most = MOST;
        loop {
            let end = self.progress.borrow_and_update().written;
            self.position.bound(end);
            if end == 0 || self.position.next() > end {
                if self.progress.changed().await.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
                continue;
            }
            let (mut reading, next) =
                (reader.take().unwrap_or_else(|| Reader::new(&self.log)), self.position.next());
            let read = tokio::task::spawn_blocking(move || {
                let batch = reading.read(next, MAX_BYTES, most);
                (reading, batch)
            });
            let Ok((returned, batch)) = read.await else {
                return;
            };
            reader = Some(returned);
            let failure = match batch {
                Ok(batch) if batch.lines.is_empty() => {
                    // They were removed from under the log.
                    let missed = self.position.pass(end);
                    self.missed(missed);
                    continue;
                }
                Ok(batch) => match output.hand_over(&batch.lines).await {
                    Ok(Handed { count, refused, rest }) => {
                        let first = batch.numbers.first().copied().unwrap_or(next);
                        let missed = self.position.skipped(first);
                        let reached = batch.numbers.get(count.saturating_sub(1)).copied();
                        if let Some(reached) = reached.filter(|_| count > 0) {
                            self.position.set(reached + 1);
                        }
                        self.handed(count as u64, refused as u64, missed);
                        failures.reset();
                        most = (most * 2).min(MOST);
                        tokio::time::sleep(rest).await;
                        continue;
                    }
                    Err(OutputError::Smaller) if batch.lines.len() > 1 => {
                        most = batch.lines.len() / 2;
                        tokio::time::sleep(GATHER).await;
                        continue;
                    }
                    Err(OutputError::Smaller) => {
                        self.position.set(batch.next);
                        self.handed(0, 1, 0);
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => OutputError::Finding(events::unreadable(&error)),
            };
            let delay = failures.next_or(failure.retry_after(), random::fraction());
            self.failed(failure.finding(output.name()));
            tokio::time::sleep(delay).await;
        }
    }

    fn with(&self, change: impl FnOnce(&mut OutputStatus)) {
        let mut outputs = self.board.outputs();
        if let Some(output) = outputs.get_mut(self.index) {
            let before = output.problem.clone();
            change(output);
            if before != output.problem {
                match &output.problem {
                    Some(problem) => log::warn!("{}; {}", problem.message, problem.mend),
                    None => log::info!("events are handed over to {} again", output.name),
                }
                self.board.changed.notify_one();
            }
        }
    }

    fn handed(&self, count: u64, refused: u64, missed: u64) {
        self.with(|output| {
            output.sent += count - refused.min(count);
            output.refused += refused;
            output.missed += missed;
            output.problem = None;
        });
    }

    fn missed(&self, missed: u64) {
        self.with(|output| output.missed += missed);
    }

    fn failed(&self, finding: Finding) {
        self.with(|output| output.problem = Some(finding));
    }
}
