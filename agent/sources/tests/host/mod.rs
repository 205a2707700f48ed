//! A host without a kernel: its journal and records are lists, its log is a real one.
// Each test crate uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{Event, Limits, Log, Opened, Origin, Reader};
use hostward_records::{Id, Process, Record, What};
use hostward_sources::{Engine, Entry, Position, Records, Told};
use tempfile::TempDir;

pub const RELEASES: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// What happens on the host.
#[derive(Clone, Debug)]
pub enum Input {
    Line(String),
    Record(Box<Record>),
}

struct Names;

impl hostward_sources::Host for Names {
    fn name_of(&self, uid: u32) -> Option<String> {
        let names = [(0, "root"), (1000, "carol"), (1001, "dave"), (70_001, "alice"), (70_002, "bob")];
        names.iter().find(|(found, _)| *found == uid).map(|(_, name)| (*name).to_owned())
    }

    fn grants_of(&self, user: &str) -> Vec<String> {
        if user == "alice" { vec!["people".into(), "admins".into()] } else { vec!["people".into()] }
    }
}

/// The host.
pub struct Host {
    dir: TempDir,
    log: Option<Log>,
    starts: u32,
    engine: Engine,
    records: Records,
    kept: Option<String>,
    journal: Vec<String>,
    read: usize,
    now: DateTime<Utc>,
    seen: u64,
}

impl Host {
    pub fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for name in ["log", "records", "spill"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut host = Host {
            log: None,
            starts: 0,
            engine: Engine::resume(Position::default(), Told::default(), Box::new(Names)),
            records: Records::new(&dir.path().join("records"), &dir.path().join("spill"), owner(), &[]),
            dir,
            kept: None,
            journal: Vec::new(),
            read: 0,
            now: DateTime::UNIX_EPOCH,
            seen: 0,
        };
        host.start();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&mut self) {
        self.starts += 1;
        let origin = Arc::new(Origin {
            hostname: "web1".into(),
            host_id: None,
            boot_id: "b".repeat(32),
            version: "1".into(),
        });
        let run = format!("run{}", self.starts);
        let limits = Limits::default();
        let Opened { log, repaired } = Log::open(&self.path("log"), limits, &run, origin, self.now).unwrap();
        assert_eq!(repaired, None);
        self.log = Some(log);
        let kept: Option<Position> = self.kept.as_ref().map(|text| serde_json::from_str(text).unwrap());
        let mut position = kept.clone().unwrap_or_default();
        let mut told = Told::default();
        let lines = self.lines_from(position.sequence + 1);
        for (number, line) in lines.iter().enumerate() {
            let record = hostward_events::Record::read(line).unwrap();
            if number == 0 && kept.is_none() {
                told.begins_with(&record);
            }
            told.learn(&record);
            position.sessions.learn(&record);
        }
        self.records = Records::new(&self.path("records"), &self.path("spill"), owner(), &position.records);
        self.engine = Engine::resume(position, told, Box::new(Names));
        self.read = match self.engine.read_journal() {
            None => 0,
            Some(cursor) => {
                let is_it = |line: &String| line.contains(&format!("\"__CURSOR\":\"{cursor}\""));
                self.journal.iter().position(is_it).expect("the entry is there")
            }
        };
    }

    fn lines_from(&self, sequence: u64) -> Vec<Vec<u8>> {
        Reader::new(&self.path("log"))
            .read_from(sequence, usize::MAX)
            .map(|batch| batch.lines)
            .unwrap_or_default()
    }

    /// Something happens, and the agent reads it.
    pub fn feed(&mut self, input: &Input) {
        match input {
            Input::Line(line) => self.journal.push(line.clone()),
            Input::Record(record) => {
                use std::io::Write;
                let path = self.path("records").join(hostward_records::CURRENT);
                let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
                file.write_all(&record.line()).unwrap();
            }
        }
        self.read_all();
        self.write(usize::MAX);
    }

    fn read_all(&mut self) {
        loop {
            let read = self.records.read().unwrap();
            assert_eq!(read.damaged, 0);
            if read.records.is_empty() {
                break;
            }
            for (record, place) in read.records {
                let at = i64::try_from(record.time).ok().and_then(DateTime::from_timestamp_micros).unwrap();
                self.now = self.now.max(at);
                self.engine.record(&record, place);
            }
        }
        while let Some(line) = self.journal.get(self.read) {
            self.read += 1;
            let entry = Entry::parse(line.as_bytes()).unwrap();
            self.now = self.now.max(entry.at);
            self.engine.entry(entry);
        }
    }

    /// Writes what was made, but no more than so many events.
    fn write(&mut self, most: usize) {
        let origin = Arc::new(Origin {
            hostname: "web1".into(),
            host_id: None,
            boot_id: "b".repeat(32),
            version: "1".into(),
        });
        let events: Vec<(Arc<Origin>, Event)> =
            self.engine.take().into_iter().take(most).map(|event| (origin.clone(), event)).collect();
        let log = self.log.as_mut().unwrap();
        log.append(&events, self.now).unwrap();
        assert!(log.losses().is_empty());
    }

    /// Much later, with nothing more to read.
    pub fn settle(&mut self) {
        self.read_all();
        self.now += TimeDelta::hours(2);
        self.engine.followed(true);
        self.engine.idle(self.now);
        // Whoever waits from when nothing more was to be read has waited then.
        self.now += TimeDelta::minutes(5);
        self.engine.idle(self.now);
        self.write(usize::MAX);
    }

    pub fn keep_position(&mut self) {
        let sequence = self.log.as_ref().and_then(Log::head).map_or(0, |head| head.sequence);
        let position = self.engine.position(&self.records, sequence, 0, (String::new(), 0));
        self.kept = Some(serde_json::to_string(&position).unwrap());
    }

    pub fn lose_position(&mut self) {
        self.kept = None;
    }

    /// Killed once only so many of the events to come are written, then started again.
    pub fn kill(&mut self, written: usize) {
        self.engine.idle(self.now);
        self.write(written);
        self.log = None;
        self.start();
        self.read_all();
        self.write(usize::MAX);
    }

    pub fn all_events(&self) -> Vec<hostward_events::Record> {
        self.lines_from(1).iter().map(|line| hostward_events::Record::read(line).unwrap()).collect()
    }

    pub fn new_events(&mut self) -> Vec<hostward_events::Record> {
        let events = self.all_events();
        let new = events.iter().filter(|event| event.sequence > self.seen).cloned().collect();
        self.seen = events.last().map_or(self.seen, |event| event.sequence);
        new
    }
}

fn owner() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// An event as a line, without ids and keys.
pub fn told(event: &hostward_events::Record) -> String {
    let mut text = format!("{}: {}", event.kind.trim_start_matches("hostward."), event.message());
    for word in
        event.message().split(' ').filter(|word| word.starts_with("SHA256:") || word.contains("(serial"))
    {
        text = text.replace(word, "…");
    }
    let mut text = without_digits_behind(&text, "… ");
    let ambiguous = &event.data["unmapped"]["ambiguous"];
    if let Some(ambiguous) = ambiguous.as_str() {
        text.push_str(&format!(" [{}]", ambiguous.trim()));
    }
    if !event.sessionid.is_empty() {
        text.push_str(&format!(" <{}>", event.sessionid.trim_start_matches('0')));
    }
    text
}

fn without_digits_behind(text: &str, mark: &str) -> String {
    let mut parts = text.split(mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(mark);
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// The parts of what happened, each with what the journal and PAM said of it.
pub fn scenario(release: &str) -> Vec<(String, Vec<Input>)> {
    let path = format!("{}/tests/samples/{release}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut parts = vec![("boot".to_owned(), Vec::new())];
    let mut count = 0;
    let mut open: Vec<(u32, String, Record)> = Vec::new();
    let mut commands = std::collections::HashMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        if value["SYSLOG_IDENTIFIER"] == "MARK" {
            let name = value["MESSAGE"].as_str().unwrap().trim_start_matches("=== ").to_owned();
            parts.push((name, Vec::new()));
            continue;
        }
        let inputs = &mut parts.last_mut().unwrap().1;
        let entry = Entry::parse(line.as_bytes()).unwrap();
        inputs.push(Input::Line(line.to_owned()));
        if entry.exe.is_none() && entry.uid != Some(0) {
            continue;
        }
        if let Some(command) = typed(&entry.message) {
            commands.insert(entry.pid, command.to_owned());
        }
        let asked = commands.get(&entry.pid).map(String::as_str);
        if let Some(record) = record(&entry, asked, &mut count, &mut open) {
            inputs.push(Input::Record(Box::new(record)));
        }
    }
    parts
}

/// The same where sudo says how commands end, each after the session of sudo that it was in.
pub fn scenario_with_exits(release: &str) -> Vec<(String, Vec<Input>)> {
    let mut commands: Vec<(u32, serde_json::Value)> = Vec::new();
    let mut count = 0;
    let mut parts = scenario(release);
    for (_, inputs) in &mut parts {
        let mut with = Vec::new();
        for input in std::mem::take(inputs) {
            match &input {
                Input::Line(line) => {
                    let value: serde_json::Value = serde_json::from_str(line).unwrap();
                    let entry = Entry::parse(line.as_bytes()).unwrap();
                    let is_whole = entry.message.len() < 900 && value["MESSAGE"].is_string();
                    if entry.message.contains(" ; COMMAND=") && is_whole {
                        commands.push((entry.pid, value));
                    }
                }
                Input::Record(record) if record.service == "sudo" => {
                    let at = commands.iter().rposition(|(pid, _)| *pid == record.process.pid);
                    if let (What::Closed(_), Some(at)) = (record.what, at) {
                        let (_, mut value) = commands.remove(at);
                        count += 1;
                        value["MESSAGE"] = format!("{} ; EXIT=7", value["MESSAGE"].as_str().unwrap()).into();
                        value["__CURSOR"] = format!("exit{count}").into();
                        value["__REALTIME_TIMESTAMP"] = record.time.to_string().into();
                        with.push(input);
                        with.push(Input::Line(value.to_string()));
                        continue;
                    }
                }
                Input::Record(_) => {}
            }
            with.push(input);
        }
        *inputs = with;
    }
    parts
}

/// What was typed for sudo to write this. One directory of the scenario looks like a command.
fn typed(message: &str) -> Option<&str> {
    if let Some((_, rest)) = message.split_once("\"command\":\"") {
        return rest.split('"').next();
    }
    let parted = if message.contains("PWD=/tmp/x ;") {
        message.rsplit_once("COMMAND=")
    } else {
        message.split_once("COMMAND=")
    };
    parted.map(|(_, command)| command)
}

/// The record that the module would have written when pam_unix said this.
fn record(
    entry: &Entry,
    asked: Option<&str>,
    count: &mut u64,
    open: &mut Vec<(u32, String, Record)>,
) -> Option<Record> {
    let rest = entry.message.strip_prefix("pam_unix(")?;
    let (service, rest) = rest.split_once(":session): session ")?;
    *count += 1;
    let id = Id::of(u128::from(*count).to_be_bytes());
    let time = u64::try_from(entry.at.timestamp_micros()).unwrap() + 50;
    if let Some(rest) = rest.strip_prefix("opened for user ") {
        let (user, by) = rest.split_once(" by ").unwrap();
        let (user, uid) = user.split_once("(uid=").unwrap();
        let uid: u32 = uid.trim_end_matches(')').parse().unwrap();
        let by = by.split('(').next().unwrap();
        // pam_unix of older releases does not say who asked; PAM_RUSER does.
        let by = [(1000, "carol"), (70_001, "alice")]
            .iter()
            .find(|(uid, _)| entry.uid == Some(*uid))
            .map_or(if by.is_empty() { "root" } else { by }, |(_, name)| name);
        let cgroup = if service == "sshd" {
            Some(format!("/user.slice/user-{uid}.slice/session-{}.scope", entry.pid))
        } else {
            entry.cgroup.clone()
        };
        let is_sudo = service.starts_with("sudo");
        let record = Record {
            id,
            what: What::Opened(Id::of(u128::from(*count + 1_000_000).to_be_bytes())),
            time,
            boot: entry.boot.clone(),
            service: service.to_owned(),
            user: user.to_owned(),
            uid: Some(uid),
            managed: uid > 70_000,
            tty: None,
            rhost: (service == "sshd").then(|| "10.66.1.1".to_owned()),
            ruser: (service != "sshd").then(|| by.to_owned()),
            auth: None,
            process: Process { pid: entry.pid, start: 7 },
            parent: 1,
            audit_session: entry.audit,
            loginuid: None,
            cgroup,
            xdg_session: None,
            ancestors: open.iter().map(|(pid, ..)| Process { pid: *pid, start: 7 }).collect(),
            directory: None,
            command_line: asked.filter(|_| is_sudo).map(|asked| format!("-p {count} {asked}")),
        };
        open.push((entry.pid, service.to_owned(), record.clone()));
        return Some(record);
    }
    let at = open.iter().position(|(pid, found, _)| *pid == entry.pid && found == service)?;
    let (_, _, opened) = open.remove(at);
    let What::Opened(session) = opened.what else { return None };
    Some(Record { id, what: What::Closed(Some(session)), time, ..opened })
}
