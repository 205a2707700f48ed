use hostward_protocol::report::{Cause, Responsible, Staleness};

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn finding(code: &str, subject: &str, message: &str) -> Finding {
    Finding {
        code: code.into(),
        subject: subject.into(),
        message: message.into(),
        responsible: Responsible::Backend,
        mend: "mend it".into(),
    }
}

fn report(version: u64) -> Report {
    let policy = PolicyState { version, root_version: 1, expires: at(86_400), staleness: Staleness::Fresh };
    Report {
        project: Some("acme".into()),
        policy: Some(policy),
        ..Report::new(Cause::Admission, at(0), "1.0.0")
    }
}

fn step(text: &str, about: About, outcome: Outcome) -> StepOutcome {
    StepOutcome { step: text.into(), about, outcome }
}

fn done() -> Outcome {
    Outcome::Done { detail: String::new() }
}

fn told(events: &[Event]) -> Vec<(&'static str, String)> {
    let message = |event: &Event| event.data()["message"].as_str().unwrap_or_default().to_owned();
    events.iter().map(|event| (event.kind().name().trim_start_matches("hostward."), message(event))).collect()
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    told(events).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn each_thing_that_a_pass_did_is_an_event() {
    let change = |change, entry, name: &str, id, detail: &str| AccountChange {
        change,
        entry,
        name: name.into(),
        id,
        detail: detail.into(),
    };
    let changes = vec![
        change(Change::Remove, Entry::User, "bob", 70_002, ""),
        change(Change::Change, Entry::User, "alice", 70_001, "home"),
        change(Change::Change, Entry::Group, "ops", 71_001, "members -1"),
    ];
    let mut report = report(7);
    report.steps = vec![
        step("replace /etc/sudoers.d/hostward", About::Sudo, Outcome::Done { detail: "-1 rule".into() }),
        step("replace the account database", About::Accounts { changes, more: 0 }, done()),
        step(
            "end the sessions and processes of `bob` (uid 70002)",
            About::Sessions { name: "bob".into(), uid: 70_002 },
            done(),
        ),
        step("restore owner and mode of /x", About::Other, done()),
        step("reload sshd", About::Sshd, Outcome::Skipped { reason: "x".into() }),
    ];
    let (events, known) = of_report(&report, &Known::default());
    assert_eq!(
        told(&events),
        [
            ("policy.adopted", "version 7 of the policy of `acme` is in force (root 1)".to_owned()),
            ("sudo.changed", "replace /etc/sudoers.d/hostward (-1 rule)".to_owned()),
            ("account.removed", "remove user bob (70002)".to_owned()),
            ("account.changed", "change user alice (70001): home".to_owned()),
            ("group.changed", "change group ops (71001): members -1".to_owned()),
            ("sessions.ended", "end the sessions and processes of `bob` (uid 70002)".to_owned()),
        ]
    );
    report.steps.clear();
    assert_eq!(of_report(&report, &known), (vec![], known.clone()), "nothing is new");
}

#[test]
fn what_is_refused_is_said_when_it_begins_and_when_it_ends() {
    let mut report = report(1);
    let (docker, root) =
        (finding("reserved", "user `docker`", "no"), finding("reserved", "user `root`", "no"));
    report.refusals = vec![docker.clone(), root.clone()];
    let (events, known) = of_report(&report, &Known::default());
    assert_eq!(kinds(&events), ["policy.adopted", "refusal.appeared", "refusal.appeared"]);
    report.refusals = vec![root];
    let (events, after) = of_report(&report, &known);
    assert_eq!(told(&events), [("refusal.over", "no longer refused (reserved): user `docker`".to_owned())]);
    // A pass that could not look does not know.
    report.refusals.clear();
    report.steps = vec![step("read the configuration", About::Other, Outcome::Failed(docker))];
    let (events, later) = of_report(&report, &after);
    assert_eq!(kinds(&events), ["host.changed"]);
    assert_eq!(later.refusals, after.refusals);
    // What is known survives a restart.
    let text = serde_json::to_string(&after).unwrap();
    assert_eq!(serde_json::from_str::<Known>(&text).unwrap(), after);
}

#[test]
fn what_goes_on_failing_is_said_once() {
    let mut report = report(1);
    report.drift =
        vec![finding("managed-file-changed", "/etc/sudoers.d/hostward", "its content was changed")];
    report.steps = vec![step(
        "replace /etc/sudoers.d/hostward",
        About::Sudo,
        Outcome::Failed(finding("full", "x", "no room")),
    )];
    report.admission = Some(finding("rollback", "policy", "older"));
    let (events, known) = of_report(&report, &Known::default());
    assert_eq!(kinds(&events), ["drift.found", "policy.refused", "sudo.changed"]);
    let (events, known) = of_report(&report, &known);
    assert_eq!(kinds(&events), [""; 0]);
    report.steps = vec![step("replace /etc/sudoers.d/hostward", About::Sudo, done())];
    report.admission = None;
    let (events, known) = of_report(&report, &known);
    assert_eq!(kinds(&events), ["drift.repaired", "policy.adopted", "sudo.changed"]);
    assert!(known.failing.is_empty());
}

#[test]
fn a_policy_that_refuses_everything_makes_few_events() {
    let mut report = report(1);
    report.refusals =
        (0..100_000).map(|n| finding("reserved", &format!("user `u{n}`"), &"x".repeat(200))).collect();
    let changes = vec![
        AccountChange {
            change: Change::Add,
            entry: Entry::User,
            name: "u".into(),
            id: 1,
            detail: String::new()
        };
        1000
    ];
    report.steps =
        vec![step("replace the account database", About::Accounts { changes, more: 99_000 }, done())];
    let (events, known) = of_report(&report, &Known::default());
    assert_eq!(events.len(), 1 + MOST + 1 + MOST + 1);
    let said = told(&events);
    assert!(said.iter().any(|(_, message)| message.starts_with("99800 more entries")), "{:?}", said.last());
    assert_eq!(kinds(&of_report(&Report { steps: vec![], ..report }, &known).0), [""; 0]);
}

#[test]
fn text_of_others_has_a_bound() {
    let long = "x".repeat(1 << 20);
    let mut report = report(1);
    report.admission = Some(finding(&long, &long, &long));
    report.drift = vec![finding(&long, &long, &long)];
    let (events, known) = of_report(&report, &Known::default());
    assert!(serde_json::to_string(&known).unwrap().len() < 8192);
    for event in events {
        assert!(serde_json::to_string(&event.data()).unwrap().len() < 8192);
    }
}
