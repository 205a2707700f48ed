//! The package: what it puts where, what an upgrade keeps, and that it leaves a host as it was found.

use std::time::Duration;

use hostward_host_tests::{
    Fixture, Host, PACKAGE, Release, SOON, Terminal, Tree, new_lab, on_each_release, package,
};
use hostward_lab::with_version;

on_each_release!(
    owners_and_modes_stay_whatever_is_done_to_the_services,
    an_upgrade_keeps_everything_and_interrupts_no_login,
    removal_and_purge_leave_the_host_as_it_was,
    accounts_are_served_with_any_nsswitch_conf,
);

/// Directories, files and sockets: what each is, its mode and its owner.
const ALWAYS: &[(&str, &str)] = &[
    ("/etc/hostward", "directory 755 root:root"),
    ("/etc/ssh/ssh_config.d/50-hostward.conf", "regular file 644 root:root"),
    ("/run/hostward", "directory 755 root:root"),
    ("/run/hostward/agent.sock", "socket 600 root:root"),
    ("/run/hostward/metrics", "directory 755 hostward:hostward"),
    ("/run/hostward/ssh-agent.sock", "socket 666 root:root"),
    ("/run/hostward/apply.sock", "socket 660 root:hostward"),
    ("/usr/bin/hostward", "regular file 755 root:root"),
    ("/usr/lib/hostward", "directory 755 root:root"),
    ("/usr/lib/hostward/hostward-agent", "regular file 755 root:root"),
    ("/usr/lib/hostward/hostward-apply", "regular file 755 root:root"),
    ("/usr/lib/hostward/hostward-principals", "regular file 755 root:root"),
    ("/usr/lib/x86_64-linux-gnu/libnss_hostward.so.2", "regular file 644 root:root"),
    ("/usr/lib/x86_64-linux-gnu/libsubid_hostward.so", "regular file 644 root:root"),
    ("/var/lib/hostward", "directory 755 root:root"),
    ("/run/hostward/records", "directory 750 root:hostward"),
    ("/usr/lib/x86_64-linux-gnu/security/pam_hostward.so", "regular file 644 root:root"),
    ("/var/lib/hostward/records", "directory 750 root:hostward"),
    ("/var/lib/hostward/ssh", "directory 755 root:root"),
    ("/var/lib/hostward-agent", "directory 700 hostward:hostward"),
    ("/var/lib/hostward-step-ca", "directory 755 hostward:hostward"),
    ("/var/lib/misc", "directory 755 root:root"),
    ("/var/log/hostward", "directory 2750 hostward:adm"),
];

/// The same, once the host is enrolled.
const ENROLLED: &[(&str, &str)] = &[
    ("/etc/ssh/sshd_config.d/10-hostward.conf", "regular file 644 root:root"),
    ("/etc/sudoers.d/hostward", "regular file 440 root:root"),
    ("/var/lib/hostward/grants.json", "regular file 640 root:hostward"),
    ("/var/lib/hostward/private", "directory 700 root:root"),
    ("/var/lib/hostward/report.json", "regular file 600 root:root"),
    ("/var/lib/hostward/ssh", "directory 755 root:root"),
    ("/var/log/hostward/events.jsonl", "regular file 640 hostward:adm"),
    ("/var/lib/hostward/ssh/host-ed25519-cert.pub", "regular file 644 root:root"),
    ("/var/lib/hostward/ssh/revoked.krl", "regular file 644 root:root"),
    ("/var/lib/hostward/ssh/user_ca.pub", "regular file 644 root:root"),
    ("/var/lib/hostward/status.json", "regular file 644 root:root"),
    ("/var/lib/misc/hostward.db", "regular file 644 root:root"),
];

const UNITS: &str =
    "hostward.service hostward.socket hostward-ssh-agent.socket hostward-apply.socket hostward-drift.timer";

/// Units but for those that come and go with sessions and devices.
const UNITS_THAT_STAY: &str = "systemctl list-units --all --no-legend --plain | awk '{print $1}' | \
                               grep -v -e session- -e user- -e run- -e '[.]device' | sort";

#[track_caller]
fn assert_modes(host: &Host, when: &str, expected: &[(&str, &str)]) {
    for (path, stat) in expected {
        // A revocation list of no bytes revokes nothing.
        assert_eq!(host.stat(path).replace("empty ", ""), *stat, "{path} {when}");
    }
    // Whatever else there is: nothing of root's is anybody else's to write, nothing of the agent's is anybody's to read.
    let loose = host
        .ok("find /etc/hostward /run/hostward /var/lib/hostward /var/lib/misc /usr/lib/hostward \
         -path /run/hostward/metrics -prune -o -path /var/lib/hostward/grants.json -prune -o ! -type s ! -type l ! -path '*/records' ! -path '*/records/*' \\( ! -user root -o ! -group root -o -perm /022 \\) -print");
    assert_eq!(loose, "", "{when}");
    let foreign =
        host.ok("find /var/lib/hostward-agent \\( ! -user hostward -o -perm /077 -type d \\) -print");
    assert_eq!(foreign, "", "{when}");
}

#[track_caller]
fn assert_running(host: &Host) {
    assert_eq!(host.ok(&format!("systemctl is-enabled {UNITS}")), "enabled\n".repeat(5));
    assert_eq!(host.ok(&format!("systemctl is-active {UNITS}")), "active\n".repeat(5));
    let failed = host.ok("systemctl --failed --no-legend --plain");
    assert_eq!(failed, "");
}

/// Section by section: after install, start, stop, restart, a boot and an upgrade.
fn owners_and_modes_stay_whatever_is_done_to_the_services(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let host = &fixture.host;
    assert_modes(host, "after the installation", ALWAYS);
    assert_running(host);
    fixture.enroll();
    let all = [ALWAYS, ENROLLED].concat();
    assert_modes(host, "after enrollment", &all);
    host.must("systemctl restart hostward");
    assert_modes(host, "after a restart of the agent", &all);
    host.must("systemctl stop hostward hostward-apply.service");
    assert_modes(host, "with the services stopped", &all);
    host.must("systemctl restart hostward-apply.socket hostward.socket hostward-ssh-agent.socket; systemctl start hostward hostward-apply.service");
    assert_modes(host, "after a restart of everything", &all);
    host.reboot().expect("a reboot");
    assert_modes(host, "after a boot", &all);
    assert_running(host);
    assert!(fixture.ssh_as("alice").run("true").success());
    host.upgrade(&newer(&fixture, "9.0-1"));
    assert_modes(host, "after an upgrade", &all);
    assert_running(host);
    // What somebody's umask or a backup did to the directories is mended by the next upgrade.
    host.must("chmod 777 /var/lib/hostward; chown nobody /etc/hostward; chmod 755 /var/lib/hostward-agent");
    host.upgrade(&newer(&fixture, "9.1-1"));
    assert_modes(host, "after a repair", &all);
}

/// A host in use, upgraded under the hands of its users.
fn an_upgrade_keeps_everything_and_interrupts_no_login(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    let mut session = fixture.session("alice", Terminal::Yes, "true");
    let identity = fixture.agent_status().enrollment;
    let etc = host.snapshot_etc();
    let agent = host.ok("systemctl show --property=MainPID --value hostward");
    // Lookups, sudo and logins, all the while.
    let lookups = host.spawn(
        "n=0; while [ ! -e /run/enough ]; do \
         getent passwd alice >/dev/null && getent group people >/dev/null && \
         id alice | grep -q hostward-users || echo lookup; \
         sudo -l -U alice | grep -q /usr/bin/id || echo sudo; n=$((n + 1)); done; echo $n rounds",
    );
    let logins = {
        let login = fixture.ssh_as("alice");
        let args = login.args(&[]);
        let ssh = args.iter().map(|arg| format!("'{arg}'")).collect::<Vec<_>>().join(" ");
        lab.spawn_in_network(&format!(
            "for n in $(seq 12); do {ssh} true || echo refused $n; done; echo done"
        ))
    };
    host.upgrade(&newer(&fixture, "9.0-1"));
    assert_eq!(host.ok("dpkg-query --show --showformat='${Version}' hostward"), "9.0-1");
    let mut logins = logins;
    assert_eq!(logins.wait(Duration::from_secs(60)).stdout, "done\n");
    host.must("touch /run/enough");
    let mut lookups = lookups;
    let lookups = lookups.wait(SOON);
    assert!(lookups.stdout.ends_with("rounds\n") && lookups.stdout.lines().count() == 1, "{lookups}");
    assert!(session.is_running(), "the session went on");

    assert_eq!(etc.changes(&host.snapshot_etc()), [""; 0]);
    assert_ne!(host.ok("systemctl show --property=MainPID --value hostward"), agent, "the new agent runs");
    assert_running(host);
    fixture.wait_for_agent(SOON, "the same enrollment", |status| status.enrollment == identity);
    assert_eq!(fixture.client.hosts().expect("hosts").len(), 1);
    fixture.change_team(|team| hostward_host_tests::edited(team, "Alice Adams", "Alice Brown"));
    assert!(session.is_running());
    let stale = host.ok("ls -l /proc/[0-9]*/exe 2>/dev/null | grep hostward | grep deleted || true");
    assert_eq!(stale, "", "no old program goes on");
    // What the operator switched off stays off.
    host.must("systemctl disable --now hostward-drift.timer");
    host.upgrade(&newer(&fixture, "9.1-1"));
    assert_eq!(host.run("systemctl is-enabled hostward-drift.timer").stdout, "disabled\n");
}

/// The whole life of a host with hostward, and nothing left of it.
fn removal_and_purge_leave_the_host_as_it_was(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).without_package().boot();
    let host = &fixture.host;
    host.must("rm -r /etc/hostward");
    // An nsswitch.conf that has seen life.
    let nsswitch = "# ours: files first\npasswd:\t\tcompat\n group: files [NOTFOUND=return] systemd # why?\n\n\
                    hosts: files dns\n";
    host.write("/etc/nsswitch.conf", 0o644, "root:root", nsswitch);
    let before = etc(host);
    let key = root_key(&fixture);
    let units = host.ok(UNITS_THAT_STAY);

    host.install(&package());
    fixture.trust_backend("");
    fixture.enroll();
    assert!(fixture.ssh_as("alice").run("echo mine >~/file; sudo -n /usr/bin/id").success());
    let mut session = fixture.session("alice", Terminal::Yes, "true");
    let removal =
        host.run(&format!("DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes remove {PACKAGE}"));
    let said = format!("{}{}", removal.stdout, removal.stderr);
    assert!(removal.success() && said.contains("lists this host"), "{removal}");
    let _ = session.wait(SOON);
    assert_eq!(host.run("getent passwd alice").status, 2);
    assert!(!fixture.ssh_as("alice").run("true").success());
    assert_eq!(host.read("/etc/nsswitch.conf"), nsswitch);
    // Configuration files stay until a purge; this one includes a file that is gone.
    let kept = ["/etc/hostward", "/etc/ssh/ssh_config.d/50-hostward.conf"];
    let changes = before.changes(&etc(host).without(&kept));
    let changes: Vec<_> = changes.iter().filter(|change| !is_account_file(change)).collect();
    assert_eq!(changes, [""; 0], "after removal");
    assert!(host.exists("/etc/hostward/hostward.toml"), "the operator's configuration stays until a purge");
    assert!(
        host.ok("cat /var/log/hostward/events.jsonl").contains("hostward.agent.stopped"),
        "so does what happened"
    );
    assert!(root_gets_in(&fixture, &key));
    host.must("systemctl is-active ssh cron; visudo -c");

    // A removed package may come back, and find its configuration.
    host.install(&package());
    fixture.enroll();
    assert_eq!(fixture.ssh_as("alice").run("cat file").expect_success(), "mine\n");
    host.purge(PACKAGE);
    assert_eq!(before.changes(&etc(host)), [""; 0], "after purge");
    let left = host.ok(
        "find / -xdev -path /proc -prune -o -path /var/cache/lab -prune -o -path /var/log/journal -prune -o \
                        -path /run/log -prune -o -iname '*hostward*' -print",
    );
    assert_eq!(left, "");
    let mentioned =
        host.run("grep -rlI hostward /etc /var/lib --exclude-dir=apt --exclude-dir=dpkg --exclude='*-'");
    assert_eq!(mentioned.stdout, "");
    assert_eq!(
        host.run("getent passwd hostward hostward-principals; getent group hostward-users").stdout,
        ""
    );
    assert_eq!(host.run("pgrep -f '[h]ostward-(agent|apply|principals)'").stdout, "");
    let now = host.ok(UNITS_THAT_STAY);
    assert_eq!(now.lines().filter(|unit| unit.contains("hostward")).count(), 0, "{now}");
    assert!(units.lines().all(|unit| now.lines().any(|left| left == unit)), "{units}\n--- now\n{now}");
    assert_eq!(host.ok("cat /home/alice/file; stat -c %u:%g /home/alice"), "mine\n70001:70001\n");
    assert!(root_gets_in(&fixture, &key));
    host.must("sshd -t; visudo -c; su root -c true; systemctl is-active ssh cron");
    assert_eq!(
        host.ok("systemctl --failed --no-legend --plain"),
        "",
        "{}",
        host.ok("journalctl -b --no-pager | grep -e 70001 -e systemd-logind | tail -40")
    );
    host.reboot().expect("a reboot");
    assert_eq!(host.ok("systemctl is-system-running").trim(), "running");
}

/// Lines of nsswitch.conf that hosts are known to have, under this release's glibc, and back to the byte.
fn accounts_are_served_with_any_nsswitch_conf(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    host.install_offered("libnss-systemd");
    let files = [
        ("stock", "passwd: files systemd\ngroup: files systemd\nshadow: files\n"),
        (
            "stops at files",
            "passwd: files [NOTFOUND=return] systemd\ngroup: files [NOTFOUND=return] systemd\n\
             shadow: files [NOTFOUND=return]\n",
        ),
        ("comments", "# passwd: nis\npasswd: files # local ones\ngroup:files # all\nshadow:\tfiles # x\n"),
        ("compat", "passwd: compat\ngroup: compat\nshadow: compat\n"),
        ("no shadow line", "passwd: files\ngroup: files\n"),
        ("merged groups", "passwd: files\ngroup: files [SUCCESS=merge] systemd\nshadow: files\n"),
        ("initgroups of its own", "passwd: files\ngroup: files\nshadow: files\ninitgroups: files\n"),
        ("no last newline", "passwd: files\nshadow: files\ngroup: files"),
        ("empty", "hosts: files\n"),
    ];
    for (what, text) in files {
        host.write("/etc/nsswitch.conf", 0o644, "root:root", text);
        assert_eq!(host.run("getent passwd alice").status, 2, "{what}");
        assert_eq!(host.run("/usr/lib/hostward/nsswitch add").status, 10, "{what}");
        let seen = host.read("/etc/nsswitch.conf");
        host.must("getent passwd root; getent group root; getent shadow root");
        for query in ["passwd alice", "shadow alice", "group people", "passwd 70002"] {
            assert!(host.run(&format!("getent {query}")).success(), "{what}: {query}\n{seen}");
        }
        let groups = host.ok("id -Gn alice");
        for group in ["people", "admins", "hostward-users"] {
            assert!(groups.contains(group), "{what}: {groups}\n{seen}");
        }
        assert_eq!(host.run("/usr/lib/hostward/nsswitch remove").status, 10, "{what}");
        assert_eq!(host.read("/etc/nsswitch.conf"), text, "{what}");
        host.must("getent passwd root");
    }
}

/// A package that does everything the same and is newer.
#[track_caller]
fn newer(fixture: &Fixture<'_>, version: &str) -> std::path::PathBuf {
    let directory = fixture.lab.directory("packages").expect("a directory");
    with_version(&package(), version, &directory).expect("a package")
}

/// /etc without what is rewritten for everybody's sake: copies that useradd and its like keep, and ldconfig's cache.
#[track_caller]
fn etc(host: &Host) -> Tree {
    host.snapshot_etc().without(&[
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
        "/etc/subuid-",
        "/etc/subgid-",
        "/etc/.pwd.lock",
        "/etc/ld.so.cache",
    ])
}

/// System users stay after a removal, as every package's do: files may still be theirs.
fn is_account_file(change: &str) -> bool {
    ["passwd", "group", "shadow", "gshadow"].iter().any(|name| change.starts_with(&format!("~ /etc/{name} ")))
}

#[track_caller]
fn root_key(fixture: &Fixture<'_>) -> std::path::PathBuf {
    let key = fixture.lab.ssh_key("root").expect("a key");
    let public = std::fs::read(key.with_extension("pub")).expect("its public half");
    fixture.host.write("/root/.ssh/authorized_keys", 0o600, "root:root", public);
    key
}

#[track_caller]
fn root_gets_in(fixture: &Fixture<'_>, key: &std::path::Path) -> bool {
    fixture.lab.login(&fixture.host, "root").key(key).run("true").success()
}

/// The package says what it needs, and refuses a machine that it was not built for.
#[test]
fn its_metadata_are_sound() {
    let deb = package();
    let field = |name: &str| {
        let output = std::process::Command::new("dpkg-deb")
            .arg("--field")
            .arg(&deb)
            .arg(name)
            .output()
            .expect("dpkg-deb");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(field("Package"), PACKAGE);
    assert_eq!(field("Architecture"), "amd64");
    assert!(field("Depends").contains("libc6 (>= 2.28)"), "{}", field("Depends"));
    let lintian = std::process::Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error"])
        .arg(&deb)
        .output()
        .expect("lintian (`make setup` installs it)");
    let said = String::from_utf8_lossy(&lintian.stdout);
    assert!(lintian.status.success(), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("E:")), "{said}");
}
