//! Killed again and again while people come, run sudo and go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostward_host_tests::{Ca, Fixture, new_lab, now, on_each_release};
use serde_json::Value;

use super::{counts, counts_of_logins, is};
use crate::delivery::assert_all_there_once;

/// How often each is killed; `HOSTWARD_KILLS` says otherwise.
const KILLS: u64 = 10;
/// systemd starts the agent again after two seconds, and journald five times in ten.
const PACE: Duration = Duration::from_millis(2400);
/// A sync has what waits tried at once.
const PATIENCE: Duration = Duration::from_secs(150);

/// Ends the people's work, also where a test fails that would wait for them otherwise.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn kills() -> u64 {
    match std::env::var("HOSTWARD_KILLS") {
        Ok(text) => text.parse().expect("HOSTWARD_KILLS is a number"),
        Err(_) => KILLS,
    }
}

/// What is there of what alice did.
fn counted(events: &[Value]) -> BTreeMap<String, usize> {
    let kinds = ["session.opened", "session.closed", "sudo.command"];
    counts(events.iter().filter(|event| kinds.iter().any(|kind| is(event, kind))))
}

on_each_release! {
    /// The agent, journald and the backend with `kill -9`, at random moments: each session and each command is at the backend
    /// once.
    fn nothing_is_lost_or_doubled_by_kills(release) {
        let lab = new_lab();
        let mut fixture = Fixture::enrolled(&lab, release);
        let id = fixture.host_id();
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
            let over = Over(&is_over);
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
            drop(over);
            people.join().expect("people")
        });
        let wanted = counts_of_logins(logins);
        fixture.host.wait_until_ok(PATIENCE, "hostward sync");
        let events = fixture.host.wait_for(PATIENCE, "each of them at the backend", |host| {
            let there = fixture.client.events(&id).map_err(|error| error.to_string())?;
            let seen = counted(&there);
            if seen == wanted { Ok(there) } else { Err(format!("{seen:#?}\nof {wanted:#?}\n{}", host.ok("hostward events --type events.lost; hostward status || true"))) }
        }).1;
        let exits = events.iter().filter(|event| is(event, "sudo.exited")).count();
        assert!(exits <= 2 * logins, "{exits} ends of {} commands", 2 * logins);
        assert_all_there_once(&fixture, &id);
        let verdict = fixture.hostward("events --verify");
        assert!(verdict.success(), "{verdict}");
        println!("{release}: {kills} kills of each, {logins} logins, {exits} ends told, {} events", events.len());
    }
}
