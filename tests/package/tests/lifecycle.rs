//! Installing, upgrading, removing and purging the package on booted hosts of each release.

use std::time::Duration;

use hostward_lab::{Host, Lab, Release, built_package, with_version};

const SOON: Duration = Duration::from_secs(20);

fn on_each_release(test: impl Fn(&Lab, &Host)) {
    for release in Release::ALL {
        let lab = Lab::new().expect("a lab");
        let host = lab.host("web1", release).boot().expect("a host");
        println!("{release}");
        test(&lab, &host);
    }
}

/// What an installation leaves unchanged, apart from the account files' backups that shadow's tools rewrite and the cache
/// that ldconfig rebuilds.
const REWRITTEN: &[&str] =
    &["/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/ld.so.cache"];

fn assert_no_failed_unit(host: &Host) {
    assert_eq!(host.ok("systemctl list-units --failed --no-legend --plain 'hostward*'"), "");
}

/// Owners and modes as the design has them: nobody but root may make root believe anything.
fn assert_places(host: &Host) {
    for (path, expected) in [
        ("/etc/hostward", "directory 755 root:root"),
        ("/run/hostward", "directory 755 root:root"),
        ("/run/hostward/apply.sock", "socket 660 root:hostward"),
        ("/run/hostward/agent.sock", "socket 600 root:root"),
        ("/var/lib/hostward", "directory 755 root:root"),
        ("/var/lib/hostward-agent", "directory 700 hostward:hostward"),
        ("/usr/lib/hostward/hostward-principals", "regular file 755 root:root"),
    ] {
        assert_eq!(host.stat(path), expected, "{path}");
    }
}

#[test]
fn an_installed_host_has_its_services_places_and_name_services() {
    on_each_release(|_, host| {
        host.install(&built_package().expect("a package"));
        for unit in ["hostward.service", "hostward.socket", "hostward-apply.socket", "hostward-drift.timer"] {
            host.wait_until_ok(SOON, &format!("systemctl is-active {unit}"));
            host.must(&format!("systemctl is-enabled {unit}"));
        }
        assert_no_failed_unit(host);
        assert_places(host);
        for database in ["passwd", "group", "shadow"] {
            host.must(&format!("grep -Eq '^{database}:[ \t]+files hostward' /etc/nsswitch.conf"));
        }
        for user in ["hostward", "hostward-principals"] {
            let account = host.ok(&format!("getent passwd {user}"));
            assert!(account.trim_end().ends_with(":/usr/sbin/nologin"), "{account}");
            assert_eq!(host.ok(&format!("id -Gn {user}")).trim(), user);
        }
        host.must("getent group hostward-users");
        host.must("grep -q pam_mkhomedir.so /etc/pam.d/common-session");
        host.must("! grep -q pam_mkhomedir.so /etc/pam.d/common-session-noninteractive");
    });
}

#[test]
fn owners_and_modes_survive_stop_start_restart_reboot_and_upgrade() {
    on_each_release(|lab, host| {
        let package = built_package().expect("a package");
        host.install(&package);
        let units = "hostward.service hostward.socket hostward-apply.service hostward-apply.socket";
        assert_places(host);
        host.must("systemctl restart hostward.service hostward-apply.service");
        assert_places(host);
        host.must(&format!("systemctl stop {units}"));
        assert_eq!(host.stat("/run/hostward"), "directory 755 root:root");
        host.must("systemctl start hostward-apply.socket hostward.socket hostward.service");
        assert_places(host);
        host.reboot().expect("a reboot");
        assert_places(host);
        let directory = lab.directory("packages").expect("a directory");
        host.upgrade(&with_version(&package, "0.1.0-2", &directory).expect("a newer package"));
        assert_places(host);
        assert_no_failed_unit(host);
    });
}

#[test]
fn purge_puts_etc_back() {
    on_each_release(|_, host| {
        // As a host of some age: a user, and tools that were used before.
        host.must("useradd --create-home local && pam-auth-update --package && ldconfig");
        let before = host.snapshot_etc().without(REWRITTEN);
        let accounts = host.ok("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/nsswitch.conf");
        host.install(&built_package().expect("a package"));
        assert_ne!(before.changes(&host.snapshot_etc().without(REWRITTEN)), [""; 0]);
        host.purge("hostward");
        assert_eq!(
            host.ok("cat /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/nsswitch.conf"),
            accounts
        );
        assert_eq!(before.changes(&host.snapshot_etc().without(REWRITTEN)), [""; 0]);
        for place in [
            "/var/lib/hostward",
            "/var/lib/hostward-agent",
            "/var/lib/misc/hostward.db",
            "/run/hostward",
            "/usr/lib/hostward",
        ] {
            assert!(!host.exists(place), "{place} is left");
        }
        assert_eq!(host.ok("systemctl list-units --all --no-legend --plain 'hostward*' | cut -d' ' -f1"), "");
        host.must("sudo -n true && sshd -t && su - local -c true");
    });
}

#[test]
fn removal_keeps_what_purge_takes_and_installing_again_works() {
    let lab = Lab::new().expect("a lab");
    let host = lab.host("web1", Release::Bookworm).boot().expect("a host");
    let package = built_package().expect("a package");
    host.install(&package);
    host.write("/etc/hostward/hostward.toml", 0o644, "root:root", "[labels]\nenv = \"prod\"\n");
    host.remove("hostward");
    assert!(host.exists("/etc/hostward/hostward.toml"));
    assert!(!host.read("/etc/nsswitch.conf").contains("hostward"));
    assert!(!host.ok("cat /etc/pam.d/common-session").contains("hostward"));
    host.must("getent passwd root && getent group root");
    host.install(&package);
    assert!(host.read("/etc/nsswitch.conf").contains("files hostward"));
    host.wait_until_ok(SOON, "systemctl is-active hostward.service");
    host.must("mkdir -p /var/lib/hostward/archive && echo home >/var/lib/hostward/archive/alice-70001-0.tar");
    host.purge("hostward");
    assert!(!host.exists("/etc/hostward"));
    assert_eq!(host.ok("find /var/lib/hostward -type f"), "/var/lib/hostward/archive/alice-70001-0.tar\n");
}

#[test]
fn an_upgrade_keeps_what_the_operator_decided_and_open_sessions() {
    on_each_release(|lab, host| {
        let package = built_package().expect("a package");
        let newer = with_version(&package, "0.1.0-2", &lab.directory("packages").expect("a directory"))
            .expect("a newer package");
        host.install(&package);
        let key = lab.ssh_key("root").expect("a key");
        host.write(
            "/root/.ssh/authorized_keys",
            0o600,
            "root:root",
            std::fs::read(key.with_extension("pub")).expect("a key"),
        );
        let mut session =
            lab.login(host, "root").key(&key).open(hostward_lab::Terminal::No, "echo in; exec cat");
        host.wait_for(SOON, "the session", |_| {
            if session.stdout() == "in\n" { Ok(()) } else { Err(session.stderr()) }
        });
        host.must("systemctl disable --now --quiet hostward-drift.timer");
        host.must("sed -i 's/^passwd:.*/passwd: files hostward systemd/' /etc/nsswitch.conf");
        let before = host.snapshot_etc().without(REWRITTEN);
        let sshd = host.ok("systemctl show --property=MainPID ssh.service");
        host.upgrade(&newer);
        assert_eq!(host.ok("dpkg-query --show --showformat='${Version}' hostward"), "0.1.0-2");
        assert_eq!(before.changes(&host.snapshot_etc().without(REWRITTEN)), [""; 0]);
        assert_eq!(host.run("systemctl is-enabled hostward-drift.timer").stdout.trim(), "disabled");
        assert_eq!(host.run("systemctl is-active hostward-drift.timer").stdout.trim(), "inactive");
        assert_eq!(host.ok("systemctl show --property=MainPID ssh.service"), sshd);
        host.wait_until_ok(SOON, "systemctl is-active hostward.service");
        session.say("still here\n");
        host.wait_for(SOON, "an echo", |_| {
            if session.stdout().ends_with("still here\n") { Ok(()) } else { Err(session.stdout()) }
        });
    });
}

#[test]
fn local_users_get_no_home_and_no_message_from_the_pam_profile() {
    on_each_release(|_, host| {
        host.must("useradd --no-create-home local");
        host.install(&built_package().expect("a package"));
        host.must("su - local -c 'true' 2>/dev/null; su local -s /bin/sh -c true");
        assert!(!host.exists("/home/local"));
        let complaints =
            host.run("journalctl --no-pager --output=cat | grep -E 'pam_(succeed_if|mkhomedir)|bad jump'");
        assert_eq!(complaints.stdout, "");
    });
}

#[test]
fn exposure_is_within_the_budget() {
    on_each_release(|_, host| {
        host.install(&built_package().expect("a package"));
        for (unit, most) in
            [("hostward.service", 1.5), ("hostward-apply.service", 2.0), ("hostward-drift.service", 1.5)]
        {
            let report = host.ok(&format!("systemd-analyze security --no-pager {unit}"));
            let line =
                report.lines().find(|line| line.contains("Overall exposure level")).expect("a verdict");
            let level: f64 = line
                .split(':')
                .nth(1)
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .expect("a level");
            println!("{} {unit} {level}", host.release());
            assert!(level <= most, "{unit}: {report}");
        }
    });
}

#[test]
fn a_running_cron_and_nscd_learn_of_the_new_name_service() {
    on_each_release(|_, host| {
        host.install_offered("nscd");
        let show = "systemctl show --property=MainPID --value";
        let (cron, nscd) = (host.ok(&format!("{show} cron")), host.ok(&format!("{show} nscd")));
        let dbus = host.ok(&format!("{show} dbus"));
        host.install(&built_package().expect("a package"));
        let restarted = host.ok(&format!("{show} cron")) != cron;
        assert_eq!(restarted, host.release() == Release::Bullseye, "only a glibc before 2.34 needs it");
        assert_ne!(host.ok(&format!("{show} nscd")), nscd);
        assert_eq!(host.ok(&format!("{show} dbus")), dbus, "a restart of the system bus takes the host down");
    });
}

#[test]
fn it_installs_where_systemd_does_not_run() {
    on_each_release(|_, host| {
        host.must(
            "mkdir /image && for part in bin etc lib lib64 sbin usr var; do \
             [ ! -e /$part ] || cp -a /$part /image/; done && mkdir /image/dev /image/proc /image/run /image/tmp && \
             mount --bind /dev /image/dev && mount -t proc proc /image/proc",
        );
        let package = built_package().expect("a package");
        host.write("/image/hostward.deb", 0o644, "root:root", std::fs::read(package).expect("a package"));
        host.must("chroot /image dpkg --install /hostward.deb");
        host.must(
            "grep -q 'files hostward' /image/etc/nsswitch.conf && chroot /image getent passwd hostward",
        );
        host.must("test -L /image/etc/systemd/system/multi-user.target.wants/hostward.service");
        host.must("chroot /image dpkg --purge hostward");
        host.must("! grep -q hostward /image/etc/nsswitch.conf /image/etc/passwd");
    });
}
