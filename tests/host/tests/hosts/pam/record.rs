//! Records of sessions, as the module leaves them for the agent.

use hostward_host_tests::{Fixture, Host, SOON, Terminal, new_lab, on_each_release};
use hostward_records::{Reason, Record, What};

use super::{add_local, stop_everything};

const CURRENT: &str = "/var/lib/hostward/records/current";
const SPILL: &str = "/run/hostward/records/spill";

#[track_caller]
fn records(host: &Host, file: &str) -> Vec<Record> {
    let text = host.run(&format!("cat {file}")).stdout;
    text.lines()
        .map(|line| Record::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The one record of a kind, service and user.
#[track_caller]
fn one<'a>(records: &'a [Record], service: &str, user: &str, what: fn(&What) -> bool) -> &'a Record {
    let found: Vec<_> =
        records.iter().filter(|r| r.service == service && r.user == user && what(&r.what)).collect();
    match found.as_slice() {
        [one] => one,
        found => panic!("{} records of {service} {user}: {records:#?}", found.len()),
    }
}

fn opened(what: &What) -> bool {
    matches!(what, What::Opened(_))
}

fn closed(what: &What) -> bool {
    matches!(what, What::Closed(_))
}

fn session(record: &Record) -> Option<hostward_records::Id> {
    match record.what {
        What::Opened(session) => Some(session),
        What::Closed(session) => session,
        What::Denied { .. } => None,
    }
}

on_each_release! {
    /// A login by certificate with sudo in it, and one of a local user with su.
    fn a_login_is_recorded_with_what_ties_its_parts_together(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        add_local(host);
        stop_everything(host);
        assert_eq!(host.stat("/var/lib/hostward/records"), "directory 750 root:hostward");
        assert_eq!(host.stat("/run/hostward/records"), "directory 750 root:hostward");
        host.must(&format!("rm -f {CURRENT}"));
        let mut login = fixture.session("alice", Terminal::Yes, "sudo -n /usr/bin/id");
        let all = records(host, CURRENT);
        let sshd = one(&all, "sshd", "alice", opened);
        assert_eq!((sshd.uid, sshd.managed), (Some(70001), true));
        let scope = sshd.cgroup.clone().expect("a control group");
        let name = sshd.xdg_session.clone().expect("a session of logind");
        assert!(scope.ends_with(&format!("/session-{name}.scope")), "recorded after pam_systemd: {scope}");
        assert!(sshd.auth.as_deref().is_some_and(|auth| auth.starts_with("publickey ssh-ed25519-cert-v01@openssh.com AAAA")), "{sshd:?}");
        assert!(sshd.rhost.is_some() && sshd.process.start > 0 && sshd.ancestors.last().is_some_and(|one| one.pid == 1), "{sshd:?}");
        assert_eq!(sshd.boot, host.read("/proc/sys/kernel/random/boot_id").trim());
        let sudo = one(&all, "sudo", "root", opened);
        assert_eq!(sudo.ruser.as_deref(), Some("alice"));
        assert_eq!(sudo.cgroup.as_deref(), Some(scope.as_str()));
        assert!(sudo.ancestors.contains(&sshd.process) || sudo.ancestors.iter().any(|one| sshd.ancestors.contains(one)), "{sudo:?}");
        assert!(sudo.tty.as_deref().is_some_and(|tty| tty.starts_with("pts/")), "{sudo:?}");
        assert_eq!(session(one(&all, "sudo", "root", closed)), session(sudo));
        login.kill();
        host.wait_for(SOON, "the end of the login", |host| {
            let all = records(host, CURRENT);
            let end = all.iter().find(|record| record.service == "sshd" && closed(&record.what));
            end.map(|end| assert_eq!(session(end), session(sshd))).ok_or_else(|| format!("{all:#?}"))
        });
        // Of a local user what is done by hand, and nothing of what is not.
        host.must(&format!("rm -f {CURRENT}; su - local -c true; systemctl restart user@$(id -u local).service"));
        let all = records(host, CURRENT);
        assert_eq!(all.len(), 2, "{all:#?}");
        let su = one(&all, "su-l", "local", opened);
        assert!(!su.managed && su.uid.is_some());
        assert_eq!(session(one(&all, "su-l", "local", closed)), session(su));
        // Of a managed one everything.
        host.must(&format!("rm -f {CURRENT}; systemctl start user@70002.service; systemctl stop user@70002.service"));
        let all = records(host, CURRENT);
        let manager = one(&all, "systemd-user", "bob", opened);
        assert!(manager.managed, "{manager:?}");
        assert_eq!(host.stat(CURRENT), "regular file 640 root:hostward");
        assert!(!host.run_as("local", &format!("cat {CURRENT}")).success(), "not everybody's to read");
        host.must(&format!("runuser -u hostward -- cat {CURRENT}"));
        // Who is refused.
        host.write("/var/lib/hostward/denied.json", 0o644, "root:root", r#"{"schema":"hostward/denied/1","people":[{"name":"bob","uid":70002,"reason":"suspended"}]}"#);
        host.must(&format!("rm -f {CURRENT}; ! su - bob -c true"));
        let all = records(host, CURRENT);
        let denied = one(&all, "su-l", "bob", |what| matches!(what, What::Denied { .. }));
        assert_eq!(denied.what, What::Denied { reason: Reason::Suspended, until: None });
        assert_eq!(all.len(), 1, "{all:#?}");
    }

    /// A full disk, a file that is not root's, no directory at all: logins go on, and what is lost is counted.
    fn logins_go_on_where_nothing_can_be_recorded(release) {
        let lab = new_lab();
        let fixture = Fixture::enrolled(&lab, release);
        let host = &fixture.host;
        stop_everything(host);
        let comes_in = |what: &str| assert!(fixture.ssh_as("alice").run("true").success(), "{what}");
        comes_in("all is well");
        host.must("mount -t tmpfs -o size=64k,mode=750,gid=hostward tmpfs /var/lib/hostward/records; \
                   dd if=/dev/zero of=/var/lib/hostward/records/filler bs=1k 2>/dev/null; : >/var/lib/hostward/records/current");
        host.must(&format!("rm -f {SPILL}"));
        comes_in("the disk is full");
        host.wait_for(SOON, "opening and end", |host| {
            let spilt = records(host, SPILL);
            if spilt.len() == 2 { Ok(()) } else { Err(format!("{spilt:#?}")) }
        });
        assert_eq!(host.stat(SPILL), "regular file 640 root:hostward");
        host.must("umount /var/lib/hostward/records; rm -rf /var/lib/hostward/records");
        host.must(&format!("truncate -s 4M {SPILL}; rm -f /run/hostward/records/lost"));
        comes_in("there is no directory, and the other file is full");
        host.wait_until_ok(SOON, "[ $(od -An -tu8 -N8 /run/hostward/records/lost) -eq 2 ]");
        assert_eq!(host.stat("/run/hostward/records/lost"), "regular file 640 root:hostward");
        host.must("rm -rf /run/hostward/records");
        comes_in("there is nothing at all");
        // A limit that whoever calls su chose does not end it.
        host.must("systemd-tmpfiles --create hostward.conf");
        host.must(&format!("rm -f {CURRENT}; prlimit --fsize=0 su - bob -c true"));
        assert_eq!(records(host, CURRENT).len(), 2);
    }
}
