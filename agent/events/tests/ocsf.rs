//! Every event that is made, held against OCSF 1.3.0 by others' programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{
    Caller, Certificate, Enrollment, Event, Issued, Kind, Known, Limits, Log, Losses, Opened, Origin, Quota,
    of_report,
};
use hostward_protocol::report::{
    About, AccountChange, Cause, Change, Entry, Finding, Outcome, PolicyState, Report, Responsible,
    Staleness, StepOutcome,
};

/// What nothing makes yet: their sources are not there.
const RESERVED: [Kind; 7] = [
    Kind::GrantAdded,
    Kind::GrantRemoved,
    Kind::SessionOpened,
    Kind::SessionClosed,
    Kind::LoginDenied,
    Kind::SudoCommand,
    Kind::Su,
];

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 123_456_789).unwrap()
}

fn finding(code: &str) -> Finding {
    Finding {
        code: code.into(),
        subject: "user `docker` (id u5)".into(),
        message: "the name belongs to the system".into(),
        responsible: Responsible::Backend,
        mend: "choose another name on the backend".into(),
    }
}

fn certificates() -> Vec<Event> {
    let caller = Caller {
        uid: 112,
        pid: Some(4711),
        unit: Some("jenkins.service".into()),
        account: Some("jenkins".into()),
    };
    let asked = Certificate {
        caller,
        user: Some("ci".into()),
        issuer: "backend".into(),
        key: Some("SHA256:abc".into()),
    };
    let issued = Issued {
        key_id: "service:ci@web1:uid=112".into(),
        serial: u64::MAX,
        principals: vec!["ci".into()],
        valid_after: at(),
        valid_before: at() + TimeDelta::minutes(3),
        ca: "SHA256:def".into(),
    };
    let nobody = Certificate {
        caller: Caller { uid: 112, pid: None, unit: None, account: None },
        user: None,
        issuer: "backend".into(),
        key: None,
    };
    vec![
        Event::certificate_issued(at(), &asked, &issued),
        Event::certificate_issued(at(), &nobody, &issued),
        Event::certificate_refused(at(), &asked, &finding("service-not-bound")),
        Event::certificate_refused(at(), &nobody, &finding("service-not-bound")),
    ]
}

fn lifecycle() -> Vec<Event> {
    let enrollment =
        Enrollment { url: "https://backend.example/".into(), project: "acme".into(), host_id: "h1".into() };
    vec![
        Event::agent_started(at(), "1.0.0", 4711),
        Event::enrollment_refused(at(), &finding("token-expired")),
        Event::enrolled(at(), &enrollment),
        Event::unenrolled(at(), &enrollment, None),
        Event::unenrolled(at(), &enrollment, Some("no route")),
        Event::agent_stopped(at(), "1.0.0"),
    ]
}

fn abouts() -> Vec<About> {
    let change = |change, entry, detail: &str| AccountChange {
        change,
        entry,
        name: "alice".into(),
        id: 70_001,
        detail: detail.into(),
    };
    let mut changes = Vec::new();
    for entry in [Entry::User, Entry::Group] {
        changes.extend([
            change(Change::Add, entry, ""),
            change(Change::Remove, entry, ""),
            change(Change::Change, entry, "home"),
        ]);
    }
    vec![
        About::Accounts { changes, more: 3 },
        About::Accounts { changes: vec![], more: 0 },
        About::Sudo,
        About::Trust,
        About::Sshd,
        About::Services,
        About::Sessions { name: "bob".into(), uid: 70_002 },
        About::Home { name: "bob".into(), uid: 70_002, home: "/home/bob".into() },
        About::Other,
    ]
}

/// Three reports: all is done, all fails, all is over.
fn reports() -> Vec<Event> {
    let report = |version, outcome: &dyn Fn() -> Outcome| {
        let policy = PolicyState { version, root_version: 1, expires: at(), staleness: Staleness::Fresh };
        let step = |about| StepOutcome { step: "do something".into(), about, outcome: outcome() };
        Report {
            project: Some("acme".into()),
            policy: Some(policy),
            steps: abouts().into_iter().map(step).collect(),
            drift: vec![finding("managed-file-changed")],
            ..Report::new(Cause::Admission, at(), "1.0.0")
        }
    };
    let done = || Outcome::Done { detail: "+1 -1 rules".into() };
    let failed = || Outcome::Failed(finding("write-failed"));
    let first = Report { refusals: vec![finding("user-name-reserved"); 300], ..report(1, &done) };
    let second = Report { admission: Some(finding("rollback")), ..report(2, &failed) };
    let mut events = Vec::new();
    let mut known = Known::default();
    for report in [first, second, report(3, &done)] {
        let (more, after) = of_report(&report, &known);
        events.extend(more);
        known = after;
    }
    events
}

/// Writes one of each into a log, with a torn end and losses, and answers with its file.
fn write_all(dir: &Path) -> PathBuf {
    let origin = |host_id: Option<&str>| {
        Arc::new(Origin {
            hostname: "web1".into(),
            host_id: host_id.map(Into::into),
            boot_id: "0123456789abcdef0123456789abcdef".into(),
            version: "1.0.0".into(),
        })
    };
    let file = dir.join("events.jsonl");
    std::fs::write(&file, "{\"specversion\":\"1.0\",").unwrap();
    let limits = Limits::default();
    let Opened { mut log, repaired } = Log::open(dir, limits, "run", origin(None), at()).unwrap();
    let mut losses = Losses::default();
    for cause in [hostward_events::Cause::Quota, hostward_events::Cause::Disk, hostward_events::Cause::Queue]
    {
        losses.count_many(Quota::Denials, cause, at(), 3);
    }
    log.lose(losses);
    let events = [vec![repaired.unwrap()], lifecycle(), certificates(), reports()].concat();
    let hosts = [origin(None), origin(Some("h1"))];
    let with_origins: Vec<_> =
        events.into_iter().enumerate().map(|(n, event)| (hosts[n % 2].clone(), event)).collect();
    log.append(&with_origins, at()).unwrap();
    assert!(log.losses().is_empty());
    file
}

#[test]
fn every_event_is_what_ocsf_says_it_is() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python-ocsf/bin/python");
    assert!(python.exists(), "`{}` is missing: `make ocsf` makes it", python.display());
    let dir = tempfile::tempdir().unwrap();
    let file = write_all(dir.path());
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ocsf/check.py");
    let output = Command::new(python).arg(check).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let fitting = String::from_utf8(output.stdout).unwrap();
    let seen: BTreeSet<&str> = fitting.lines().collect();
    let made: BTreeSet<&str> =
        Kind::ALL.iter().filter(|kind| !RESERVED.contains(kind)).map(|kind| kind.name()).collect();
    assert_eq!(seen, made);
    assert_eq!(fitting.lines().count(), std::fs::read_to_string(file).unwrap().lines().count());
}

/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>: required attributes, and what all of them are.
#[test]
fn every_line_is_a_cloud_event() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(write_all(dir.path())).unwrap();
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for required in ["id", "source", "specversion", "type", "time"] {
            assert!(event[required].as_str().is_some_and(|text| !text.is_empty()), "{required}: {line}");
        }
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["datacontenttype"], "application/json");
        DateTime::parse_from_rfc3339(event["time"].as_str().unwrap()).unwrap();
        for (name, value) in event.iter().filter(|(name, _)| *name != "data") {
            let is_name =
                name.len() <= 20 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            assert!(is_name && value.as_str().is_some_and(|text| !text.is_empty()), "{name}: {line}");
        }
        assert!(ids.insert(event["id"].as_str().unwrap().to_owned()), "twice: {line}");
    }
}
