//! What the package's scripts decide, on booted hosts of each release. That an enrolled host survives an upgrade and is
//! itself again after a purge is for the host tests.

use std::process::Command;
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
        // As a version that cannot start would leave it: the next one has to be tried.
        host.must(
            "systemctl kill --signal=STOP hostward.service && systemctl kill --signal=KILL hostward.service",
        );
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
            host.run("journalctl --no-pager --output=cat | grep -E 'pam_hostward|PAM unable|PAM adding faulty|bad jump'");
        assert_eq!(complaints.stdout, "");
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
            "mkdir -p /run/layer /image && mount -t tmpfs tmpfs /run/layer && mkdir /run/layer/upper /run/layer/work && \
             mount -t overlay -o lowerdir=/,upperdir=/run/layer/upper,workdir=/run/layer/work overlay /image && \
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

#[test]
fn lintian_finds_no_error_and_no_warning() {
    let output = Command::new("lintian")
        .args(["--fail-on", "error,warning", "--allow-root"])
        .arg(built_package().expect("a package"))
        .output()
        .expect("lintian is installed");
    let found =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{found}");
}
