//! What ends when a person loses login, and what does not.

use hostward_host_tests::{Fixture, SOON, TEAM, Terminal, edited, new_lab, on_each_release};
use hostward_protocol::report::Outcome;

use super::processes::{FAST, Kind, NAP, OWN, all_end};

fn team() -> String {
    edited(TEAM, "{ executable = \"/usr/bin/id\" }", &format!("{{ executable = \"{NAP}\" }}"))
}

/// The team after alice left the groups that have login.
fn without_alice(team: &str) -> String {
    let team = edited(team, "\"alice\", \"bob\"", "\"bob\"");
    edited(&team, "members = [\"alice\"]", "members = []")
}

on_each_release! {
    /// Every kind of process at once, beside those of another managed user, a local user and a container.
    fn nothing_of_the_persons_goes_on(release) {
        let lab = new_lab();
        let fixture = Fixture::on(&lab, release).team(&team()).enrolled();
        let host = &fixture.host;
        host.write(NAP, 0o755, "root:root", "#!/bin/sh\nexec sleep \"$1\"\n");
        host.must("useradd --create-home carol");
        for kind in OWN {
            kind.start(&fixture, "alice");
        }
        Kind::Container.start(&fixture, "alice");
        let mut terminal = fixture.session("alice", Terminal::Yes, "true");
        let mut plain = fixture.session("alice", Terminal::No, "true");
        let mut bobs = fixture.session("bob", Terminal::Yes, "nohup sleep 200001 >/dev/null 2>&1 &");
        let carols = host.spawn("su - carol -c 'exec sleep 200002'");
        host.wait_until_ok(SOON, "pgrep -u carol sleep");
        assert!(host.exists("/var/lib/systemd/linger/alice"));

        fixture.publish(without_alice);
        let took = all_end(&fixture, OWN);
        println!("{release}: everything ended {took:?} after the change");
        for session in [&mut terminal, &mut plain] {
            assert_ne!(session.wait(SOON).status, 0);
        }
        // The container's process and others' go on; a uid that comes back late is looked for once more.
        fixture.wait_for_status(SOON, "one user", |status| status.users == 1);
        assert!(Kind::Container.runs(&fixture), "{}", host.ok("ps -eo pid,user,args"));
        assert!(bobs.is_running(), "{}", bobs.wait(SOON));
        host.must("pgrep -f 'sleep 200001' && pgrep -f 'sleep 200002'");
        drop(carols);

        assert!(!host.exists("/var/lib/systemd/linger/alice"));
        host.wait_until_ok(SOON, "! loginctl list-users --no-legend | grep -q 70001");
        let report = fixture.report();
        let ended = report.steps.iter().find(|step| step.step.contains("session") && step.step.contains("alice"));
        assert!(matches!(ended, Some(step) if matches!(step.outcome, Outcome::Done { .. })), "{report:#?}");

        // No way back in.
        assert!(!host.run("getent passwd alice || getent passwd 70001").success());
        let login = fixture.ssh_as("alice").run("true");
        assert!(!login.success(), "{login}");
        assert!(fixture.ssh_as("bob").run("true").success());
        let sudo = host.run(&format!("setpriv --reuid 70001 --regid 70001 --clear-groups sudo -n {NAP} 1"));
        assert!(!sudo.success(), "{sudo}");
        assert!(!host.run("sudo -l -U alice").success() && !host.run("su alice -c true").success());
        assert!(!host.read("/etc/passwd").contains("alice"));
    }

    /// What is faster than any look at the process table, or hides below it.
    fn nobody_outruns_the_end(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        for kind in FAST {
            kind.start(&fixture, "alice");
        }
        fixture.publish(without_alice);
        all_end(&fixture, FAST);
        fixture.wait_for_status(SOON, "one user", |status| status.users == 1);
        host.must("! ps -eo args | grep '[1]00014'");
        for look in 0..5 {
            assert!(!Kind::Hopping.runs(&fixture), "{look}: {}", host.ok("ps -eo pid,ppid,user,cgroup,args"));
        }
        host.wait_until_ok(SOON, "! loginctl list-users --no-legend | grep -q 70001");
        let again = fixture.apply();
        assert!(!again.steps.iter().any(|step| step.step.contains("alice")), "{again:#?}");
    }

    /// The last of a team leaves: a project that has nobody says so.
    fn the_last_one_leaves(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let mut session = fixture.session("bob", Terminal::Yes, "true");
        fixture.change_team(|_| "[project]\nid = \"acme\"\n[settings]\nempty = true\n".to_owned());
        assert_ne!(session.wait(SOON).status, 0);
        assert!(!fixture.host.run("getent passwd alice || getent passwd bob").success());
        assert!(!fixture.host.exists("/etc/sudoers.d/hostward"));
        fixture.host.must("visudo -c && sshd -t");
    }

    /// Suspended, expired, or out of a grant's time: all of them are losing login.
    fn every_way_of_losing_login_ends_sessions(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(20);
        let soon = soon.format("%Y-%m-%dT%H:%M:%SZ");
        for (what, change) in [
            ("suspended", edited(TEAM, "uid = 70001\n", "uid = 70001\nstatus = \"suspended\"\n")),
            ("expired", edited(TEAM, "uid = 70001\n", &format!("uid = 70001\nexpires = {soon}\n"))),
            ("hosts", edited(&edited(TEAM, "\"alice\", \"bob\"", "\"bob\""), "group = \"admins\"", "group = \"admins\"\nhosts = \"labels.env = elsewhere\"")),
        ] {
            fixture.change_team(|_| TEAM.to_owned());
            let mut session = fixture.session("alice", Terminal::No, "true");
            let mut other = fixture.session("bob", Terminal::No, "true");
            fixture.publish(|_| change);
            let patience = 2 * SOON;
            let ended = session.wait(patience);
            assert_ne!(ended.status, 0, "{what}: {ended}");
            let login = fixture.ssh_as("alice").run("true");
            assert!(!login.success(), "{what}: {login}");
            assert!(other.is_running(), "{what}: {}", other.wait(SOON));
        }
    }
}
