mod room;

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::kind::Kind;
use crate::line::{GENESIS, Record};
use crate::ocsf::Severity;
use crate::reader::Reader;
use crate::verify::{What, verify};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn origin() -> Arc<Origin> {
    Arc::new(Origin {
        hostname: "web1".into(),
        host_id: Some("h1".into()),
        boot_id: "b".repeat(32),
        version: "1.0.0".into(),
    })
}

fn event(kind: Kind, message: &str) -> (Arc<Origin>, Event) {
    (origin(), Event::new(kind, at(0), Severity::Low, "somebody", message))
}

/// In memory where that is possible: thousands of files are made, each on its disk before the test goes on.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn own(message: &str) -> (Arc<Origin>, Event) {
    event(Kind::AgentStarted, message)
}

fn limits() -> Limits {
    Limits { denials: 20_000, sessions: 20_000, own: 20_000, segment: 4_000, keep: TimeDelta::days(30) }
}

fn open(dir: &TempDir, limits: Limits, run: &str) -> Opened {
    Log::open(dir.path(), limits, run, origin(), at(0)).unwrap()
}

/// A log that has room for everything, in one file.
fn roomy() -> Limits {
    Limits::default()
}

fn records(dir: &TempDir) -> Vec<Record> {
    let batch = Reader::new(dir.path()).read_from(1, usize::MAX).unwrap();
    batch.lines.iter().map(|line| Record::read(line).unwrap()).collect()
}

fn whole(dir: &TempDir) -> crate::verify::Verdict {
    let verdict = verify(dir.path()).unwrap();
    assert_eq!(verdict.difference, None);
    verdict
}

fn current(dir: &TempDir) -> PathBuf {
    dir.path().join(CURRENT)
}

#[test]
fn numbers_and_hashes_go_on_over_restarts() {
    let dir = scratch();
    for run in ["a", "b", "c"] {
        let mut log = open(&dir, roomy(), run).log;
        log.append(&[own("one"), own("two")], at(0)).unwrap();
        log.append(&[own("three")], at(1)).unwrap();
    }
    let records = records(&dir);
    assert_eq!(records.iter().map(|r| r.sequence).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    assert_eq!(records[0].prevhash, GENESIS);
    assert_eq!((records[0].id.as_str(), records[8].id.as_str()), ("a-1", "c-9"));
    assert_eq!(records[0].source, "urn:hostward:host:h1");
    let text = fs::read_to_string(current(&dir)).unwrap();
    assert!(text.contains("\"sequence\":\"00000000000000000009\""), "{text}");
    let verdict = whole(&dir);
    assert_eq!((verdict.events, verdict.first), (9, Some(1)));
    assert_eq!(verdict.last, open(&dir, roomy(), "d").log.head());
    let mode = fs::metadata(current(&dir)).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn only_one_writes() {
    let dir = scratch();
    let _first = open(&dir, roomy(), "a");
    let second = Log::open(dir.path(), roomy(), "b", origin(), at(0));
    assert!(matches!(second, Err(LogError::Locked { .. })));
}

#[test]
fn a_file_cut_at_any_byte_goes_on() {
    let dir = scratch();
    open(&dir, roomy(), "a").log.append(&[own("one"), own("two"), own("three")], at(0)).unwrap();
    let bytes = fs::read(current(&dir)).unwrap();
    for length in 0..=bytes.len() {
        fs::write(current(&dir), &bytes[..length]).unwrap();
        let whole_lines = bytes[..length].iter().filter(|byte| **byte == b'\n').count();
        let good = bytes[..length].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let Opened { mut log, repaired } = open(&dir, roomy(), "b");
        assert_eq!(repaired.is_some(), good < length, "cut at {length}");
        if let Some(repaired) = repaired {
            assert_eq!(fs::read(dir.path().join(TORN)).unwrap(), &bytes[good..length]);
            log.append(&[(origin(), repaired)], at(1)).unwrap();
        }
        log.append(&[own("after")], at(1)).unwrap();
        let verdict = whole(&dir);
        let expected = whole_lines as u64 + 1 + u64::from(good < length);
        assert_eq!((verdict.events, verdict.last.unwrap().sequence), (expected, expected), "cut at {length}");
        let records = records(&dir);
        assert_eq!(records.last().unwrap().message(), "after");
        if good < length {
            assert_eq!(records[whole_lines].kind, "hostward.events.repaired");
        }
    }
}

#[test]
fn a_crash_right_after_a_rotation_goes_on() {
    let dir = scratch();
    open(&dir, roomy(), "a").log.append(&[own("one"), own("two")], at(0)).unwrap();
    let full = dir.path().join(files::full_name(1));
    fs::rename(current(&dir), &full).unwrap();
    open(&dir, roomy(), "b").log.append(&[own("three")], at(0)).unwrap();
    assert_eq!(whole(&dir).events, 3);
    // The same, and the last line of the full file is torn.
    fs::remove_file(current(&dir)).unwrap();
    let bytes = fs::read(&full).unwrap();
    fs::write(&full, &bytes[..bytes.len() - 10]).unwrap();
    let Opened { mut log, repaired } = open(&dir, roomy(), "c");
    log.append(&[(origin(), repaired.unwrap())], at(0)).unwrap();
    assert_eq!(whole(&dir).events, 2);
}

#[test]
fn damage_in_the_middle_is_left_for_whoever_looks() {
    let dir = scratch();
    open(&dir, roomy(), "a").log.append(&[own("one"), own("two"), own("three")], at(0)).unwrap();
    let text = fs::read_to_string(current(&dir)).unwrap();
    fs::write(current(&dir), text.replacen("\"two\"", "\"too", 1)).unwrap();
    let Opened { mut log, repaired } = open(&dir, roomy(), "b");
    assert!(repaired.is_none());
    log.append(&[own("four")], at(0)).unwrap();
    let difference = verify(dir.path()).unwrap().difference.unwrap();
    assert_eq!((difference.line, difference.what), (2, What::NoEvent));
    let batch = Reader::new(dir.path()).read_from(1, usize::MAX).unwrap();
    assert_eq!((batch.lines.len(), batch.damaged, batch.next), (3, 1, 5));
}

#[test]
fn a_change_of_any_line_is_found() {
    let dir = scratch();
    let events: Vec<_> = (0..12).map(|n| own(&format!("event {n}"))).collect();
    let mut log = open(&dir, limits(), "a").log;
    log.append(&events, at(0)).unwrap();
    let head = log.head().unwrap();
    drop(log);
    let mut files: Vec<PathBuf> =
        files::full(dir.path()).unwrap().into_iter().map(|n| dir.path().join(files::full_name(n))).collect();
    files.push(current(&dir));
    assert!(files.len() > 2, "{files:?}");
    for (number, path) in files.iter().enumerate() {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_last = number + 1 == files.len() && at + 1 == lines.len();
            let is_first = number == 0 && at == 0;
            let with = |line: Option<&str>| {
                let mut lines = lines.clone();
                match line {
                    Some(line) => lines[at] = line,
                    None => _ = lines.remove(at),
                }
                lines.iter().map(|line| format!("{line}\n")).collect::<String>()
            };
            // Changed: the next line does not follow from it. Nothing follows the last one.
            let changed = line.replace("event ", "evenT ");
            fs::write(path, with(Some(&changed))).unwrap();
            let found = verify(dir.path()).unwrap().difference;
            assert_eq!(found.is_none(), is_last, "{line}");
            if let Some(found) = found {
                let sequence = Record::read(line.as_bytes()).unwrap().sequence + 1;
                assert_eq!(found.what, What::Chain { sequence });
            }
            // Removed. The first is as if it had been delivered and deleted, but for its file's name.
            fs::write(path, with(None)).unwrap();
            let found = verify(dir.path()).unwrap().difference;
            assert_eq!(found.is_none(), is_last, "{line}");
            assert!(found.is_none_or(|found| matches!(found.what, What::Sequence { .. })), "{is_first}");
            // Twice.
            fs::write(path, with(Some(&format!("{line}\n{line}")))).unwrap();
            assert!(matches!(verify(dir.path()).unwrap().difference.unwrap().what, What::Sequence { .. }));
            fs::write(path, &text).unwrap();
        }
    }
    // With what the backend has, the last one is found too.
    open(&dir, limits(), "b").log.acknowledge(head.clone()).unwrap();
    assert!(whole(&dir).reaches_acknowledged);
    let text = fs::read_to_string(current(&dir)).unwrap();
    fs::write(current(&dir), text.replace("event 11", "event xi")).unwrap();
    let what = verify(dir.path()).unwrap().difference.unwrap().what;
    assert_eq!(what, What::Acknowledged { sequence: head.sequence });
    let end = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
    fs::write(current(&dir), &text[..end]).unwrap();
    let what = verify(dir.path()).unwrap().difference.unwrap().what;
    assert_eq!(what, What::Missing { acknowledged: head.sequence, last: head.sequence - 1 });
}

#[test]
fn a_full_kind_loses_its_own_newest_and_nobody_elses() {
    let dir = scratch();
    let mut log = open(&dir, limits(), "a").log;
    log.append(&[own("first"), event(Kind::SessionOpened, "alice")], at(0)).unwrap();
    for n in 0..1000 {
        log.append(&[event(Kind::LoginDenied, &format!("denied {n}"))], at(n)).unwrap();
        if n % 100 == 0 {
            log.append(&[event(Kind::SessionClosed, &format!("session {n}"))], at(n)).unwrap();
        }
    }
    let seen = records(&dir);
    let of = |quota| seen.iter().filter(|r| r.quota == quota).collect::<Vec<_>>();
    assert_eq!(of(Quota::Sessions).len(), 11);
    let denied = of(Quota::Denials);
    assert!(denied.len() < 30 && denied[0].message() == "denied 0", "{}", denied.len());
    let told = |records: &[Record]| -> u64 {
        let lost = records.iter().filter(|r| r.kind == "hostward.events.lost");
        lost.map(|r| r.data["unmapped"]["lost"]["count"].as_u64().unwrap()).sum()
    };
    let kept = denied.len() as u64;
    // Said at once, and not again before an hour is over.
    assert_eq!(told(&seen), 1);
    assert_eq!(kept + told(&seen) + log.losses().of(Quota::Denials), 1000);
    whole(&dir);

    // The backend has all of it: there is room again, and it is said how many are lost.
    log.acknowledge(log.head().unwrap()).unwrap();
    log.append(&[event(Kind::LoginDenied, "denied again")], at(1000)).unwrap();
    assert!(log.losses().is_empty());
    let seen = records(&dir);
    let last = seen.iter().rfind(|r| r.kind == "hostward.events.lost").unwrap();
    assert_eq!(last.data["unmapped"]["lost"]["count"], 1000 - kept - 1);
    assert_eq!(seen.last().unwrap().message(), "denied again");
    assert!(whole(&dir).first.unwrap() > 1);
    let bytes: u64 = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 60_000);
}

#[test]
fn losses_are_told_when_the_log_is_closed() {
    let dir = scratch();
    let mut log = open(&dir, Limits { denials: 0, ..limits() }, "a").log;
    log.append(&[event(Kind::LoginDenied, "x")], at(0)).unwrap();
    log.append(&[], at(1)).unwrap();
    log.append(&vec![event(Kind::LoginDenied, "x"); 5], at(2)).unwrap();
    log.append(&[], at(3)).unwrap();
    assert_eq!(log.losses().of(Quota::Denials), 5);
    log.finish(at(4)).unwrap();
    let seen = records(&dir);
    let counts: Vec<_> = seen.iter().map(|r| r.data["unmapped"]["lost"]["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 5]);
}

#[test]
fn where_nobody_takes_events_old_ones_make_room() {
    let dir = scratch();
    let mut log = open(&dir, limits(), "a").log;
    for n in 0..100 {
        log.append(&[own(&format!("event {n}"))], at(n)).unwrap();
    }
    assert!(!log.losses().is_empty());
    let before = records(&dir).len();
    log.append(&[own("later")], at(31 * 86_400)).unwrap();
    let seen = records(&dir);
    assert_eq!(seen.last().unwrap().message(), "later");
    assert!(seen.len() < before && seen[0].sequence > 1);
    assert!(log.losses().is_empty());
    assert_eq!(whole(&dir).first, Some(seen[0].sequence));
    // What is used is counted from the files when it is opened again.
    let room = log.room.clone();
    drop(log);
    let again = open(&dir, limits(), "b").log.room;
    assert_eq!((again.current.bytes, again.current.first), (room.current.bytes, room.current.first));
}

#[test]
fn what_cannot_be_written_is_counted_and_told_later() {
    let dir = scratch();
    let mut log = open(&dir, roomy(), "a").log;
    log.append(&[own("one")], at(0)).unwrap();
    fs::rename(current(&dir), dir.path().join("aside")).unwrap();
    fs::create_dir(current(&dir)).unwrap();
    for n in 0..3 {
        assert!(matches!(log.append(&[own("lost")], at(n)), Err(LogError::Write { .. })));
    }
    assert_eq!(log.losses().of(Quota::Own), 3);
    fs::remove_dir(current(&dir)).unwrap();
    fs::rename(dir.path().join("aside"), current(&dir)).unwrap();
    log.append(&[own("two")], at(9)).unwrap();
    let seen = records(&dir);
    let messages: Vec<_> = seen.iter().map(Record::message).collect();
    assert_eq!(messages.len(), 3);
    assert!(
        messages[1].starts_with("3 events of the kind `own`") && messages[1].contains("could not be written"),
        "{messages:?}"
    );
    assert_eq!(messages[2], "two");
    whole(&dir);
}

#[test]
fn a_file_that_somebody_moved_away_is_begun_anew() {
    let dir = scratch();
    let mut log = open(&dir, roomy(), "a").log;
    log.append(&[own("one")], at(0)).unwrap();
    fs::rename(current(&dir), dir.path().join("events.jsonl.1")).unwrap();
    log.append(&[own("two")], at(0)).unwrap();
    let seen = records(&dir);
    assert_eq!((seen.len(), seen[0].sequence), (1, 2));
}

#[test]
fn numbers_that_the_backend_has_are_not_used_again() {
    let dir = scratch();
    let mut log = open(&dir, roomy(), "a").log;
    log.append(&[own("one"), own("two")], at(0)).unwrap();
    log.acknowledge(log.head().unwrap()).unwrap();
    drop(log);
    fs::remove_file(current(&dir)).unwrap();
    let mut log = open(&dir, roomy(), "b").log;
    log.append(&[own("three")], at(0)).unwrap();
    assert_eq!(records(&dir)[0].sequence, 3);
}

#[test]
fn events_are_read_from_any_on_and_in_any_portions() {
    let dir = scratch();
    let mut log = open(&dir, Limits { own: 1 << 20, ..limits() }, "a").log;
    let events: Vec<_> = (1..=15).map(|n| own(&format!("event {n}"))).collect();
    log.append(&events, at(0)).unwrap();
    assert!(files::full(dir.path()).unwrap().len() > 2);
    let read = |reader: &mut Reader, from: u64, bytes: usize| {
        let batch = reader.read_from(from, bytes).unwrap();
        let numbers: Vec<u64> = batch.lines.iter().map(|line| Record::read(line).unwrap().sequence).collect();
        (numbers, batch.next, batch.head)
    };
    for from in 1..=16 {
        for bytes in [0, 1, 1500, 3000, 5000, usize::MAX] {
            let mut reader = Reader::new(dir.path());
            let (mut numbers, mut next) = (Vec::new(), from);
            loop {
                let (more, after, head) = read(&mut reader, next, bytes);
                if more.is_empty() {
                    assert_eq!((after, head), (next, None));
                    break;
                }
                assert_eq!(head.unwrap().sequence, after - 1);
                numbers.extend(more);
                next = after;
            }
            assert_eq!(numbers, (from..=15).collect::<Vec<_>>(), "{bytes}");
        }
    }
    // It goes on where it was, over a rotation, and does not take a line that is not whole yet.
    let mut reader = Reader::new(dir.path());
    assert_eq!(read(&mut reader, 1, usize::MAX).1, 16);
    for n in 16..40 {
        log.append(&[own("more")], at(0)).unwrap();
        assert_eq!(read(&mut reader, n, usize::MAX).0, [n]);
        assert_eq!(read(&mut reader, n + 1, usize::MAX).0, [0; 0]);
    }
    drop(log);
    let bytes = fs::read(current(&dir)).unwrap();
    let mut partial = bytes.clone();
    partial.extend(&bytes[..100]);
    fs::write(current(&dir), partial).unwrap();
    assert_eq!(read(&mut reader, 40, usize::MAX).0, [0; 0]);
    assert!(verify(dir.path()).unwrap().is_unfinished);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a crash leaves behind the last whole line, the log goes on and is whole.
    #[test]
    fn any_garbage_at_the_end_is_set_aside(garbage in prop::collection::vec(any::<u8>(), 1..300), nulls in 0_usize..300) {
        let dir = scratch();
        open(&dir, roomy(), "a").log.append(&[own("one"), own("two")], at(0)).unwrap();
        let mut bytes = fs::read(current(&dir)).unwrap();
        bytes.extend(vec![0; nulls]);
        bytes.extend(&garbage);
        fs::write(current(&dir), bytes).unwrap();
        let Opened { mut log, repaired } = open(&dir, roomy(), "b");
        log.append(&[(origin(), repaired.unwrap())], at(0)).unwrap();
        prop_assert_eq!(whole(&dir).events, 3);
    }

    /// Whatever byte of a line before the last is changed, it is found there or in the line behind.
    #[test]
    fn any_changed_byte_is_found(place in 0_usize..10_000, change in 1_u8..=255) {
        let dir = scratch();
        open(&dir, roomy(), "a").log.append(&[own("one"), own("two"), own("three"), own("four")], at(0)).unwrap();
        let mut bytes = fs::read(current(&dir)).unwrap();
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        let place = place % last;
        let line = 1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count() as u64;
        bytes[place] ^= change;
        fs::write(current(&dir), bytes).unwrap();
        let difference = verify(dir.path()).unwrap().difference.unwrap();
        prop_assert!((line..=line + 1).contains(&difference.line), "{:?}", difference);
    }
}
