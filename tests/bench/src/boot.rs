//! From the start of systemd to accounts: a host that is enrolled, and one that finds a token at its first boot.

use std::time::Duration;

use anyhow::Result;
use hostward_host_tests::{Fixture, Release, new_lab};

use crate::figures::{Table, shown};

const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// Notes when a user is known, as early as anything can ask.
const UNIT: &str = "[Unit]\nDefaultDependencies=no\n\
[Service]\nExecStart=/bin/sh -c 'until getent passwd alice; do sleep 0.002; done; cut -d\" \" -f1 /proc/uptime >/run/known'\n\
[Install]\nWantedBy=sysinit.target\n";

/// Boots hosts.
pub fn measure(table: &mut Table, release: Release) -> Result<()> {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    fixture.host.write("/etc/systemd/system/known.service", 0o644, "root:root", UNIT);
    fixture.host.must("systemctl daemon-reload && systemctl --quiet enable known.service");

    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        fixture.host.must("systemctl stop hostward.service");
        fixture.place_token(&fixture.token());
        fixture.host.reboot()?;
        first.push(known(&fixture));
        fixture.host.reboot()?;
        again.push(known(&fixture));
        let left = fixture.host.run("hostward unenroll --yes");
        assert!(left.success(), "{left}");
    }
    table.add_times("boot with a token to accounts in place, enrollment included", first);
    table.add_times("boot of an enrolled host to accounts in place", again);
    Ok(())
}

/// From the start of systemd until the user was known.
fn known(fixture: &Fixture<'_>) -> Duration {
    let (_, known) = fixture.host.wait_until_ok(PATIENCE, "test -s /run/known && cat /run/known");
    let known: f64 = known.trim().parse().expect("seconds of uptime");
    let start = fixture.host.ok("systemctl show -P UserspaceTimestampMonotonic");
    let start: f64 = start.trim().parse().expect("microseconds of uptime");
    let time = Duration::try_from_secs_f64(known - start / 1e6).unwrap_or_default();
    eprintln!("known after {}", shown(time));
    time
}
