//! What becomes of a home, and of a number, whose owner has left.

use std::time::Duration;

use hostward_host_tests::{Fixture, Release, SOON, TEAM, Terminal, edited, new_lab, on_each_release};

/// Long enough for a test to look at a home that waits for its end, short enough to wait for.
const GRACE: Duration = Duration::from_secs(6);

fn team(homes: &str, grace: &str) -> String {
    format!("{TEAM}\n[settings]\nremoval = {{ homes = \"{homes}\", grace = \"{grace}\" }}\n")
}

fn without_alice(team: &str) -> String {
    edited(&edited(team, "\"alice\", \"bob\"", "\"bob\""), "members = [\"alice\"]", "members = []")
}

/// A host where alice and bob have logged in and left something in their homes.
fn set_up<'lab>(lab: &'lab hostward_host_tests::Lab, release: Release, team: &str) -> Fixture<'lab> {
    let fixture = Fixture::on(lab, release).team(team).enrolled();
    fixture.host.must("mkdir -p /srv/shared && echo precious >/srv/shared/file");
    for user in ["alice", "bob"] {
        let left = fixture.ssh_as(user).run("echo kept >note; mkdir -p a/b; echo deep >a/b/c; ln -s /srv/shared link; ln -s /etc/passwd a/passwd");
        assert!(left.success(), "{left}");
    }
    fixture
}

#[track_caller]
fn bobs_and_others_files_are_untouched(fixture: &Fixture<'_>) {
    assert_eq!(fixture.host.read("/home/bob/note"), "kept\n");
    assert_eq!(fixture.host.read("/srv/shared/file"), "precious\n");
    assert!(fixture.host.read("/etc/passwd").contains("root:"));
}

on_each_release! {
    /// Kept: the default.
    fn a_home_is_kept(release) {
        let lab = new_lab();
        let fixture = set_up(&lab, release, &team("keep", "0s"));
        fixture.change_team(without_alice);
        assert!(fixture.apply().is_whole());
        assert_eq!(fixture.host.read("/home/alice/note"), "kept\n");
        assert_eq!(fixture.host.ok("stat -c %u:%g:%a /home/alice"), "70001:70001:700\n");

        // She comes back to it, under another name too: the id is what counts.
        fixture.change_team(|_| team("keep", "0s"));
        assert_eq!(fixture.ssh_as("alice").run("cat note").stdout, "kept\n");
    }

    /// Archived, readable by root only, at once where there is no grace.
    fn a_home_is_archived(release) {
        let lab = new_lab();
        let fixture = set_up(&lab, release, &team("archive", "0s"));
        let mut session = fixture.session("alice", Terminal::No, "echo open >opened");
        fixture.change_team(without_alice);
        assert_ne!(session.wait(SOON).status, 0);
        let (_, archive) = fixture.host.wait_for(SOON, "the archive", |host| {
            let _ = host.run("hostward apply");
            let found = host.run("ls /var/lib/hostward/archive/alice-70001-*.tar && ! ls -d /home/alice");
            if found.success() { Ok(found.stdout.trim().to_owned()) } else { Err(found.to_string()) }
        });
        assert_eq!(fixture.host.stat(&archive), "regular file 600 root:root");
        fixture.host.must(&format!("mkdir /tmp/x && tar -xpf {archive} -C /tmp/x"));
        let notes = fixture.host.ok("find /tmp/x -name note -exec cat {} + ; find /tmp/x -name c -exec cat {} + ; find /tmp/x -name opened -exec cat {} +");
        assert_eq!(notes, "kept\ndeep\nopen\n");
        let owners = fixture.host.ok("find /tmp/x -name note -printf '%U:%G\\n'; find /tmp/x -name link -printf '%y %l\\n'");
        assert_eq!(owners, "70001:70001\nl /srv/shared\n");
        bobs_and_others_files_are_untouched(&fixture);
        // Once; logind may take a while to forget her.
        fixture.host.wait_for(SOON, "nothing left to do", |_| {
            let steps = fixture.apply().steps;
            if steps.is_empty() { Ok(()) } else { Err(format!("{steps:#?}")) }
        });
        assert_eq!(fixture.host.ok("ls /var/lib/hostward/archive | wc -l"), "1\n");
    }

    /// Deleted after the grace period, not before; links are not followed.
    fn a_home_is_deleted_after_the_grace_period(release) {
        let lab = new_lab();
        let fixture = set_up(&lab, release, &team("delete", &format!("{}s", GRACE.as_secs())));
        fixture.change_team(without_alice);
        assert!(!fixture.host.run("getent passwd alice").success());
        assert_eq!(fixture.host.read("/home/alice/note"), "kept\n");
        fixture.host.wait_for(GRACE + SOON, "the home to go", |host| {
            let applied = host.run("hostward apply");
            if host.exists("/home/alice") { Err(applied.to_string()) } else { Ok(()) }
        });
        bobs_and_others_files_are_untouched(&fixture);
        assert!(fixture.apply().is_whole());
    }

    /// Who comes back in time keeps the home.
    fn who_comes_back_in_time_keeps_the_home(release) {
        let lab = new_lab();
        let fixture = set_up(&lab, release, &team("delete", "1h"));
        fixture.change_team(without_alice);
        assert!(fixture.apply().is_whole());
        fixture.change_team(|_| team("delete", "0s"));
        assert!(fixture.apply().is_whole());
        assert_eq!(fixture.ssh_as("alice").run("cat note").stdout, "kept\n");
    }

    /// A number is one person's for ever: another who gets it in the policy is refused, whatever the name.
    fn a_number_that_comes_back_as_another_person_is_refused(release) {
        let lab = new_lab();
        let known = edited(TEAM, "uid = 70001\n", "uid = 70001\nid = \"u-alice\"\n");
        let fixture = set_up(&lab, release, &known);
        fixture.change_team(without_alice);
        for name in ["mallory", "alice"] {
            let other = TEAM
                .replace("[users.alice]", &format!("[users.{name}]\nid = \"u-somebody-else\""))
                .replace("\"alice\"", &format!("\"{name}\""));
            fixture.change_team(|_| other);
            let report = fixture.report();
            let refused = report.refusals.iter().find(|finding| finding.subject.contains("user"));
            let refused = refused.unwrap_or_else(|| panic!("not refused: {report:#?}"));
            assert!(refused.message.contains("70001") || refused.message.contains("uid"), "{refused:#?}");
            assert!(!fixture.host.run(&format!("getent passwd {name} || getent passwd 70001")).success());
            assert!(!fixture.ssh_as(name).run("true").success());
            assert!(fixture.ssh_as("bob").run("true").success());
            assert_eq!(fixture.host.read("/home/alice/note"), "kept\n");
        }
        // Herself is welcome, under another name too, and after a reboot.
        fixture.host.reboot().expect("a reboot");
        fixture.change_team(|_| known.replace("[users.alice]", "[users.adams]").replace("\"alice\"", "\"adams\""));
        let own = fixture.ssh_as("adams").run("id -u");
        assert_eq!(own.stdout, "70001\n", "{own}\n{:#?}", fixture.report());
    }
}
