//! Every event that is made, held against OCSF 1.3.0 by others' programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hostward_events::{
    Account, Authentication, Caller, Certificate, Closed, Denial, DenialReason, Enrollment, Event, Grant,
    Input, Issued, Kind, Known, Limits, Log, Losses, Missing, Opened, Origin, Process, Quota, Remote,
    Session, Source, Sudo, SudoExited, SudoOutcome, of_report,
};
use hostward_protocol::report::{
    About, AccountChange, Cause, Change, Entry, Finding, Outcome, PolicyState, Report, Responsible,
    Staleness, StepOutcome,
};

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 123_456_789).expect("a time")
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

fn account(name: &str, uid: Option<u32>) -> Account {
    Account { name: name.into(), uid }
}

fn session(service: &str) -> Session {
    Session {
        id: "0".repeat(32),
        login: "1".repeat(32),
        service: service.into(),
        user: account("alice", Some(70_001)),
        managed: true,
        by: None,
        tty: None,
        remote: None,
        authentication: None,
        grants: vec![],
        process: Process { pid: 4711, start: 99 },
        boot: "2".repeat(32),
        cgroup: None,
        audit: None,
        opened: at().timestamp_micros(),
    }
}

fn sessions() -> Vec<Event> {
    let ssh = Session {
        tty: Some("pts/0".into()),
        remote: Some(Remote { host: "192.0.2.7".into(), port: None }),
        authentication: Some(Authentication {
            method: "publickey".into(),
            key: Some("SHA256:abc".into()),
            key_id: Some("alice@example.com".into()),
            serial: Some(u64::MAX),
            ca: Some("SHA256:def".into()),
        }),
        grants: vec!["people".into(), "admins".into()],
        cgroup: Some("/user.slice/user-70001.slice/session-3.scope".into()),
        audit: Some(3),
        ..session("sshd")
    };
    let su = Session {
        by: Some(account("alice", Some(70_001))),
        user: account("root", Some(0)),
        ..session("su-l")
    };
    let by_name =
        Session { remote: Some(Remote { host: "laptop".into(), port: Some(7) }), ..session("login") };
    let opened = Event::session_opened(at(), &ssh).made_of(Input {
        source: Source::Records,
        id: "3".repeat(32),
        from: None,
    });
    vec![
        opened,
        Event::session_opened(at(), &su),
        Event::session_opened(at(), &by_name),
        Event::session_opened(at(), &session("cron")),
        Event::session_closed(at(), &ssh, Closed::Told),
        Event::session_closed(at(), &su, Closed::ProcessGone),
        Event::session_closed(at(), &session("systemd-user"), Closed::Rebooted),
    ]
}

fn denials() -> Vec<Event> {
    let denial = |reason| Denial {
        service: "sshd".into(),
        user: account("mallory", None),
        remote: Some(Remote { host: "2001:db8::1".into(), port: None }),
        by: None,
        reason,
        authentication: Some(Authentication { method: "password".into(), ..Authentication::default() }),
        count: 10_000,
        first: at(),
        last: at() + TimeDelta::seconds(50),
        said: Some("Failed password for invalid user mallory".into()),
        boot: "2".repeat(32),
        login: None,
        series: "4".repeat(16),
    };
    let su = Denial {
        service: "su".into(),
        remote: None,
        by: Some(account("carol", Some(1000))),
        count: 1,
        said: None,
        authentication: None,
        login: Some("1".repeat(32)),
        ..denial(DenialReason::WrongPassword)
    };
    let made_of = Input { source: Source::Journal, id: "s=1;i=2".into(), from: Some("s=1;i=1".into()) };
    let all = DenialReason::ALL
        .into_iter()
        .map(|reason| Event::login_denied(&denial(reason)).made_of(made_of.clone()));
    all.chain([Event::login_denied(&su)]).collect()
}

fn commands() -> Vec<Event> {
    let allowed = Sudo {
        by: account("alice", Some(70_001)),
        run_as: Some(account("root", None)),
        group: Some("adm".into()),
        command: Some("/usr/bin/id -u".into()),
        asked: None,
        record: Some("3".repeat(32)),
        directory: Some("/home/alice".into()),
        tty: Some("pts/0".into()),
        pid: 4712,
        ambiguous: Some("all of it".into()),
        outcome: SudoOutcome::Allowed,
        login: Some("1".repeat(32)),
        boot: "2".repeat(32),
    };
    let refused = Sudo {
        run_as: None,
        group: None,
        command: None,
        directory: None,
        tty: None,
        ambiguous: None,
        login: None,
        outcome: SudoOutcome::Refused("command not allowed".into()),
        ..allowed.clone()
    };
    let exited = SudoExited {
        by: account("alice", Some(70_001)),
        run_as: Some(account("root", None)),
        command: "/usr/bin/id -u".into(),
        pid: 4712,
        code: 1,
        signal: None,
        login: "1".repeat(32),
        boot: "2".repeat(32),
        record: "3".repeat(32),
    };
    let unheard = Sudo { command: None, asked: Some("-n id -u".into()), record: None, ..allowed.clone() };
    let grant = Grant {
        user: "alice".into(),
        uid: Some(70_001),
        group: "admins".into(),
        privileges: vec!["login".into(), "sudo:look".into()],
    };
    let refused = Event::sudo_command(at(), &refused);
    assert_eq!(refused.quota(), Quota::Denials, "anybody on the host can be refused");
    vec![
        Event::sudo_command(at(), &allowed),
        Event::sudo_command(at(), &unheard),
        Event::sudo_exited(at(), &exited),
        Event::sudo_exited(at(), &SudoExited { signal: Some("KILL".into()), code: 137, ..exited.clone() }),
        refused,
        Event::grant_added(at(), &grant),
        Event::grant_removed(at(), &grant),
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

/// What never came to be an event, for each reason.
fn missing() -> Vec<Event> {
    let records = [(Some(3), Missing::NotWritten), (Some(1), Missing::Damaged)];
    let journal = [
        (Some(7), Missing::Suppressed("ssh.service".into())),
        (None, Missing::Gap),
        (Some(2), Missing::Unsure),
    ];
    let of = |source: Source| {
        move |(count, cause): (Option<u64>, Missing)| Event::input_lost(at(), source, count, &cause)
    };
    records.into_iter().map(of(Source::Records)).chain(journal.into_iter().map(of(Source::Journal))).collect()
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
    std::fs::write(&file, "{\"specversion\":\"1.0\",").expect("a torn log");
    let limits = Limits::default();
    let Opened { mut log, repaired } = Log::open(dir, limits, "run", origin(None), at()).expect("a log");
    let mut losses = Losses::default();
    for cause in [hostward_events::Cause::Quota, hostward_events::Cause::Disk, hostward_events::Cause::Queue]
    {
        losses.count_many(Quota::Denials, cause, at(), 3);
    }
    log.lose(losses);
    let events = [
        vec![repaired.expect("the torn end")],
        lifecycle(),
        certificates(),
        reports(),
        sessions(),
        denials(),
        commands(),
        missing(),
    ]
    .concat();
    let hosts = [origin(None), origin(Some("h1"))];
    let with_origins: Vec<_> =
        events.into_iter().enumerate().map(|(n, event)| (hosts[n % 2].clone(), event)).collect();
    log.append(&with_origins, at()).expect("room");
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
    let made: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
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
