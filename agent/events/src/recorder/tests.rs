use std::sync::Condvar;

use super::*;
use crate::files::CURRENT;
use crate::kind::Kind;
use crate::line::Record;
use crate::ocsf::Severity;
use crate::reader::Reader;
use crate::verify::verify;

fn origin() -> Arc<Origin> {
    Arc::new(Origin { hostname: "web1".into(), host_id: None, boot_id: String::new(), version: "1".into() })
}

fn event(n: usize) -> Event {
    Event::new(Kind::AgentStarted, DateTime::UNIX_EPOCH, Severity::Low, "x", &format!("event {n}"))
}

/// A disk that does nothing until it is let.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_free: bool,
    is_busy: bool,
    events: u64,
    losses: Losses,
}

impl Stuck {
    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> std::sync::MutexGuard<'_, State> {
        self.0.1.wait_while(self.0.0.lock().unwrap(), |state| !until(state)).unwrap()
    }
}

impl Store for Stuck {
    fn append(&mut self, events: &[(Arc<Origin>, Event)], losses: Losses, _now: DateTime<Utc>) {
        self.with(|state| state.is_busy = true);
        let mut state = self.wait(|state| state.is_free);
        state.events += events.len() as u64;
        state.losses.extend(losses);
        drop(state);
        self.0.1.notify_all();
    }

    fn has_losses(&self) -> bool {
        false
    }

    fn set_limits(&mut self, _limits: Limits) {}

    fn head(&self) -> Option<u64> {
        Some(self.0.0.lock().unwrap().events)
    }

    fn finish(&mut self, _now: DateTime<Utc>) {}
}

#[test]
fn nobody_waits_for_a_disk_that_does_not_answer() {
    let disk = Stuck::default();
    let recorder = Recorder::with_store(disk.clone()).unwrap();
    let origin = origin();
    recorder.record(&origin, event(0));
    drop(disk.wait(|state| state.is_busy));
    // The writer has the first; the queue takes as many as it has room for, and what comes then is counted.
    for n in 0..QUEUE + 10 {
        recorder.record(&origin, event(n));
    }
    assert!(!recorder.stop(Duration::ZERO), "it does not wait for the disk either");
    disk.with(|state| state.is_free = true);
    let state = disk.wait(|state| state.events == 1 + QUEUE as u64 && !state.losses.is_empty());
    assert_eq!(state.losses.of(Quota::Own), 10);
}

#[test]
fn who_can_wait_loses_nothing() {
    let disk = Stuck::default();
    let recorder = Recorder::with_store(disk.clone()).unwrap();
    let origin = origin();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            (0..3 * QUEUE).for_each(|n| assert!(recorder.record_waiting(&origin, event(n))));
            recorder.flush()
        });
        drop(disk.wait(|state| state.is_busy));
        assert!(!waiting.is_finished());
        disk.with(|state| state.is_free = true);
        assert_eq!(waiting.join().unwrap(), Some(3 * QUEUE as u64));
    });
    assert!(recorder.stop(Duration::from_secs(60)));
    assert!(!recorder.record_waiting(&origin, event(0)));
    assert_eq!(recorder.flush(), None);
    assert!(disk.wait(|_| true).losses.is_empty());
}

fn start(dir: &std::path::Path) -> Recorder {
    Recorder::start(dir.into(), Limits::default(), "run".into(), origin()).unwrap()
}

#[test]
fn what_was_recorded_is_written_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = start(dir.path());
    for n in 0..500 {
        recorder.record(&origin(), event(n));
    }
    assert!(recorder.stop(Duration::from_secs(60)));
    recorder.record(&origin(), event(501));
    assert_eq!(verify(dir.path()).unwrap().events, 500);
}

#[test]
fn threads_record_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = start(dir.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|n| recorder.record(&origin(), event(n))));
        }
    });
    assert!(recorder.stop(Duration::from_secs(60)));
    let verdict = verify(dir.path()).unwrap();
    assert_eq!((verdict.events, verdict.difference), (400, None));
}

#[test]
fn a_log_that_cannot_be_opened_loses_events_and_says_so_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("log");
    let recorder = start(&place);
    recorder.record(&origin(), event(0));
    recorder.record(&origin(), event(1));
    // Only the writer knows that it has tried; at the end it tries once more, whenever that was.
    std::fs::create_dir(&place).unwrap();
    assert!(recorder.stop(Duration::from_secs(60)));
    let lines = Reader::new(&place).read_from(1, usize::MAX).unwrap().lines;
    let records: Vec<Record> = lines.iter().map(|line| Record::read(line).unwrap()).collect();
    let lost: u64 = records.iter().filter_map(|r| r.data["unmapped"]["lost"]["count"].as_u64()).sum();
    let written = records.iter().filter(|r| r.kind == "hostward.agent.started").count() as u64;
    assert_eq!(lost + written, 2, "{records:#?}");
    assert!(place.join(CURRENT).exists());
}

#[test]
fn whoever_reads_along_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = start(dir.path());
    let (sender, receiver) = std::sync::mpsc::channel();
    recorder.on_progress(move |progress| sender.send(progress).unwrap());
    recorder.record(&origin(), event(0));
    assert_eq!(receiver.recv().unwrap(), Progress { written: 1, lost: 0 });
    let batch = Reader::new(dir.path()).read_from(1, usize::MAX).unwrap();
    assert_eq!(batch.numbers, [1]);
    assert!(recorder.acknowledge(batch.head.clone().unwrap()));
    recorder.record(&origin(), event(1));
    assert_eq!(receiver.recv().unwrap().written, 2);
    assert!(recorder.stop(Duration::from_secs(60)));
    assert_eq!(verify(dir.path()).unwrap().acknowledged, batch.head);
}
