//! Who came in, who was refused, and what sudo ran: what becomes an event, and what does not.

mod forged;
mod kills;
mod kinds;
mod restarts;

use std::collections::BTreeMap;
use std::time::Duration;

use hostward_host_tests::Fixture;
use serde_json::Value;

/// Refused logins are told when their minute is over, and a little later.
const MINUTE_OVER: Duration = Duration::from_secs(150);

/// What was made of what PAM and the journal say, in order.
#[track_caller]
fn told(fixture: &Fixture<'_>) -> Vec<Value> {
    let text = fixture.host.ok("hostward events --json");
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let is_told = |event: &Value| match event["input"].as_str() {
        Some(source) => source != "grants",
        None => is(event, "session.closed"),
    };
    events.filter(is_told).collect()
}

fn is(event: &Value, kind: &str) -> bool {
    event["type"] == format!("hostward.{kind}")
}

/// How often each kind of event is there, by service. Managers of users come and go as they like, and not every sudo says
/// how commands end.
fn counts<'event>(events: impl IntoIterator<Item = &'event Value>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        let kind = event["type"].as_str().expect("a type").trim_start_matches("hostward.");
        let service = event["data"]["service"]["name"].as_str().unwrap_or_default();
        if service != "systemd-user" && kind != "sudo.exited" {
            *counts.entry(format!("{kind} {service}")).or_default() += 1;
        }
    }
    counts
}

/// What [`counts`] says of so many logins in which two commands of sudo were run.
fn counts_of_logins(logins: usize) -> BTreeMap<String, usize> {
    [
        ("session.opened sshd", logins),
        ("session.closed sshd", logins),
        ("sudo.command ", 2 * logins),
        ("session.opened sudo", 2 * logins),
        ("session.closed sudo", 2 * logins),
    ]
    .into_iter()
    .map(|(kind, count)| (kind.to_owned(), count))
    .collect()
}

/// One line that says what an event is about. Managers of users come and go with their sessions, a little later.
fn line(event: &Value) -> Option<String> {
    let kind = event["type"].as_str().expect("a type").trim_start_matches("hostward.");
    let data = &event["data"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    if data["service"]["name"] == "systemd-user" {
        return None;
    }
    let actor = text(&data["actor"]["user"]["name"]);
    Some(match kind {
        "sudo.command" => format!(
            "{kind} {actor} {} as {} {}",
            text(&data["process"]["cmd_line"]),
            text(&data["process"]["user"]["name"]),
            text(&data["status"])
        ),
        "sudo.exited" => {
            format!("{kind} {actor} {} {}", text(&data["process"]["cmd_line"]), data["exit_code"])
        }
        "login.denied" => format!(
            "{kind} {} {} {} {}",
            text(&data["user"]["name"]),
            text(&data["service"]["name"]),
            text(&data["status_code"]),
            data["count"]
        ),
        _ => format!("{kind} {} {} by {actor}", text(&data["user"]["name"]), text(&data["service"]["name"])),
    })
}

/// Waits until there is what is expected, each as often as said, and nothing else.
#[track_caller]
fn wait_for_exactly(fixture: &Fixture<'_>, expected: &[&str]) {
    let mut wanted = BTreeMap::<String, usize>::new();
    expected.iter().for_each(|line| *wanted.entry((*line).to_owned()).or_default() += 1);
    fixture.host.wait_for(MINUTE_OVER, "events", |_| {
        let mut seen = BTreeMap::<String, usize>::new();
        told(fixture).iter().filter_map(line).for_each(|line| *seen.entry(line).or_default() += 1);
        if seen == wanted {
            return Ok(());
        }
        let missing: Vec<_> = wanted.iter().filter(|(line, count)| seen.get(*line) != Some(count)).collect();
        let more: Vec<_> = seen.iter().filter(|(line, count)| wanted.get(*line) != Some(count)).collect();
        Err(format!("wanted: {missing:#?}\nseen: {more:#?}"))
    });
}
