//! sshd started by its socket, as images of some clouds have it: a process a connection on bullseye, one for all later.

use hostward_host_tests::{Ca, Fixture, SOON, new_lab, on_each_release};

const SWITCH: &str = "systemctl disable --now ssh.service; systemctl enable --now ssh.socket && ! systemctl is-active ssh.service";

#[track_caller]
fn logins_work(fixture: &Fixture<'_>) {
    for user in ["alice", "bob"] {
        let output = fixture.ssh_as(user).run("id -un");
        assert_eq!(output.stdout, format!("{user}\n"), "{output}\n{:#?}", fixture.report());
    }
    let other = fixture.signed_key("alice", Ca::Other, |_| {});
    assert!(!fixture.lab.login(&fixture.host, "alice").key(&other).run("true").success());
}

on_each_release! {
    /// By socket from before the enrollment on.
    fn socket_activated_before(release) {
        let lab = new_lab();
        let fixture = Fixture::installed(&lab, release);
        fixture.host.must(SWITCH);
        fixture.enroll();
        let report = fixture.report();
        assert!(report.is_whole() && report.warnings.is_empty(), "{report:#?}");
        logins_work(&fixture);
        fixture.host.must("systemctl is-active ssh.socket");

        // A change that sshd has to read again, with a session open and without.
        let mut session = fixture.session("bob", hostward_host_tests::Terminal::No, "true");
        let main = fixture.host.read("/etc/ssh/sshd_config");
        fixture.host.write("/etc/ssh/sshd_config", 0o644, "root:root", format!("AllowGroups root\n{main}"));
        let report = fixture.apply();
        assert!(report.is_whole(), "{report:#?}");
        logins_work(&fixture);
        assert!(session.is_running(), "a reload ends no session: {}", session.wait(SOON));
    }

    /// Switched to it afterwards, and back.
    fn socket_activated_later(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        fixture.host.must(SWITCH);
        logins_work(&fixture);
        assert!(fixture.apply().is_whole());
        fixture.change_team(|team| team.replace("\"alice\", \"bob\"", "\"alice\""));
        assert!(!fixture.ssh_as("bob").run("true").success());
        fixture.host.must("systemctl disable --now ssh.socket && systemctl stop ssh.service && systemctl enable --now ssh.service");
        assert!(fixture.apply().is_whole());
        assert_eq!(fixture.ssh_as("alice").run("id -un").stdout, "alice\n");
    }
}
