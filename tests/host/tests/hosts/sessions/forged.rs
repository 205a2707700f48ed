//! Anybody can write to the journal in anybody's name.

use hostward_host_tests::{Fixture, SOON, new_lab, on_each_release};

use super::{is, told};

/// Says to journald's own socket what `logger` would say to syslog's.
const NATIVE: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
fields = ["MESSAGE=" + sys.argv[2], "SYSLOG_IDENTIFIER=" + sys.argv[1], "_UID=0", "_EXE=/usr/bin/sudo", "_PID=1",
          "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e", "N_DROPPED=7", "OBJECT_SYSTEMD_UNIT=ssh.service"]
s.sendto("\n".join(fields).encode() + b"\n", "/run/systemd/journal/socket")
"#;

on_each_release! {
    /// Not with logger, with journald's socket, with a program that is called as sudo is, as root of a user namespace, nor
    /// with all of these.
    fn what_somebody_forges_is_no_event(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        host.must("useradd -m -s /bin/bash carol");
        host.write("/home/carol/native.py", 0o755, "carol:carol", NATIVE);
        // So that PAM's records are known to be written here.
        assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
        const SUDO: &str = "carol : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh";
        const OTHER: &str = "alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh";
        const SSHD: &str = "Invalid user forged from 192.0.2.1 port 5";
        const OVER: &str = "Connection closed by invalid user forged 192.0.2.1 port 5 [preauth]";
        for (name, said) in [("sudo", SUDO), ("sudo", OTHER), ("sshd", SSHD), ("sshd-session", OVER), ("su", "FAILED SU (to root) alice on pts/0")] {
            let _ = host.run_as("carol", &format!("logger -t {name} '{said}'"));
            let _ = host.run_as("carol", &format!("logger --journald <<'E'\nMESSAGE={said}\nSYSLOG_IDENTIFIER={name}\n_UID=0\n_EXE=/usr/bin/sudo\nE"));
            let _ = host.run_as("carol", &format!("unshare -Ur logger -t {name} '{said}'"));
            // A program that is called sudo, by a link and by a copy.
            let _ = host.run_as("carol", &format!("ln -sf /usr/bin/logger /tmp/sudo && /tmp/sudo -t {name} '{said}'; mkdir -p ~/usr/bin; cp /usr/bin/logger ~/usr/bin/sudo && ~/usr/bin/sudo -t {name} '{said}'"));
            // Root of a namespace of their own, where /usr/bin/sudo is what they like.
            let in_place = format!("mount --bind /usr/bin/logger /usr/bin/sudo && /usr/bin/sudo -t {name} '{said}'; mount --bind /usr/bin/logger /usr/sbin/sshd && /usr/sbin/sshd -t {name} '{said}'");
            let _ = host.run_as("carol", &format!("unshare -Urm sh -c \"{in_place}\""));
            let _ = host.run_as("carol", &format!("python3 ~/native.py {name} '{said}'"));
        }
        assert!(host.run("journalctl -b -t sudo -t sshd -t su --no-pager").stdout.contains("forged"), "nothing was forged");
        // What is recorded in order after all of it shows that it was read.
        assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/whoami").success());
        host.wait_for(SOON, "the command after it", |_| {
            let events = told(&fixture);
            if events.iter().any(|event| event["data"]["process"]["name"] == "whoami") { Ok(()) } else { Err(format!("{events:#?}")) }
        });
        // Whatever waits for a confirmation has had its time.
        host.wait_for(super::MINUTE_OVER, "that something is confirmed by nothing", |_| {
            let events = host.ok("hostward events --type events.lost");
            if events.contains("nothing confirms it") { Ok(()) } else { Err(events) }
        });
        let events = told(&fixture);
        let forged: Vec<_> = events
            .iter()
            .filter(|event| {
                event["data"]["actor"]["user"]["name"] == "carol"
                    || event["data"]["user"]["name"] == "carol"
                    || event["data"]["process"]["name"] == "sh"
                    || is(event, "login.denied")
            })
            .collect();
        assert!(forged.is_empty(), "{forged:#?}");
    }
}
