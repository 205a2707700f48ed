//! Each way in and each way to be kept out, on one host.

use std::path::Path;
use std::time::Duration;

use hostward_host_tests::{Ca, Fixture, Host, Release, SOON, Terminal, new_lab, now, on_each_release};
use hostward_mock_backend::publisher::Revocations;
use serde_json::Value;

use super::{MINUTE_OVER, is, told, wait_for_exactly};

const EXITS: [&str; 3] = [
    "sudo.exited alice /usr/bin/id 0",
    "sudo.exited alice /usr/bin/whoami 0",
    "sudo.exited alice /usr/bin/id nosuch 1",
];

/// Local users, one of whom may come in with a key.
fn local_users(fixture: &Fixture<'_>, key: &Path) {
    let host = &fixture.host;
    host.must(
        "useradd -m -s /bin/bash carol; echo carol:secret | chpasswd; useradd -m -s /bin/bash dave
         echo 'carol ALL=(dave) NOPASSWD: /usr/bin/id' >/etc/sudoers.d/carol; chmod 440 /etc/sudoers.d/carol
         install -d -o carol -g carol /home/carol/.ssh; install -d -o dave -g dave /home/dave/.ssh",
    );
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("a public key");
    host.write("/home/carol/.ssh/authorized_keys", 0o600, "carol:carol", &public);
    host.write("/home/dave/.ssh/authorized_keys", 0o600, "dave:dave", &public);
}

fn sshd_is_back(host: &Host) {
    host.must("systemctl reload ssh");
    host.wait_until_ok(SOON, "ss -ltn | grep -q :22");
}

on_each_release! {
    /// By certificate, by a local user's key, with sudo and su within, by cron.
    fn who_comes_in_is_told_from_login_to_logout(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        let key = lab.ssh_key("carol").expect("a key");
        local_users(&fixture, &key);
        let certified = fixture.signed_key("alice", Ca::User, |certificate| certificate.serial = 4711);
        let alice = lab.login(host, "alice").key(&certified);
        assert!(alice.run("cd /tmp && sudo -n /usr/bin/id && sudo -n /usr/bin/whoami").success());
        host.write("/etc/sudoers.d/quiet", 0o440, "root:root", "Defaults!/usr/bin/printf !syslog\nalice ALL=(root) NOPASSWD: /usr/bin/printf\n");
        assert!(!alice.run("cd /var && sudo -n /usr/bin/printf x && sudo -n /usr/bin/id nosuch").success());
        let carol = lab.login(host, "carol").key(&key);
        assert!(carol.run("sudo -n -u dave /usr/bin/id; echo secret | su - carol -c id").success());
        assert!(!carol.run("echo wrong | su dave -c id").success());
        assert!(!carol.run("echo wrong | sudo -S /usr/bin/whoami").success());
        host.must("su dave -c id; sudo -u dave /bin/true");
        // Nothing is told of cron for local users.
        host.must("printf '* * * * * alice /bin/true\n* * * * * carol /bin/true\n' >/etc/cron.d/both");
        let ran = "journalctl -b -t CRON | grep -q '(alice) CMD' && journalctl -b -t CRON | grep -q '(carol) CMD'";
        host.wait_until_ok(Duration::from_secs(120), ran);
        host.must("rm /etc/cron.d/both");
        // Of managed users alone hostward's rules have sudo say how commands end, where it can.
        let exits = if release == Release::Bullseye { &[][..] } else { &EXITS[..] };
        wait_for_exactly(&fixture, &[exits, &[
            "session.opened alice sshd by -",
            "sudo.command alice /usr/bin/id as root Success",
            "session.opened root sudo by alice",
            "session.closed root sudo by alice",
            "sudo.command alice /usr/bin/whoami as root Success",
            "session.opened root sudo by alice",
            "session.closed root sudo by alice",
            "session.closed alice sshd by -",
            "session.opened alice sshd by -",
            "sudo.command alice sudo -n /usr/bin/printf x as root Success",
            "session.opened root sudo by alice",
            "session.closed root sudo by alice",
            "sudo.command alice /usr/bin/id nosuch as root Success",
            "session.opened root sudo by alice",
            "session.closed root sudo by alice",
            "session.closed alice sshd by -",
            "session.opened carol sshd by -",
            "sudo.command carol /usr/bin/id as dave Success",
            "session.opened dave sudo by carol",
            "session.closed dave sudo by carol",
            "su carol su-l by carol",
            "session.closed carol su-l by carol",
            "session.closed carol sshd by -",
            "session.opened carol sshd by -",
            "login.denied dave su wrong-password 1",
            "session.closed carol sshd by -",
            "session.opened carol sshd by -",
            "sudo.command carol /usr/bin/whoami as root Failure",
            "session.closed carol sshd by -",
            "su dave su by root",
            "session.closed dave su by root",
            "sudo.command root /bin/true as dave Success",
            "session.opened dave sudo by root",
            "session.closed dave sudo by root",
            "session.opened alice cron by -",
            "session.closed alice cron by -",
        ]].concat());
        let events = told(&fixture);
        // The manager of a user may be there before them.
        let is_login = |event: &&Value| is(event, "session.opened") && event["data"]["service"]["name"] == "sshd";
        let login = &events.iter().find(is_login).expect("a session")["data"];
        assert_eq!(login["unmapped"]["certificate"]["key_id"], "alice@example.com");
        assert_eq!(login["unmapped"]["certificate"]["serial"], "4711");
        assert!(login["unmapped"]["certificate"]["ca"].as_str().is_some_and(|ca| ca.starts_with("SHA256:")), "{login}");
        assert!(login["src_endpoint"]["ip"].as_str().is_some_and(|ip| ip.starts_with("10.66.1.")), "{login}");
        assert_eq!(login["user"]["uid"], "70001");
        // One id from login through sudo to logout, and another for the next login.
        let of_alice: Vec<&Value> = events
            .iter()
            .filter(|event| event["data"]["user"]["name"] == "alice" || event["data"]["actor"]["user"]["name"] == "alice")
            .filter(|event| event["data"]["service"]["name"] != "systemd-user" && event["data"]["service"]["name"] != "cron")
            .collect();
        let ids: Vec<&str> = of_alice.iter().map(|event| event["sessionid"].as_str().unwrap_or("none")).collect();
        assert_eq!(ids.len(), 16 + exits.len(), "{of_alice:#?}");
        let of_first = if exits.is_empty() { 8 } else { 10 };
        assert!(ids[..of_first].iter().all(|id| *id == ids[0]), "{ids:#?}");
        assert!(ids[of_first..].iter().all(|id| *id == ids[of_first] && *id != ids[0]), "{ids:#?}");
        let asked = events.iter().find(|event| event["data"]["process"]["cmd_line"] == "sudo -n /usr/bin/printf x");
        let asked = asked.expect("what the journal does not have");
        assert_eq!(asked["data"]["unmapped"]["asked"], "-n /usr/bin/printf x");
        assert_eq!(asked["data"]["unmapped"]["directory"], "/var");
        let command = events.iter().find(|event| is(event, "sudo.command")).expect("a command");
        assert_eq!(command["data"]["unmapped"]["directory"], "/tmp");
        assert_eq!(command["data"]["unmapped"]["asked"], "-n /usr/bin/id");
        let unclear: Vec<_> = events.iter().filter(|event| event["data"]["unmapped"]["ambiguous"].is_string()).collect();
        assert!(unclear.is_empty(), "{unclear:#?}");
        assert_eq!(command["data"]["actor"]["user"]["uid"], "70001");
        let verdict = fixture.hostward("events --verify");
        assert!(verdict.success(), "{verdict}");
    }

    /// Each is told once, with why; a visit without a name is none.
    fn who_is_refused_is_told_with_the_reason(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        let key = lab.ssh_key("carol").expect("a key");
        local_users(&fixture, &key);
        let refused = |user: &str, key: &Path| assert!(!lab.login(host, user).key(key).run("true").success(), "{user}");
        refused("mallory", &key);
        refused("x from 192.0.2.1 port 5", &key);
        refused("alice", &fixture.signed_key("alice", Ca::User, |certificate| {
            (certificate.valid_after, certificate.valid_before) = (now() - 900, now() - 300);
        }));
        refused("alice", &fixture.signed_key("alice", Ca::User, |certificate| {
            (certificate.valid_after, certificate.valid_before) = (now() + 300, now() + 900);
        }));
        refused("alice", &fixture.signed_key("alice", Ca::User, |certificate| certificate.principals = vec!["bob".into()]));
        refused("alice", &fixture.signed_key("alice", Ca::User, |certificate| {
            certificate.critical_options = vec![("source-address".into(), "192.0.2.1".into())];
        }));
        let revoked = fixture.signed_key("bob", Ca::User, |certificate| certificate.serial = 77);
        let revocations = Revocations { serials: vec![77], ..Revocations::default() };
        let version = fixture.client.revoke(revocations, false).expect("a revocation");
        fixture.wait_for_version(version);
        refused("bob", &revoked);
        let wrong_ca = fixture.signed_key("bob", Ca::Host, |_| {});
        refused("bob", &wrong_ca);
        host.must("echo 'DenyUsers dave' >/etc/ssh/sshd_config.d/05-deny.conf");
        sshd_is_back(host);
        refused("dave", &key);
        host.must("rm /etc/ssh/sshd_config.d/05-deny.conf; chage -E 1 dave");
        sshd_is_back(host);
        refused("dave", &key);
        let knock = format!("exec 3<>/dev/tcp/{}/22; echo GET / >&3; cat <&3", host.address());
        let _ = lab.run_args_in_network(&["timeout", "5", "bash", "-c", &knock], &[]);
        wait_for_exactly(&fixture, &[
            "login.denied mallory sshd no-such-user 1",
            "login.denied x from 192.0.2.1 port 5 sshd no-such-user 1",
            "login.denied alice sshd certificate-expired 1",
            "login.denied alice sshd certificate-not-yet-valid 1",
            "login.denied alice sshd wrong-principal 1",
            "login.denied alice sshd source-address 1",
            "login.denied bob sshd revoked 1",
            "login.denied bob sshd not-authenticated 1",
            "login.denied dave sshd not-allowed 1",
            "login.denied dave sshd account-refused 1",
        ]);
        for event in told(&fixture).iter().filter(|event| is(event, "login.denied")) {
            assert_eq!(event["quota"], "denials");
            let from = &event["data"]["src_endpoint"]["ip"];
            let is_known = event["data"]["status_code"] != "account-refused";
            assert!(!is_known || from.as_str().is_some_and(|ip| ip.starts_with("10.66.1.")), "{event:#}");
        }
    }

    /// A source that tries again and again, under many names.
    fn many_refusals_make_few_events(release) {
        const TRIES: u32 = 60;
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        // sshd of trixie makes an address pay, and drops it before it says who it wants to be.
        host.must("! sshd -T | grep -q persourcepenalties || echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/05-many.conf");
        sshd_is_back(host);
        let key = lab.ssh_key("many").expect("a key");
        for n in 0..TRIES {
            assert!(!lab.login(host, &format!("user{n}")).key(&key).from("10.66.1.77").run("true").success());
        }
        host.wait_for(MINUTE_OVER, "all of them", |_| {
            let events = told(&fixture);
            let count: u64 = events.iter().filter_map(|event| event["data"]["count"].as_u64()).sum();
            if count == u64::from(TRIES) { Ok(()) } else { Err(format!("{count}: {events:#?}")) }
        });
        let events = told(&fixture);
        println!("{release}: {TRIES} refusals, {} events", events.len());
        assert!(events.iter().any(|event| event["data"]["user"]["name"] == "(various)"), "{events:#?}");
        assert!(events.len() <= 17 * 3, "{events:#?}");
    }

    /// A monitor that is killed closes no session.
    fn a_session_that_nobody_closes_is_told_to_be_gone(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        let session = fixture.session("alice", Terminal::Yes, "true");
        host.wait_for(SOON, "the session", |_| {
            if told(&fixture).iter().any(|event| is(event, "session.opened")) { Ok(()) } else { Err("none yet".into()) }
        });
        host.must("kill -9 $(pgrep -f '^sshd.*alice .priv')");
        drop(session);
        // It is looked now and then, and when it starts.
        host.must("systemctl restart hostward.service");
        host.wait_for(SOON, "its end", |_| {
            let events = told(&fixture);
            let ends: Vec<_> = events.iter().filter(|event| is(event, "session.closed") && event["data"]["service"]["name"] == "sshd").collect();
            match ends[..] {
                [end] if end["data"]["status_code"] == "process-gone" => Ok(()),
                _ => Err(format!("{ends:#?}")),
            }
        });

        // And who loses access has their sessions ended by root.
        let _session = fixture.session("bob", Terminal::No, "true");
        fixture.change_team(|team| team.replace("uid = 70002", "uid = 70002\nstatus = \"suspended\""));
        host.wait_for(SOON, "the end of what root ended", |_| {
            let events = told(&fixture);
            let is_end = |event: &&Value| is(event, "session.closed") && event["data"]["user"]["name"] == "bob" && event["data"]["service"]["name"] == "sshd";
            match events.iter().filter(is_end).count() {
                1 => Ok(()),
                count => Err(format!("{count}: {events:#?}")),
            }
        });
    }
}
