//! Killed again and again while people come, run sudo and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostward_host_tests::{Ca, Fixture, new_lab, now, on_each_release};
use serde_json::Value;

/// How often each is killed; `HOSTWARD_KILLS` says otherwise.
const KILLS: u64 = 10;
/// systemd starts the agent again after two seconds, and journald five times in ten.
const PACE: Duration = Duration::from_millis(2400);
/// What waits is tried within five minutes at most.
const PATIENCE: Duration = Duration::from_secs(150);

fn kills() -> u64 {
    match std::env::var("HOSTWARD_KILLS") {
        Ok(text) => text.parse().expect("HOSTWARD_KILLS is a number"),
        Err(_) => KILLS,
    }
}

/// What there is to count, by what alice did.
fn counted(events: &[Value]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        let kind = event["type"].as_str().expect("a type").trim_start_matches("hostward.");
        let service = event["data"]["service"]["name"].as_str().unwrap_or_default();
        if matches!(kind, "session.opened" | "session.closed" | "sudo.command") && service != "systemd-user" {
            *counts.entry(format!("{kind} {service}")).or_default() += 1;
        }
    }
    counts
}

on_each_release! {
    /// The agent, journald and the backend with `kill -9`, at random moments: each session and each command is at the backend
    /// once.
    fn nothing_is_lost_or_doubled_by_kills(release) {
        let lab = new_lab();
        let mut fixture = Fixture::enrolled(&lab, release);
        let id = fixture.client.hosts().expect("hosts")[0].host.id.clone();
        let key = fixture.signed_key("alice", Ca::User, |certificate| certificate.valid_before = now() + 7200);
        let kills = kills();
        let is_over = AtomicBool::new(false);
        let logins = std::thread::scope(|scope| {
            let (host, backend) = (&fixture.host, &mut fixture.backend);
            let people = scope.spawn(|| {
                let mut logins = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let command = "sudo -n /usr/bin/id; sudo -n /usr/bin/whoami";
                    let login = lab.login(host, "alice").key(&key).run(command);
                    assert!(login.success(), "{logins}: {login}");
                    logins += 1;
                }
                logins
            });
            for round in 0..kills {
                let next = Instant::now() + PACE;
                // Moments of each round that have nothing to do with each other, spread over the pace.
                let moment = |prime: u64| Duration::from_millis((round * prime) % 700);
                std::thread::sleep(moment(173));
                let _it_may_be_between_two_lives = host.run("systemctl kill --signal=KILL hostward.service");
                std::thread::sleep(moment(311));
                host.must("systemctl kill --signal=KILL systemd-journald.service");
                std::thread::sleep(moment(97));
                backend.kill();
                backend.start();
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            is_over.store(true, Ordering::Relaxed);
            people.join().expect("people")
        });
        let wanted: BTreeMap<String, u64> = [
            ("session.opened sshd", logins),
            ("session.closed sshd", logins),
            ("session.opened sudo", 2 * logins),
            ("session.closed sudo", 2 * logins),
            ("sudo.command ", 2 * logins),
        ]
        .into_iter()
        .map(|(kind, count)| (kind.to_owned(), count))
        .collect();
        fixture.host.wait_until_ok(PATIENCE, "hostward sync");
        let events = fixture.host.wait_for(PATIENCE, "each of them at the backend", |host| {
            let there = fixture.client.events(&id).map_err(|error| error.to_string())?;
            let seen = counted(&there);
            if seen == wanted { Ok(there) } else { Err(format!("{seen:#?}\nof {wanted:#?}\n{}", host.ok("hostward events --type events.lost; hostward status || true"))) }
        }).1;
        let unique: BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
        assert_eq!(unique.len(), events.len(), "one is there twice");
        let state = fixture.client.event_state(&id).expect("the state of events");
        assert!(state.gaps.is_empty() && state.breaks.is_empty(), "{state:#?}");
        let verdict = fixture.hostward("events --verify");
        assert!(verdict.success(), "{verdict}");
        println!("{release}: {kills} kills of each, {logins} logins, {} events", events.len());
    }
}
