//! A disk that is full, and directories that are read-only.

use hostward_host_tests::{Fixture, Release, SOON, new_lab, on_each_release};
use hostward_protocol::report::Responsible;

use super::state::{Pendulum, Side};

/// Everything that root's process writes to, and what of it is on a file system of its own in a test.
const FULL: &[&str] = &[
    "/etc/sudoers.d",
    "/etc/ssh/sshd_config.d",
    "/var/lib/hostward",
    "/var/lib/misc",
    "/var/lib/hostward-agent",
];

/// Puts a small file system over a directory, with what is in it, and fills it.
fn fill(fixture: &Fixture<'_>, directory: &str) {
    fixture.host.must(&format!(
        "set -e; d={directory}; cp -a $d /tmp/saved; stop() {{ systemctl stop hostward.service hostward-apply.service; }}; stop
         size=$(du -s --apparent-size -k $d | cut -f1)
         mount -t tmpfs -o size=$((size + 256))k,mode=$(stat -c %a $d) tmpfs $d; chown --reference=/tmp/saved $d
         cp -a /tmp/saved/. $d/; rm -rf /tmp/saved
         dd if=/dev/zero of=$d/.filler bs=1k 2>/dev/null || true
         systemctl start hostward.service"
    ));
}

/// Takes the small file system away with what was written to it meanwhile.
fn relieve(fixture: &Fixture<'_>, directory: &str) {
    fixture.host.must(&format!("rm {directory}/.filler"));
}

on_each_release! {
    /// Each directory in turn.
    fn a_full_disk_leaves_the_old_or_the_new_state(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).team(&Side::Both.team()).enrolled();
        let pendulum = Pendulum::new(&lab, &fixture);
        let mut side = Side::Both;
        for directory in FULL {
            fill(&fixture, directory);
            side = side.other();
            fixture.publish(|_| side.team());
            let synced = fixture.host.run("hostward sync");
            println!("{directory}: {synced}");
            pendulum.is_whole(directory);
            relieve(&fixture, directory);
            pendulum.converges(side, directory);
        }
    }

    /// All of /etc, as an operator's hardening or a dying disk makes it.
    fn a_read_only_etc_leaves_the_old_state_and_is_reported(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).team(&Side::Both.team()).enrolled();
        let pendulum = Pendulum::new(&lab, &fixture);
        // A service sees what was mounted before it started.
        fixture.host.must("systemctl stop hostward-apply.service; mount --bind /etc /etc && mount -o remount,bind,ro /etc");
        fixture.change_team(|_| Side::One.team());
        pendulum.is_whole("read-only");
        let applied = fixture.host.run("hostward apply");
        assert!(!applied.success(), "{applied}");
        let status = fixture.status();
        assert!(!status.failures.is_empty(), "{status:#?}");
        for finding in &status.failures {
            assert!(finding.responsible != Responsible::Backend && !finding.mend.is_empty(), "{finding:#?}");
        }
        // What does not need /etc is in force: who left is out.
        assert!(!fixture.host.run("getent passwd bob").success());
        fixture.host.must("umount /etc; systemctl stop hostward-apply.service");
        pendulum.converges(Side::One, "writable again");
    }
}

/// The whole disk of a host, from the enrollment on.
#[test]
fn a_host_whose_disk_is_full() {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, Release::Bookworm).team(&Side::Both.team()).disk_mib(256).enrolled();
    let pendulum = Pendulum::new(&lab, &fixture);
    let mut side = Side::Both;
    for free in [0, 4, 16, 64, 256, 1024] {
        let filled = fixture.host.run(&format!(
            "dd if=/dev/zero of=/var/filler bs=64k 2>/dev/null; dd if=/dev/zero bs=1k 2>/dev/null >>/var/filler; \
             truncate --size=-{free}k /var/filler; df -k --output=avail /var | tail -1"
        ));
        side = side.other();
        fixture.publish(|_| side.team());
        let synced = fixture.host.run("hostward sync");
        println!("{} KiB free: {synced}", filled.stdout.trim());
        pendulum.is_whole(&format!("{free} KiB free"));
        fixture.host.must("rm /var/filler");
        pendulum.converges(side, &format!("{free} KiB free"));
    }
    fixture.wait_for_agent(SOON, "contact", |status| status.problem.is_none());
}
