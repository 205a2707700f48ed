//! Who is refused, what they are told, and that nobody else is.

use chrono::{TimeDelta, Utc};
use hostward_host_tests::{Fixture, SOON, edited, new_lab, now, on_each_release};

use super::{DENIED, MODULE, add_local, cron, stop_everything};

const SUSPENDED: &str =
    r#"{"schema":"hostward/denied/1","people":[{"name":"alice","uid":70001,"reason":"suspended"}]}"#;
const STALE: &str = r#"{"schema":"hostward/denied/1","stale":true}"#;

on_each_release! {
    /// The window of a grant ends while nothing of hostward's runs.
    fn a_window_ends_at_its_second_with_everything_stopped(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        let ends = Utc::now() + TimeDelta::seconds(20);
        let text = ends.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        fixture.change_team(|team| {
            let team = edited(team, "members = [\"alice\", \"bob\"]", "members = [\"alice\"]");
            format!("{team}\n[groups.visitors]\nmembers = [\"bob\"]\n[[grants]]\ngroup = \"visitors\"\nlogin = true\nuntil = {text}\n")
        });
        stop_everything(host);
        let mut session = fixture.session("bob", hostward_host_tests::Terminal::No, "true");
        assert_eq!(host.run("su - bob -c 'echo in'").stdout, "in\n");
        let until = u64::try_from(ends.timestamp()).expect("after 1970");
        host.wait_until_ok(std::time::Duration::from_secs(60), &format!("[ $(date +%s) -ge {until} ]"));
        let told = "hostward: no grant lets bob in on this host at this time since";
        let su = host.run("su - bob -c 'echo in'");
        assert!(!su.success() && su.stderr.contains(told) && su.stdout.is_empty(), "{su}");
        let sudo = host.run("runuser -u bob -- sudo -n true");
        assert!(!sudo.success() && sudo.stderr.contains(told), "{sudo}");
        assert!(!host.run("systemctl restart user@70002.service").success(), "no new user manager");
        assert!(session.is_running(), "what runs is apply's to end");
        session.kill();
        assert!(!fixture.ssh_as("bob").run("true").success());
        assert!(fixture.ssh_as("alice").run("true").success(), "whose grant goes on");
    }

    /// Everything that root may say, under each service.
    fn who_is_refused_sees_why(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        add_local(host);
        stop_everything(host);
        host.must("su - alice -c true");
        for (content, told) in [
            (SUSPENDED, "hostward: the user alice is suspended"),
            (STALE, "hostward: this host has heard nothing of its policy for too long"),
        ] {
            host.write(DENIED, 0o644, "root:root", content);
            for command in ["su - alice -c 'echo in'", "runuser -u alice -- sudo -n id"] {
                let refused = host.run(command);
                assert!(!refused.success() && refused.stderr.contains(told), "{command}: {refused}");
                assert_eq!(refused.stdout, "", "{command}");
            }
            let login = fixture.ssh_as("alice").run("echo in");
            assert!(!login.success() && login.stderr.contains(told), "{login}");
            assert_eq!(login.stdout, "");
            assert!(!host.run("systemctl start user@70001.service").success());
            cron(host, "alice", "touch /tmp/in");
            host.wait_until_ok(SOON, "journalctl --no-pager -u cron | grep -i -e 'permission denied' -e 'account'");
            assert!(!host.exists("/tmp/in"));
            // Others do not care.
            host.must("su - local -c 'sudo -n true'; su - root -c true");
            assert_eq!(host.run("su - bob -c 'echo in'").stdout == "in\n", content == SUSPENDED);
            host.must(&format!("rm {DENIED}; systemctl reset-failed"));
            assert_eq!(host.run("su - alice -c 'echo in'").stdout, "in\n");
        }
    }

    /// What root writes when somebody is suspended, and takes away when they come back.
    fn root_says_who_was_suspended_and_until_when_others_may(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        assert!(!host.exists(DENIED), "nobody is refused");
        fixture.change_team(|team| edited(team, "uid = 70001", "uid = 70001\nstatus = \"suspended\""));
        assert_eq!(host.stat(DENIED), "regular file 644 root:root");
        let said = host.read(DENIED);
        assert!(said.contains("\"alice\"") && said.contains("\"suspended\"") && !said.contains("bob"), "{said}");
        assert!(!host.run("su - alice -c true").success());
        host.write(DENIED, 0o644, "root:root", "{");
        host.must("hostward apply --quiet");
        assert_eq!(host.read(DENIED), said, "drift is repaired");
        let expires = now() + 3600;
        let at = chrono::DateTime::from_timestamp(i64::try_from(expires).expect("a time"), 0).expect("a time");
        fixture.change_team(|team| {
            let team = edited(team, "\nstatus = \"suspended\"", "");
            edited(&team, "uid = 70002", &format!("uid = 70002\nexpires = {}", at.format("%Y-%m-%dT%H:%M:%SZ")))
        });
        let said = host.read(DENIED);
        assert!(said.contains("\"bob\"") && said.contains(&format!("\"until\": {expires}")) && !said.contains("alice"), "{said}");
        assert_eq!(host.ok("su - bob -c 'echo in'; su - alice -c 'echo in'"), "in\nin\n");
        assert!(fixture.hostward("unenroll --yes").success());
        assert!(!host.exists(DENIED));
    }

    /// root and a local user come in by every way, whatever has become of hostward's files.
    fn nobody_else_is_concerned_whatever_is_damaged(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        add_local(host);
        let [root, local] = ["root", "local"].map(|user| {
            let key = lab.ssh_key(user).expect("a key");
            let public = std::fs::read(key.with_extension("pub")).expect("its public half");
            let home = host.ok(&format!("getent passwd {user} | cut -d: -f6")).trim().to_owned();
            host.write(&format!("{home}/.ssh/authorized_keys"), 0o600, &format!("{user}:"), public);
            lab.login(host, user).key(&key)
        });
        host.must("chown -R local: /home/local/.ssh");
        let everybody_comes_in = |what: &str| {
            for login in [&root, &local] {
                let login = login.run("echo in");
                assert_eq!(login.stdout, "in\n", "{what}: {login}");
            }
            host.must("su - local -c 'sudo -n true'; su local -c true; su - root -c true; systemctl restart user@$(id -u local).service");
            host.must("rm -f /tmp/by-cron");
            cron(host, "local", "touch /tmp/by-cron");
            host.wait_until_ok(SOON, "test -e /tmp/by-cron");
        };
        everybody_comes_in("all is well");
        stop_everything(host);
        let damages = [
            ("no files", "mkdir /kept; mv /var/lib/misc/hostward.db /var/lib/hostward /run/hostward /kept/"),
            ("noise", "mkdir -p /var/lib/hostward; for f in /var/lib/misc/hostward.db /var/lib/hostward/denied.json; do head -c 5000 /dev/urandom >$f; done"),
            ("pipes", "rm -rf /var/lib/hostward/*; rm /var/lib/misc/hostward.db; mkdir -p /run/hostward; \
                       mkfifo /var/lib/misc/hostward.db /var/lib/hostward/denied.json /var/lib/hostward/records /run/hostward/records"),
            ("directories", "rm -rf /var/lib/hostward/* /run/hostward/* /var/lib/misc/hostward.db; \
                             mkdir -p /var/lib/misc/hostward.db /var/lib/hostward/denied.json /var/lib/hostward/records/current /run/hostward/records/spill /run/hostward/records/lost"),
            ("links", "rm -rf /var/lib/hostward/* /run/hostward/* /var/lib/misc/hostward.db; \
                       ln -s /dev/zero /var/lib/misc/hostward.db; ln -s /dev/zero /var/lib/hostward/denied.json; ln -s / /var/lib/hostward/records; ln -s / /run/hostward/records"),
            ("no module", &format!("mv {MODULE} /kept/")),
        ];
        for (what, damage) in damages {
            host.must(damage);
            everybody_comes_in(what);
        }
        assert_eq!(host.run("ls -A / | grep -e current -e spill -e lost").stdout, "", "no link was followed");
    }
}
