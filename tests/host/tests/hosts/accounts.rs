//! Managed people as the programs of the host see them: through glibc, with nothing of ours running.

use std::time::Duration;

use hostward_host_tests::{
    Fixture, Host, Lab, Release, SOON, TEAM, Terminal, edited, new_lab, on_each_release, wait_for,
};

on_each_release!(
    every_program_sees_managed_people_with_services_stopped_too,
    homes_are_made_at_the_first_login_and_local_people_are_left_alone,
    changes_are_seen_by_processes_that_run_already,
    nscd_learns_of_each_change,
);

/// Everything of hostward that can be stopped.
const UNITS: &str = "hostward.service hostward.socket hostward-ssh-agent.socket hostward-apply.service hostward-apply.socket \
                     hostward-drift.timer hostward-drift.service";

#[track_caller]
fn stop_everything(host: &Host) {
    host.must(&format!("systemctl stop {UNITS}"));
    assert_eq!(host.run("pgrep -l hostward").stdout, "", "nothing of hostward runs");
}

/// What a program that asks glibc is told.
#[track_caller]
fn assert_served(fixture: &Fixture<'_>) {
    let host = &fixture.host;
    let alice = "alice:*:70001:70001:Alice Adams:/home/alice:/bin/bash\n";
    assert_eq!(host.ok("getent passwd alice"), alice);
    assert_eq!(host.ok("getent passwd 70001"), alice);
    assert_eq!(
        host.ok("getent group people"),
        "people:*:71001:alice,bob\n".replace('*', &group_password(host))
    );
    assert_eq!(host.ok("getent group 71002 | cut -d: -f1,3,4"), "admins:71002:alice\n");
    let shadow = host.ok("getent shadow alice");
    assert_eq!(shadow.split(':').take(2).collect::<Vec<_>>(), ["alice", "*"], "{shadow}");
    let nobody_reads = host.run_as("nobody", "getent shadow root");
    assert!(!nobody_reads.success(), "{nobody_reads}");

    let groups = host.ok("id -Gn alice");
    let mut groups: Vec<_> = groups.split_whitespace().collect();
    groups.sort_unstable();
    assert_eq!(groups, ["admins", "alice", "hostward-users", "people"]);
    assert_eq!(host.ok("id -u alice; id -g alice; id -un 70002"), "70001\n70001\nbob\n");
    let initgroups = host.ok("getent initgroups alice");
    assert!(["71001", "71002"].iter().all(|gid| initgroups.contains(gid)), "{initgroups}");

    for unknown in ["passwd mallory", "passwd 70099", "group mallory", "group 70099", "shadow mallory"] {
        assert_eq!(host.run(&format!("getent {unknown}")).status, 2, "{unknown}");
    }
    // Enumeration: everybody once, local people included.
    for (database, names) in [("passwd", ["alice", "bob", "root"]), ("group", ["people", "alice", "root"])] {
        let all = host.ok(&format!("getent {database} | cut -d: -f1"));
        for name in names {
            assert_eq!(all.lines().filter(|line| *line == name).count(), 1, "{name} in {database}:\n{all}");
        }
    }
}

fn group_password(host: &Host) -> String {
    let line = host.ok("getent group people");
    let password = line.split(':').nth(1).unwrap_or_default().to_owned();
    assert!(password == "*" || password == "x", "{line}");
    password
}

/// What people and programs do with the accounts.
#[track_caller]
fn assert_usable(fixture: &Fixture<'_>) {
    let host = &fixture.host;
    host.must("touch /tmp/file; chown bob:people /tmp/file");
    assert_eq!(host.ok("ls -l /tmp/file | cut -d' ' -f3,4"), "bob people\n");
    assert_eq!(host.ok("stat -c %u:%g /tmp/file"), "70002:71001\n");
    assert_eq!(host.ok("su bob -c 'id -un; id -gn'"), "bob\nbob\n");
    assert_eq!(host.ok("su - alice -c 'pwd; echo $SHELL'"), "/home/alice\n/bin/bash\n");
    let listed = host.ok("sudo -l -U alice");
    assert!(listed.contains("/usr/bin/id") && listed.contains("NOPASSWD"), "{listed}");
    assert!(host.ok("sudo -l -U bob").contains("not allowed to run sudo"));

    let ssh = fixture.ssh_as("alice");
    assert_eq!(ssh.run("id -un; sudo -n /usr/bin/id -u").expect_success(), "alice\n0\n");
    assert_environment_does_not_matter(fixture);
    let refused = ssh.run("sudo -n /usr/bin/cat /etc/shadow");
    assert!(!refused.success() && refused.stdout.is_empty(), "{refused}");
    assert!(fixture.ssh_as("bob").run("true").success());
    assert!(!fixture.ssh_as("mallory").run("true").success());
}

/// What a user puts before a setuid program does not reach the module, which reads no environment.
#[track_caller]
fn assert_environment_does_not_matter(fixture: &Fixture<'_>) {
    let ssh = fixture.ssh_as("alice");
    let set = ssh.run("echo evil >libnss_hostward.so.2; mkdir -p audit; echo evil >audit/evil.so");
    assert!(set.success(), "{set}");
    // The trap works: a program that is not setuid falls into it.
    let trapped = ssh.run("LD_LIBRARY_PATH=$PWD getent passwd bob");
    assert!(!trapped.success() && trapped.stdout.is_empty(), "{trapped}");
    let libraries = "LD_LIBRARY_PATH=$PWD LD_PRELOAD=$PWD/libnss_hostward.so.2 LD_AUDIT=$PWD/audit/evil.so LD_DEBUG=all \
        LD_DEBUG_OUTPUT=$PWD/debug LD_BIND_NOT=1 LD_ORIGIN_PATH=$PWD LD_PROFILE=libnss_hostward.so.2 LD_PROFILE_OUTPUT=$PWD \
        LD_SHOW_AUXV=1 LD_USE_LOAD_BIAS=1 LD_HWCAP_MASK=0 LD_DYNAMIC_WEAK=1";
    let libc = "GLIBC_TUNABLES=glibc.malloc.check=3:glibc.rtld.optional_static_tls=1 MALLOC_CHECK_=3 MALLOC_PERTURB_=165 \
        MALLOC_TRACE=$PWD/trace MALLOC_ARENA_MAX=1 MALLOC_TOP_PAD_=1 GCONV_PATH=$PWD LOCPATH=$PWD NLSPATH=$PWD/%N \
        LANG=../../$PWD LC_ALL=../../$PWD LANGUAGE=../.. TZ=:$PWD/evil TZDIR=$PWD GETCONF_DIR=$PWD HOSTALIASES=$PWD/evil \
        LOCALDOMAIN=evil RES_OPTIONS=debug RESOLV_HOST_CONF=$PWD/evil NIS_PATH=$PWD TMPDIR=$PWD";
    let everybody = "NSS_MODULE_PATH=$PWD NSS_WRAPPER_PASSWD=$PWD/evil HOSTWARD_DB=$PWD/evil HOME=/ USER=root LOGNAME=root \
        RUST_BACKTRACE=full RUST_LOG=trace LARGE=$(head -c 100000 /dev/zero | tr '\\0' x)";
    for hostile in [libraries, libc, everybody, &format!("{libraries} {libc} {everybody}")] {
        let output = ssh.run(&format!("{hostile} sudo -n /usr/bin/id -u 2>/dev/null"));
        assert_eq!(output.stdout, "0\n", "{hostile}: {output}");
    }
    let left = ssh.run("test ! -e debug -a ! -e trace && rm -r libnss_hostward.so.2 audit");
    assert!(left.success(), "{left}");
}

/// The whole way with both services running, and again with nothing of hostward running at all.
fn every_program_sees_managed_people_with_services_stopped_too(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let session = fixture.session("bob", Terminal::Yes, "true");
    assert_served(&fixture);
    assert_usable(&fixture);
    stop_everything(&fixture.host);
    assert_served(&fixture);
    assert_usable(&fixture);
    // A boot without them is no different.
    drop(session);
    fixture.host.must(
        "systemctl disable hostward.service hostward.socket hostward-ssh-agent.socket hostward-apply.socket hostward-drift.timer",
    );
    fixture.host.reboot().expect("a reboot");
    assert_eq!(fixture.host.run("pgrep -l hostward").stdout, "");
    assert_served(&fixture);
    assert_usable(&fixture);
    assert_eq!(fixture.host.ok("systemctl is-system-running").trim(), "running");
}

/// What is missing is made for managed people, and for nobody else.
fn homes_are_made_at_the_first_login_and_local_people_are_left_alone(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    host.must("useradd --no-create-home --shell /bin/bash local");
    host.must("echo from skel >/etc/skel/.marker");
    assert!(!host.exists("/home/alice"), "nobody has logged in");
    assert_eq!(fixture.ssh_as("alice").run("pwd; cat .marker").expect_success(), "/home/alice\nfrom skel\n");
    assert_eq!(host.stat("/home/alice"), "directory 700 alice:alice");
    assert_eq!(host.ok("stat -c %u:%g /home/alice /home/alice/.marker"), "70001:70001\n70001:70001\n");
    let foreign = host.ok("find /home/alice ! -user alice -o ! -group alice");
    assert_eq!(foreign, "");

    host.must("su - bob -c true");
    assert_eq!(host.stat("/home/bob"), "directory 700 bob:bob");

    let as_local = host.run("su - local -c pwd");
    assert_ne!(as_local.stdout, "/home/local\n", "{as_local}");
    assert!(!host.exists("/home/local"), "a local user's home is the administrator's business");
    let key = lab.ssh_key("local").expect("a key");
    let public = std::fs::read(key.with_extension("pub")).expect("its public half");
    host.write("/etc/ssh/local_keys", 0o644, "root:root", public);
    let login = lab.login(host, "local").key(&key);
    host.must("mkdir -p /run/sshd; sed -i '1i AuthorizedKeysFile /etc/ssh/local_keys' /etc/ssh/sshd_config");
    host.must("systemctl reload ssh");
    // A reload has sshd refuse connections for a moment.
    wait_for(SOON, "a login of a local user", || {
        let output = login.run("true");
        if output.success() { Ok(()) } else { Err(output.to_string()) }
    });
    assert!(!host.exists("/home/local"));
    // What somebody put where a home would be is not taken over.
    host.must("rm -rf /home/alice; mkdir -m 755 /home/alice; touch /home/alice/roots");
    assert!(fixture.ssh_as("alice").run("true").success());
    assert_eq!(host.stat("/home/alice"), "directory 755 root:root");
}

/// A change of the policy reaches every lookup at once, long-lived processes included.
fn changes_are_seen_by_processes_that_run_already(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    // One process that has the module mapped and looks again and again.
    let mut asker = host.spawn(
        r#"exec python3 -c '
import pwd, sys
for line in sys.stdin:
    try: print(pwd.getpwnam(line.strip()).pw_gecos, flush=True)
    except KeyError: print("unknown", flush=True)
'"#,
    );
    let mut answers = 0;
    let mut ask = |name: &str| {
        asker.say(&format!("{name}\n"));
        answers += 1;
        let (_, answer) = wait_for(SOON, "an answer", || {
            asker.stdout().lines().nth(answers - 1).map(str::to_owned).ok_or(asker.stderr())
        });
        answer
    };
    assert_eq!(ask("alice"), "Alice Adams");
    assert_eq!(ask("dave"), "unknown");
    fixture.change_team(|team| {
        let team = edited(team, "Alice Adams", "Alice Brown");
        let team =
            edited(&team, "members = [\"alice\", \"bob\"]", "members = [\"alice\", \"bob\", \"dave\"]");
        format!("{team}\n[users.dave]\nuid = 70004\ngecos = \"Dave Dee\"\n")
    });
    assert_eq!(ask("alice"), "Alice Brown");
    assert_eq!(ask("dave"), "Dave Dee");
    fixture.change_team(|team| edited(team, "uid = 70004", "uid = 70004\nstatus = \"suspended\""));
    assert_eq!(ask("dave"), "unknown");
    assert_eq!(host.run("getent passwd dave").status, 2);
    fixture.change_team(|team| edited(team, "status = \"suspended\"", "expires = 2020-01-01T00:00:00Z"));
    assert_eq!(ask("dave"), "unknown");
    host.must("hostward unenroll --yes");
    assert_eq!(ask("alice"), "unknown");
}

/// nscd remembers what it was told, also that somebody is unknown.
fn nscd_learns_of_each_change(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).without_package().boot();
    let host = &fixture.host;
    host.install_offered("nscd");
    host.must("systemctl is-active nscd");
    assert_eq!(host.run("getent passwd alice").status, 2);
    host.install(&hostward_host_tests::package());
    fixture.enroll();
    assert!(host.run("getent passwd alice").success(), "a negative entry from before is gone");
    assert!(host.run("getent group people").success());
    // A negative entry, made now.
    assert_eq!(host.run("getent passwd dave; getent group later").status, 2);
    fixture.change_team(|team| {
        let team = edited(team, "members = [\"alice\", \"bob\"]", "members = [\"alice\", \"dave\"]");
        format!("{team}\n[users.dave]\nuid = 70004\n[groups.later]\ngid = 71009\nmembers = [\"dave\"]\n")
    });
    assert!(host.run("getent passwd dave").success(), "{}", host.run("getent passwd dave"));
    assert!(host.run("getent group later").success());
    assert_eq!(host.run("getent passwd bob").status, 2, "a removed person is not remembered");
    assert_eq!(host.run("getent passwd 70002").status, 2);
    host.must("systemctl is-active nscd");
}

/// cron is the program that has looked names up before hostward came, and wakes once a minute: so all releases in one
/// test, which waits for that minute once.
#[test]
fn cron_runs_the_jobs_of_managed_people_on_every_release_without_a_restart_by_hand() {
    let labs: Vec<Lab> = Release::ALL.map(|_| new_lab()).into();
    let fixtures: Vec<Fixture<'_>> =
        labs.iter().zip(Release::ALL).map(|(lab, release)| cron_fixture(lab, release)).collect();
    for fixture in &fixtures {
        fixture.host.wait_for(Duration::from_secs(150), "the jobs of alice and dave", |host| {
            let output = host.run("cat /tmp/cron/alice /tmp/cron/dave");
            if output.success() { Ok(()) } else { Err(format!("{output}{}", host.journal("cron"))) }
        });
        assert_eq!(fixture.host.ok("stat -c %U /tmp/cron/alice /tmp/cron/dave"), "alice\ndave\n");
        assert_eq!(fixture.host.ok("head -n 1 /tmp/cron/alice /tmp/cron/dave | grep -c '^70'"), "2\n");
        let journal = fixture.host.journal("cron");
        assert!(!journal.contains("ORPHAN"), "{journal}");
    }
}

#[track_caller]
fn cron_fixture(lab: &Lab, release: Release) -> Fixture<'_> {
    let fixture = Fixture::on(lab, release).without_package().boot();
    let host = &fixture.host;
    // It has asked for somebody already, and glibc has read nsswitch.conf for it.
    host.must("mkdir -m 1777 /tmp/cron; systemctl is-active cron");
    host.write("/etc/cron.d/early", 0o644, "root:root", "* * * * * nobody true\n");
    host.must("systemctl restart cron; sleep 0.2");
    host.install(&hostward_host_tests::package());
    fixture.enroll();
    fixture.change_team(|team| {
        let team = edited(team, "members = [\"alice\", \"bob\"]", "members = [\"alice\", \"bob\", \"dave\"]");
        format!("{team}\n[users.dave]\nuid = 70004\n")
    });
    host.must("su - alice -c true; su - dave -c true");
    host.write("/etc/cron.d/managed", 0o644, "root:root", "* * * * * alice id -u >/tmp/cron/alice\n");
    host.must("echo '* * * * * id -u >/tmp/cron/dave' | crontab -u dave -");
    stop_everything(host);
    fixture
}

/// Groups of the host are the operator's to give.
#[test]
fn local_groups_are_joined_where_the_operator_allows_it() {
    let lab = new_lab();
    let team = edited(
        TEAM,
        "group = \"admins\"\nlogin = true",
        "group = \"admins\"\nlogin = true\nlocal_groups = [\"adm\", \"docker\"]",
    );
    let fixture = Fixture::on(&lab, Release::Bookworm)
        .team(&team)
        .configuration("[accounts]\nallow_local_groups = [\"adm\"]")
        .boot();
    fixture.host.must("groupadd --system docker");
    fixture.enroll();
    let groups = fixture.host.ok("id -Gn alice");
    let groups: Vec<_> = groups.split_whitespace().collect();
    assert!(groups.contains(&"adm"), "{groups:?}");
    assert!(!groups.contains(&"docker"), "{groups:?}");
    assert!(!fixture.host.ok("id -Gn bob").contains("adm"));
    assert_eq!(fixture.ssh_as("alice").run("id -Gn | tr ' ' '\\n' | grep -cx adm").expect_success(), "1\n");
    assert_eq!(
        fixture.host.ok("getent group adm | grep -c alice || true"),
        "0\n",
        "the local file is not touched"
    );
    let report = fixture.report();
    assert!(report.refusals.iter().any(|f| format!("{f:?}").contains("docker")), "{report:?}");
}
