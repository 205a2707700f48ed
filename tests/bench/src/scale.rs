//! Applies of policies with many users: time and memory.

use std::time::{Duration, Instant};

use anyhow::Result;
use hostward_host_tests::{Fixture, Release, new_lab, wait_for};

use crate::figures::{Table, kib, shown};
use crate::people::{PERSON, team};

const PATIENCE: Duration = Duration::from_secs(300);
const ROUNDS: usize = 5;

/// Enrolls a host with `users` users, then changes one, then repairs what was deleted.
pub fn measure(table: &mut Table, release: Release, users: usize) -> Result<()> {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&team(users, false)).boot();
    let last = format!("u{:06}", users - 1);
    let start = Instant::now();
    fixture.place_token(&fixture.token());
    until(&fixture, &format!("getent passwd {last}"));
    table.add(&format!("{users} users: token to accounts in place"), shown(start.elapsed()));
    table.add(&format!("{users} users: hostward-apply, peak memory at the first apply"), peak(&fixture));

    let (mut changed, mut idle, mut rebuilt) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for visitor in [true, false] {
            fixture.host.must("systemctl stop hostward.service");
            fixture.backend.set_team(&team(users, visitor))?;
            let _version = fixture.client.sync()?;
            // What starting, fetching and verifying take is in it: the agent has not seen the change before.
            changed.push(timed(&fixture, "systemctl start hostward.service && hostward sync"));
            until(&fixture, &format!("{} getent passwd {PERSON}", if visitor { "" } else { "!" }));
        }
        idle.push(timed(&fixture, "hostward apply"));
        fixture.host.must("rm /var/lib/misc/hostward.db");
        rebuilt.push(timed(&fixture, "hostward apply"));
    }
    table.add_times(
        &format!("{users} users: agent started, one change fetched, verified and applied"),
        changed,
    );
    table.add_times(&format!("{users} users: pass with nothing to do"), idle);
    table.add_times(&format!("{users} users: pass that builds the account database anew"), rebuilt);
    table.add(&format!("{users} users: hostward-apply, peak memory"), peak(&fixture));
    let database = fixture.host.ok("stat -c %s /var/lib/misc/hostward.db");
    table.add(&format!("{users} users: account database"), format!("{} bytes", database.trim()));
    Ok(())
}

fn timed(fixture: &Fixture<'_>, command: &str) -> Duration {
    let start = Instant::now();
    let output = fixture.host.run_within(PATIENCE, command);
    assert!(output.success(), "{output}\n{}", fixture.journal());
    start.elapsed()
}

fn until(fixture: &Fixture<'_>, command: &str) {
    wait_for(PATIENCE, command, || {
        let output = fixture.host.run(command);
        if output.success() { Ok(()) } else { Err(fixture.journal()) }
    });
}

/// Of the process that runs now; it ends when it was idle for a while.
fn peak(fixture: &Fixture<'_>) -> String {
    let command = "pid=$(systemctl show -P MainPID hostward-apply.service); awk '/VmHWM/ { print $2 }' /proc/$pid/status";
    match fixture.host.run(command).stdout.trim().parse() {
        Ok(size) => kib(size),
        Err(_) => "the process had ended".to_owned(),
    }
}
