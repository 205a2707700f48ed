//! A managed administrator who takes the package away from under their own session.

use hostward_host_tests::{Fixture, SOON, TEAM, Terminal, edited, new_lab, on_each_release};

/// ldconfig, whose trigger dpkg runs, writes it anew.
const CACHE: &[&str] = &["/etc/ld.so.cache"];

on_each_release! {
    /// Ending their session would end dpkg half way: it is refused, and nothing has changed.
    fn a_managed_user_cannot_remove_the_package_from_their_own_session(release) {
        let lab = new_lab();
        let team = edited(
            TEAM,
            "{ executable = \"/usr/bin/id\" }",
            "{ executable = \"/usr/bin/dpkg\", arguments = [\"--remove\", \"hostward\"] }, \
             { executable = \"/usr/bin/hostward\", arguments = [\"unenroll\", \"--yes\"] }",
        );
        let fixture = Fixture::on(&lab, release).team(&team).enrolled();
        let host = &fixture.host;
        let mut bobs = fixture.session("bob", Terminal::Yes, "true");
        host.must("systemctl disable --now --quiet hostward-drift.timer");
        let before = host.snapshot_etc().without(CACHE);

        let left = fixture.ssh_as("alice").run("sudo -n /usr/bin/hostward unenroll --yes");
        assert_eq!(left.status, 4, "{left}");
        assert!(left.stderr.contains("managed user alice") && left.stderr.contains("Log in as root"), "{left}");
        assert_eq!(fixture.client.hosts().expect("hosts").len(), 1, "the backend was told nothing");

        let removed = fixture.ssh_as("alice").run("sudo -n /usr/bin/dpkg --remove hostward; echo $? and here");
        assert!(removed.stdout.ends_with("\n1 and here\n") && removed.stderr.contains("managed user alice"), "{removed}");
        assert_eq!(before.changes(&host.snapshot_etc().without(CACHE)), [""; 0]);
        // Whole, whatever dpkg remembers of what was wanted.
        assert_eq!(host.ok("dpkg-query --show --showformat='${db:Status-Status}' hostward"), "installed");
        assert_eq!(host.run("systemctl is-enabled hostward-drift.timer").stdout, "disabled\n");
        host.wait_until_ok(SOON, "systemctl is-active hostward.service hostward-apply.socket");
        assert!(bobs.is_running(), "{}", bobs.wait(SOON));
        assert!(fixture.ssh_as("alice").run("true").success());

        // Root, from outside, can.
        host.remove("hostward");
        assert_ne!(bobs.wait(SOON).status, 0);
        assert_eq!(host.ok("dpkg-query --show --showformat='${db:Status-Abbrev}' hostward").trim(), "rc");
        assert_eq!(host.run("ls /run/hostward.removing").status, 2);
    }
}
