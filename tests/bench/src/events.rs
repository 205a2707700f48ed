//! Events: what a day of logins weighs, and how many a second come from PAM's records to the backend.

use std::time::{Duration, Instant};

use anyhow::Result;
use hostward_host_tests::{Ca, Fixture, Release, new_lab, now, wait_for};

use crate::figures::{Table, kib};

const REPLAY: &str = include_str!("events.py");
/// Logins with two commands of sudo each, that are weighed.
const LOGINS: u64 = 20;
/// A day's.
const A_DAY: u64 = 100;
/// Sessions whose records come at once: two events each.
const SESSIONS: u64 = 5_000;
const PATIENCE: Duration = Duration::from_secs(600);

/// Weighs, then replays.
pub fn measure(table: &mut Table, release: Release) -> Result<()> {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    let id = fixture.host_id();
    let key = fixture.signed_key("alice", Ca::User, |certificate| certificate.valid_before = now() + 7200);
    let login = || lab.login(host, "alice").key(&key).run("sudo -n /usr/bin/id; sudo -n /usr/bin/whoami");
    // The first makes the home and much else.
    anyhow::ensure!(login().success(), "alice cannot log in");
    delivered(&fixture, &id)?;
    let (log, records, journal) =
        (weight(&fixture, LOG), weight(&fixture, RECORDS), weight(&fixture, JOURNAL));
    let sent = fixture.client.event_state(&id)?.kept;
    for _ in 0..LOGINS {
        anyhow::ensure!(login().success(), "alice cannot log in");
    }
    delivered(&fixture, &id)?;
    let a_day = |now: u64, before: u64| kib((now - before) * A_DAY / LOGINS / 1024);
    let what = format!("a day of {A_DAY} logins with two commands of sudo each");
    let events = fixture.client.event_state(&id)?.kept - sent;
    table.add(&format!("{what}: events"), events * A_DAY / LOGINS);
    table.add(
        &format!("{what}: log of events, and as much to the backend"),
        a_day(weight(&fixture, LOG), log),
    );
    table.add(&format!("{what}: records of PAM"), a_day(weight(&fixture, RECORDS), records));
    table.add(&format!("{what}: the whole journal, beside them"), a_day(weight(&fixture, JOURNAL), journal));

    host.write("/opt/events.py", 0o644, "root:root", REPLAY);
    let before = fixture.client.event_state(&id)?.kept;
    let start = Instant::now();
    let replayed = host.run_within(PATIENCE, &format!("python3 /opt/events.py {SESSIONS}"));
    anyhow::ensure!(replayed.success(), "{replayed}");
    let appended = start.elapsed();
    let wanted = before + 2 * SESSIONS;
    let recorded = wait_for(PATIENCE, "all of them in the log", || {
        let has: u64 = host.ok("cat /var/log/hostward/*.jsonl | wc -l").trim().parse().unwrap_or_default();
        if has >= wanted { Ok(start.elapsed()) } else { Err(format!("{has} of {wanted}")) }
    })
    .1;
    let took = wait_for(PATIENCE, "all of them at the backend", || {
        let kept = fixture.client.event_state(&id).map_err(|error| error.to_string())?.kept;
        if kept >= wanted { Ok(start.elapsed()) } else { Err(format!("{kept} of {wanted}")) }
    })
    .1;
    let rate = |time: Duration| format!("{:.0}", 2.0 * SESSIONS as f64 / time.as_secs_f64());
    let what = format!("{} events that come at once", 2 * SESSIONS);
    table.add(&format!("{what}: a second to PAM's records, by a script"), rate(appended));
    table.add(&format!("{what}: a second to the log"), rate(recorded));
    table.add(&format!("{what}: a second to the backend"), rate(took));
    Ok(())
}

const LOG: &str = "/var/log/hostward/*.jsonl";
const RECORDS: &str = "/var/lib/hostward/records/*";
const JOURNAL: &str = "<(journalctl --output=export)";

/// In bytes.
fn weight(fixture: &Fixture<'_>, of: &str) -> u64 {
    fixture.host.ok(&format!("bash -c 'cat {of} | wc -c'")).trim().parse().unwrap_or_default()
}

/// Waits until the backend has all that the log has.
fn delivered(fixture: &Fixture<'_>, id: &str) -> Result<()> {
    fixture.host.wait_until_ok(PATIENCE, "hostward sync");
    // Whatever is in the records and in the journal by now is read within moments.
    std::thread::sleep(Duration::from_secs(3));
    let lines = || fixture.host.ok("cat /var/log/hostward/*.jsonl | wc -l").trim().parse::<u64>();
    wait_for(PATIENCE, "all events at the backend", || {
        let kept = fixture.client.event_state(id).map_err(|error| error.to_string())?.kept;
        let has = lines().map_err(|error| error.to_string())?;
        if kept == has { Ok(()) } else { Err(format!("{kept} of {has}")) }
    });
    Ok(())
}
