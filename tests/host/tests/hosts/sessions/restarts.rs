//! Whatever ends and begins anew, nothing is told twice and nothing is left out.

use std::time::Duration;

use hostward_host_tests::{Fixture, SOON, new_lab, on_each_release};

use super::{counts, counts_of_logins, is, told};

const ROUNDS: usize = 12;

on_each_release! {
    /// The agent killed, journald killed, restarted and its files rotated, while people come, run sudo and go; the position
    /// lost in between.
    fn restarts_lose_nothing_and_tell_nothing_twice(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        let key = fixture.signed_key("alice", hostward_host_tests::Ca::User, |_| {});
        for round in 0..ROUNDS {
            let before = match round % 6 {
                0 => "systemctl kill --signal=KILL hostward.service",
                1 => "journalctl --rotate",
                2 => "systemctl kill --signal=KILL hostward.service; rm -f /var/lib/hostward-agent/sources.json",
                3 => "systemctl restart systemd-journald.service",
                4 => "systemctl stop hostward.service",
                _ => "systemctl kill --signal=KILL systemd-journald.service",
            };
            let _ = host.run(before);
            let run = lab.login(host, "alice").key(&key).run(&format!("sudo -n /usr/bin/id; sudo -n /usr/bin/whoami #{round}"));
            assert!(run.success(), "{round}: {run}");
            host.must("systemctl start hostward.service");
            std::thread::sleep(Duration::from_millis(37 * round as u64));
        }
        let wanted = counts_of_logins(ROUNDS);
        host.wait_for(SOON, "each of them once", |_| {
            let seen = counts(&told(&fixture));
            if seen == wanted { Ok(()) } else { Err(format!("{seen:#?}\n{}", host.ok("hostward events"))) }
        });
        let inputs: Vec<String> = told(&fixture).iter().filter_map(|event| event["inputid"].as_str().map(str::to_owned)).collect();
        let unique: std::collections::BTreeSet<_> = inputs.iter().collect();
        assert_eq!(unique.len(), inputs.len());
        assert!(fixture.hostward("events --verify").success());

        // A host that boots anew tells of what it ended with, and goes on.
        let _session = fixture.session("alice", hostward_host_tests::Terminal::No, "true");
        host.wait_for(SOON, "the session before the boot", |_| {
            if counts(&told(&fixture)).get("session.opened sshd") == Some(&(ROUNDS + 1)) { Ok(()) } else { Err(format!("{:#?}", counts(&told(&fixture)))) }
        });
        host.cut_power();
        host.start().expect("a boot");
        host.wait_for(Duration::from_secs(60), "its end", |_| {
            let events = told(&fixture);
            let ends = events.iter().filter(|event| is(event, "session.closed") && event["data"]["status_code"] == "rebooted");
            if ends.filter(|event| event["data"]["service"]["name"] == "sshd").count() == 1 { Ok(()) } else { Err(format!("{events:#?}")) }
        });
        assert!(lab.login(host, "alice").key(&key).run("sudo -n /usr/bin/id").success());
        host.wait_for(SOON, "what comes after the boot", |_| {
            let seen = counts(&told(&fixture));
            if seen["sudo.command "] == 2 * ROUNDS + 1 && seen["session.opened sshd"] == ROUNDS + 2 { Ok(()) } else { Err(format!("{seen:#?}")) }
        });
    }

    /// An emptied journal is told; logins go on being recorded.
    fn a_journal_that_is_emptied_is_told(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
        host.wait_for(SOON, "the command", |_| {
            if counts(&told(&fixture)).contains_key("sudo.command ") { Ok(()) } else { Err(host.ok("hostward events")) }
        });
        host.must("systemctl stop hostward.service; journalctl --rotate; rm -rf /var/log/journal/*/* /run/log/journal/*/*; systemctl restart systemd-journald.service");
        assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/whoami").success());
        host.must("systemctl start hostward.service");
        host.wait_for(SOON, "that there is a gap", |_| {
            let lost = host.ok("hostward events --type events.lost");
            if lost.contains("is gone from it") { Ok(()) } else { Err(host.ok("hostward events")) }
        });
        host.wait_for(SOON, "both commands", |_| {
            let seen = counts(&told(&fixture));
            if seen.get("sudo.command ") == Some(&2) { Ok(()) } else { Err(format!("{seen:#?}")) }
        });
    }
}
