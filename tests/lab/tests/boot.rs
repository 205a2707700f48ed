//! The lab itself: what other tests rely on, on each release.

use std::time::{Duration, Instant};

use hostward_lab::{Lab, Release, State, Terminal};

const SOON: Duration = Duration::from_secs(60);

fn on_each_release(test: impl Fn(&Lab, Release)) {
    for release in Release::ALL {
        let lab = Lab::new().expect("a lab");
        test(&lab, release);
    }
}

#[test]
fn a_host_boots_whole_and_has_a_network() {
    on_each_release(|lab, release| {
        let start = Instant::now();
        let host = lab.host("web1", release).hostname("web1.example.com").boot().expect("a host");
        println!("{release}: booted in {:?}", start.elapsed());
        assert_eq!(
            host.ok("systemctl is-system-running").trim(),
            "running",
            "{}",
            host.ok("systemctl --failed")
        );
        assert_eq!(host.ok("hostname -f").trim(), "web1.example.com");
        assert_eq!(host.ok(". /etc/os-release; echo $VERSION_CODENAME").trim(), release.suite());
        assert_eq!(host.ok("cat /proc/1/comm").trim(), "systemd");
        assert_eq!(host.ok("systemctl is-active ssh cron dbus systemd-logind"), "active\n".repeat(4));
        let greeting = lab.run_in_network("bash -c 'exec 3<>/dev/tcp/web1.example.com/22; head -c 4 <&3'");
        assert_eq!(greeting.stdout, "SSH-", "{greeting}");
    });
}

#[test]
fn commands_report_status_output_and_user() {
    let lab = Lab::new().expect("a lab");
    let host = lab.host("web1", Release::Bookworm).boot().expect("a host");
    let output = host.run("echo out; echo err >&2; exit 3");
    assert_eq!((output.status, &*output.stdout, &*output.stderr), (3, "out\n", "err\n"));
    assert_eq!(host.run_within(Duration::from_secs(1), "sleep 30").status, 124);
    assert_eq!(host.run_with_input("tr a-z A-Z", b"shout").stdout, "SHOUT");
    host.must("useradd --create-home alice");
    assert_eq!(host.run_as("alice", "id -un; echo $HOME; ").stdout, "alice\n/home/alice\n");
    let start = Instant::now();
    host.must("nohup sleep 60 & echo left behind");
    assert!(start.elapsed() < Duration::from_secs(30), "a daemon keeps nobody waiting");
}

#[test]
fn files_are_written_whole_and_compared() {
    let lab = Lab::new().expect("a lab");
    let host = lab
        .host("web1", Release::Bookworm)
        .with_file("/etc/hostward/seeded", 0o600, "seed")
        .boot()
        .expect("a host");
    assert_eq!(host.read("/etc/hostward/seeded"), "seed");
    assert_eq!(host.stat("/etc/hostward/seeded"), "regular file 600 root:root");
    let before = host.snapshot_etc();
    assert!(before.0.len() > 300, "{} entries", before.0.len());
    assert_eq!(before.changes(&host.snapshot_etc()), [""; 0]);
    host.write("/etc/new file", 0o640, "root:daemon", "content");
    host.must("rm /etc/motd; chmod 600 /etc/issue");
    let changes = before.changes(&host.snapshot_etc()).join("\n");
    assert!(changes.contains("+ /etc/new file f 640 0:1 ed7002b4"), "{changes}");
    assert!(changes.contains("- /etc/motd "), "{changes}");
    assert!(changes.contains("~ /etc/issue "), "{changes}");
    assert_eq!(changes.lines().filter(|line| !line.contains(" /etc d ")).count(), 3, "{changes}");
}

#[test]
fn a_reboot_keeps_the_disk_and_nothing_else() {
    on_each_release(|lab, release| {
        let host = lab.host("web1", release).boot().expect("a host");
        host.must("echo kept >/root/kept; echo gone >/run/marker; useradd keeper");
        host.reboot().expect("a reboot");
        assert_eq!(host.ok("cat /root/kept; getent passwd keeper | cut -d: -f1"), "kept\nkeeper\n");
        assert!(!host.exists("/run/marker"));
        host.cut_power();
        host.start().expect("a boot");
        assert_eq!(host.ok("cat /root/kept"), "kept\n");
    });
}

#[test]
fn a_host_that_reboots_by_itself_comes_back_and_one_that_is_off_says_so() {
    on_each_release(|lab, release| {
        let host = lab.host("web1", release).boot().expect("a host");
        assert_eq!(host.state(), State::Running);
        host.must("echo kept >/root/kept; echo gone >/run/marker; systemctl reboot --no-block");
        host.wait_for(SOON, "another boot", |host| match host.state() {
            State::Running if host.run("test ! -e /run/marker").success() => Ok(()),
            state => Err(format!("{state:?}")),
        });
        assert_eq!(host.ok("cat /root/kept"), "kept\n");
        host.power_off().expect("a shutdown");
        assert_eq!(host.state(), State::Off);
        host.start().expect("a boot");
        assert_eq!(host.state(), State::Running);
    });
}

#[test]
fn offered_packages_install_offline() {
    on_each_release(|lab, release| {
        let host = lab.host("web1", release).boot().expect("a host");
        let names =
            if release == Release::Trixie { "nscd faketime sudo-rs rsync" } else { "nscd faketime rsync" };
        host.install_offered(names);
        host.must("systemctl is-active nscd");
    });
}

#[test]
fn a_login_by_key_and_a_session_that_stays_open() {
    on_each_release(|lab, release| {
        let host = lab.host("web1", release).boot().expect("a host");
        let key = lab.ssh_key("root").expect("a key");
        let public = std::fs::read(key.with_extension("pub")).expect("its public half");
        host.write("/root/.ssh/authorized_keys", 0o600, "root:root", public);
        let login = lab.login(&host, "root").key(&key);
        assert_eq!(login.run("id -un").expect_success(), "root\n");
        let mut session = login.open(Terminal::Yes, "echo here; exec sleep 600");
        host.wait_for(Duration::from_secs(10), "the session", |_| {
            if session.stdout().contains("here") { Ok(()) } else { Err(session.stderr()) }
        });
        assert!(session.is_running());
        host.must("pkill -9 -x sleep");
        assert_ne!(session.wait(Duration::from_secs(10)).status, 0);
    });
}

#[test]
fn a_small_disk_fills_up() {
    let lab = Lab::new().expect("a lab");
    let host = lab.host("web1", Release::Bookworm).disk_mib(64).boot().expect("a host");
    let full = host.run("dd if=/dev/zero of=/var/filler bs=1M");
    assert!(full.stderr.contains("No space left on device"), "{full}");
    host.must("rm /var/filler");
    host.reboot().expect("a reboot");
    host.must("test ! -e /var/filler");
}

#[test]
fn an_unplugged_host_is_out_of_reach() {
    let lab = Lab::new().expect("a lab");
    let host = lab.host("web1", Release::Bookworm).boot().expect("a host");
    let knock = format!("timeout 2 bash -c '</dev/tcp/{}/22'", host.address());
    assert!(lab.run_in_network(&knock).success());
    host.unplug().expect("unplugged");
    assert!(!lab.run_in_network(&knock).success());
    host.plug().expect("plugged");
    host.wait_for(Duration::from_secs(10), "the network", |_| {
        let output = lab.run_in_network(&knock);
        if output.success() { Ok(()) } else { Err(output.to_string()) }
    });
}

#[test]
fn nothing_is_left_when_a_lab_ends_in_a_panic() {
    let name = std::panic::catch_unwind(|| {
        let lab = Lab::new().expect("a lab");
        let host = lab.host("web1", Release::Bookworm).boot().expect("a host");
        let directory = lab.directory("x").expect("a directory");
        std::panic::panic_any((host.address(), directory));
    })
    .expect_err("a panic");
    let (_, directory) = *name.downcast::<(String, std::path::PathBuf)>().expect("what was thrown");
    let run = directory.parent().expect("the run directory");
    assert!(!run.exists());
    let id = run.file_name().expect("an id").to_string_lossy().into_owned();
    let namespaces = std::fs::read_dir("/run/netns").expect("namespaces").flatten();
    let left: Vec<_> = namespaces.filter(|entry| entry.file_name().to_string_lossy().contains(&id)).collect();
    assert!(left.is_empty(), "{left:?}");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(&id));
}
