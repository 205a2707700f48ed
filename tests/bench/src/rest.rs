//! A host at rest: memory, wake-ups, traffic.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use hostward_host_tests::{Fixture, Release, new_lab, wait_for};

use crate::figures::{Table, kib};

/// `hostward-apply` ends when it was idle for half a minute.
const SETTLED: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(30);

/// Waits until nothing is going on, then looks twice.
pub fn measure(table: &mut Table, release: Release) -> Result<()> {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    fixture.stop_timer();
    let (took, ()) = wait_for(SETTLED, "hostward-apply to end", || {
        let state = fixture.host.run("systemctl is-active hostward-apply.service");
        if state.stdout.trim() == "inactive" { Ok(()) } else { Err(state.to_string()) }
    });
    table.add("hostward-apply ends after", format!("{:.0} s", took.as_secs_f64()));

    let before = wake_ups(&fixture);
    thread::sleep(REST);
    let after = wake_ups(&fixture);
    table.add(&format!("hostward-agent: wake-ups in {REST:?} at rest"), after - before);
    let status = fixture.host.ok("cat /proc/$(systemctl show -P MainPID hostward.service)/status");
    for (name, what) in [
        ("VmRSS:", "resident memory"),
        ("RssAnon:", "of which its own"),
        ("VmHWM:", "peak"),
        ("Threads:", "threads"),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let figure =
            line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
        let shown = if name == "Threads:" { figure.to_string() } else { kib(figure) };
        table.add(&format!("hostward-agent: {what}"), shown);
    }
    Ok(())
}

/// Of all threads: each voluntary switch is the end of a wake-up.
fn wake_ups(fixture: &Fixture<'_>) -> u64 {
    let command = "cat /proc/$(systemctl show -P MainPID hostward.service)/task/*/status";
    let status = fixture.host.ok(command);
    status
        .lines()
        .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
        .sum()
}
