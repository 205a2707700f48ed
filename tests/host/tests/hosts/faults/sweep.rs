//! Every rename and fsync of an apply: killed at it, and failed at it, one after another. The crate's own
//! tests sweep the same with its operations; here it is the installed program's system calls.

use hostward_host_tests::{Fixture, Release, SOON, new_lab};
use hostward_protocol::report::Outcome;

use super::state::{Pendulum, Side};

const DROP_IN: &str = "/etc/systemd/system/hostward-apply.service.d/strace.conf";

/// More than any apply has.
const MOST: u32 = 120;

/// The system calls by which a change becomes durable or visible.
const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2";

/// Has the n-th of these system calls tampered with.
fn arm(fixture: &Fixture<'_>, tampering: &str, n: u32) {
    // With -D it is strace that is the child, so that the sockets are still passed to the right process.
    let text = format!(
        "[Service]\nExecStart=\n\
         ExecStart=/usr/bin/strace -D -f -qq -A -o /run/strace.log -e trace={CALLS} -e inject={CALLS}:{tampering}:when={n} \
         /usr/lib/hostward/hostward-apply\n\
         CapabilityBoundingSet=CAP_SYS_PTRACE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL\nSystemCallFilter=\nReadWritePaths=/run\n"
    );
    fixture.host.write(DROP_IN, 0o644, "root:root", text);
    fixture
        .host
        .must("rm -f /run/strace.log; systemctl stop hostward-apply.service; systemctl daemon-reload");
}

fn disarm(fixture: &Fixture<'_>) {
    // A request that is still waiting starts it at the same moment, and one of the two jobs is cancelled.
    let stop = format!("rm -f {DROP_IN}; systemctl daemon-reload; systemctl stop hostward-apply.service");
    fixture.host.wait_until_ok(SOON, &stop);
}

/// Publishes the other side with an armed process, and returns whether the tampering was met.
fn one_round(pendulum: &Pendulum<'_, '_>, tampering: &str, n: u32, side: Side) -> bool {
    let fixture = pendulum.fixture;
    let when = format!("{tampering} at {n}");
    // The agent stays out of it until the publication, so that it is this process that meets it.
    fixture.host.must("systemctl stop hostward.service");
    arm(fixture, tampering, n);
    fixture.publish(|_| side.team());
    fixture.host.must("systemctl start hostward.service");
    let synced = fixture.host.run("hostward sync");
    let met = fixture.host.run("grep -qE 'INJECTED|killed by SIGKILL' /run/strace.log").success();
    assert!(
        met || pendulum.is_on(side),
        "{when}: neither tampered with nor applied: {synced}\n{}",
        fixture.journal()
    );
    fixture.host.must("systemctl stop hostward.service");
    disarm(fixture);
    pendulum.is_whole(&when);
    fixture.host.must("systemctl start hostward.service");
    pendulum.converges(side, &when);
    met
}

fn sweep(release: Release, tampering: &str) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).team(&Side::Both.team()).enrolled();
    let pendulum = Pendulum::new(&lab, &fixture);
    let mut side = Side::Both;
    let met = (1..MOST)
        .take_while(|n| {
            side = side.other();
            one_round(&pendulum, tampering, *n, side)
        })
        .count();
    println!("{release}: {tampering} at each of {met}");
    assert!((10..MOST as usize - 1).contains(&met), "an apply has more of them, and not without end: {met}");
}

/// Killed before each.
#[test]
fn killed_at_every_rename_and_fsync() {
    sweep(Release::Bookworm, "signal=KILL");
}

/// Each fails as on a full disk.
#[test]
fn no_space_at_every_rename_and_fsync() {
    sweep(Release::Trixie, "error=ENOSPC");
}

/// Each fails as on a disk that breaks.
#[test]
fn a_failure_is_reported_with_who_must_act() {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, Release::Bookworm).team(&Side::Both.team()).enrolled();
    let pendulum = Pendulum::new(&lab, &fixture);
    arm(&fixture, "error=EIO", 1);
    fixture.host.must("rm /etc/sudoers.d/hostward");
    let report = fixture.apply();
    let failed: Vec<_> = report
        .steps
        .iter()
        .filter_map(|step| match &step.outcome {
            Outcome::Failed(finding) => Some(finding),
            _ => None,
        })
        .collect();
    let admitted = fixture.hostward("apply --json");
    assert!(!failed.is_empty() || !admitted.success(), "{report:#?}");
    for finding in failed {
        assert!(!finding.message.is_empty() && !finding.mend.is_empty(), "{finding:#?}");
    }
    disarm(&fixture);
    pendulum.converges(Side::Both, "afterwards");
}
