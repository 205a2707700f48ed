//! What the processes may do, as the kernel and systemd see it.

use std::time::{Duration, Instant};

use hostward_host_tests::{Fixture, Release, SOON, edited, new_lab, on_each_release};

on_each_release!(each_process_has_no_more_than_it_needs, fifty_applies_in_a_row, nobody_but_root_can_ask,);

/// A number of /proc/PID/status.
#[track_caller]
fn status_of(fixture: &Fixture<'_>, pid: &str, field: &str) -> String {
    let line = fixture.host.ok(&format!("grep '^{field}:' /proc/{pid}/status"));
    line.split_once(':')
        .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_default()
}

#[track_caller]
fn main_pid(fixture: &Fixture<'_>, unit: &str) -> String {
    fixture.host.ok(&format!("systemctl show --property=MainPID --value {unit}")).trim().to_owned()
}

/// The overall level that `systemd-analyze security` gives, 0.0 to 10.0.
#[track_caller]
fn exposure(fixture: &Fixture<'_>, unit: &str) -> f32 {
    let output = fixture.host.ok(&format!("systemd-analyze --no-pager security {unit}"));
    let level =
        output.lines().find_map(|line| line.split_once("Overall exposure level for").map(|(_, rest)| rest));
    let level =
        level.and_then(|rest| rest.split(": ").nth(1)).and_then(|rest| rest.split_whitespace().next());
    level.and_then(|level| level.parse().ok()).unwrap_or_else(|| panic!("no level in:\n{output}"))
}

/// The agent is nobody in particular; apply is root without a network, and gone when there is nothing to do.
fn each_process_has_no_more_than_it_needs(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    fixture.stop_timer();

    let agent = main_pid(&fixture, "hostward.service");
    let hostward = host.ok("id -u hostward; id -g hostward");
    let (uid, gid) = hostward.trim().split_once('\n').expect("two ids");
    assert_eq!(status_of(&fixture, &agent, "Uid"), [uid; 4].join(" "));
    assert_eq!(status_of(&fixture, &agent, "Gid"), [gid; 4].join(" "));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_of(&fixture, &agent, set), "0".repeat(16), "{set}");
    }
    assert_eq!(status_of(&fixture, &agent, "NoNewPrivs"), "1");
    assert_eq!(status_of(&fixture, &agent, "Seccomp"), "2");
    assert!(uid.parse::<u32>().expect("a uid") < 1000, "a system user: {uid}");
    assert!(
        host.ok("getent passwd hostward hostward-principals")
            .lines()
            .all(|line| line.ends_with("/usr/sbin/nologin"))
    );
    assert_eq!(
        host.run("pgrep -u hostward-principals").stdout,
        "",
        "nothing but the principals command runs as it"
    );

    // The only places that the agent can write to.
    let writable = host
        .ok("find / -xdev \\( -path /proc -o -path /sys -o -path /tmp -o -path /var/tmp \\) -prune -o \
         \\( -user hostward -o -group hostward -perm /020 \\) -print");
    for path in writable.lines() {
        let is_its_own = [
            "/var/lib/hostward-agent",
            "/var/lib/hostward-step-ca",
            "/var/log/hostward",
            "/run/hostward/metrics",
        ]
        .iter()
        .any(|own| path.starts_with(own));
        assert!(is_its_own || path == "/run/hostward/apply.sock", "{path}");
    }
    let inside = host.run(&format!(
        "nsenter -t {agent} -m setpriv --reuid=hostward --regid=hostward --clear-groups \
         sh -c 'for d in / /etc /etc/hostward /var/lib /var/lib/hostward /var/lib/misc /run /run/hostward /home; do \
         touch $d/x 2>/dev/null && echo $d; done; touch /var/lib/hostward-agent/x && rm /var/lib/hostward-agent/x'"
    ));
    assert!(inside.success() && inside.stdout.is_empty(), "the agent writes to {inside}");

    host.must("hostward apply");
    let apply = main_pid(&fixture, "hostward-apply.service");
    assert_ne!(apply, "0", "it stays for a while");
    assert_eq!(status_of(&fixture, &apply, "Uid"), "0 0 0 0");
    // CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETUID and no other.
    let set = u64::from_str_radix(&status_of(&fixture, &apply, "CapEff"), 16).expect("a set");
    assert_eq!(set & !0b1010_1011, 0, "{set:x}");
    assert_eq!(status_of(&fixture, &apply, "CapBnd"), status_of(&fixture, &apply, "CapEff"));
    assert_eq!(status_of(&fixture, &apply, "NoNewPrivs"), "1");
    assert_eq!(status_of(&fixture, &apply, "Seccomp"), "2");
    let links = host.ok(&format!("nsenter -t {apply} -n ip -o link"));
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains(": lo:"), "{links}");
    let inet = host.run(&format!("ls -l /proc/{apply}/fd; nsenter -t {apply} -n ss -Htunapl"));
    assert!(!inet.stdout.contains("tcp") && !inet.stdout.contains("udp"), "{inet}");
    let agent_links = host.ok(&format!("nsenter -t {agent} -n ip -o link"));
    assert!(agent_links.contains("host0"), "{agent_links}");

    for (unit, most) in
        [("hostward.service", 1.5), ("hostward-apply.service", 2.0), ("hostward-drift.service", 1.5)]
    {
        let level = exposure(&fixture, unit);
        assert!(level <= most, "{unit}: {level}, at most {most}");
        println!("{}: {unit} {level}", fixture.host.release());
    }
}

/// Thirty seconds without a request: all releases in one test, which waits for that once.
#[test]
fn apply_is_gone_when_it_is_idle_and_comes_when_there_is_work() {
    let labs = Release::ALL.map(|_| new_lab());
    let fixtures: Vec<Fixture<'_>> =
        labs.iter().zip(Release::ALL).map(|(lab, release)| Fixture::enrolled(lab, release)).collect();
    for fixture in &fixtures {
        fixture.stop_timer();
        fixture.host.must("hostward apply");
    }
    let used = Instant::now();
    for fixture in &fixtures {
        fixture.host.wait_for(Duration::from_secs(60), "the end of an idle hostward-apply", |_| {
            match main_pid(fixture, "hostward-apply.service").as_str() {
                "0" => Ok(()),
                pid => Err(format!("still process {pid}, {:?} after its last use", used.elapsed())),
            }
        });
        let state = fixture.host.ok("systemctl show --property=ActiveState --value hostward-apply.service");
        assert_eq!(state, "inactive\n", "not failed");
        fixture.change_team(|team| edited(team, "Alice Adams", "Alice Brown"));
        assert_ne!(main_pid(fixture, "hostward-apply.service"), "0");
    }
}

/// However often it is asked, and however often it has to be started for that.
fn fifty_applies_in_a_row(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    host.must("for n in $(seq 50); do hostward apply --quiet || exit 1; done");
    // Each with a start of its own: neither service nor socket may give up.
    host.must("for n in $(seq 15); do hostward apply --quiet && systemctl kill --signal=KILL hostward-apply.service; done");
    host.must("for n in $(seq 10); do systemctl start hostward-drift.service || exit 1; done");
    host.must("systemctl reset-failed hostward-apply.service; hostward apply");
    assert_eq!(host.ok("systemctl is-active hostward-apply.socket hostward.socket").trim(), "active\nactive");
    // Every part works after it, in the sandbox.
    host.must("rm /etc/sudoers.d/hostward /etc/ssh/sshd_config.d/10-hostward.conf");
    let report = fixture.apply();
    assert!(report.is_whole(), "{report:#?}");
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
}

/// Who may ask what: the sockets, as somebody who is not root sees them.
fn nobody_but_root_can_ask(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    host.must("useradd local");
    for socket in ["apply", "agent"] {
        for user in ["local", "alice", "nobody", "hostward-principals"] {
            let output = host.run_as(user, &ask(socket, r#"{"request":"admit"}"#));
            assert!(!output.success() && output.stderr.contains("PermissionError"), "{user}: {output}");
        }
    }
    let output = host.run_as("hostward", &ask("agent", r#"{"request":"sync"}"#));
    assert!(!output.success() && output.stderr.contains("PermissionError"), "{output}");
    // The agent may have the inbox admitted. It may not unenroll the host, nor plan, nor have it explained.
    let admitted = host.run_as("hostward", &ask("apply", r#"{"request":"admit"}"#));
    assert!(admitted.stdout.contains(r#""reply":"report""#), "{admitted}");
    for request in [
        r#"{"request":"unenroll"}"#,
        r#"{"request":"apply","cause":"operator"}"#,
        r#"{"request":"plan"}"#,
        r#"{"request":"explain","user":"alice"}"#,
        r#"{"request":"shell"}"#,
        r#"{"request":"admit","pin":"0"}"#,
        "[]",
    ] {
        let output = host.run_as("hostward", &ask("apply", request));
        for reply in ["report", "text", "ok", "enrollment"] {
            assert!(!output.stdout.contains(&format!(r#""reply":"{reply}""#)), "{request}: {output}");
        }
    }
    assert!(host.run("getent passwd alice").success(), "still enrolled");
    assert!(host.exists("/var/lib/hostward/trust.json"));
    // Somebody who says nothing keeps nobody else from asking.
    let silent = host.spawn(&hold("apply"));
    host.wait_for(SOON, "a silent client", |_| {
        if silent.stdout().contains("connected") { Ok(()) } else { Err(silent.stderr()) }
    });
    host.must("timeout 20 hostward apply");
    drop(silent);
}

/// A command that sends `request` to a socket and prints the answer.
fn ask(socket: &str, request: &str) -> String {
    format!(
        "python3 -c '\nimport socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\n\
         s.connect(\"/run/hostward/{socket}.sock\")\ns.sendall(sys.argv[1].encode() + b\"\\n\")\n\
         while True:\n    part = s.recv(65536)\n    if not part: break\n    print(part.decode(), end=\"\")\n' '{request}'"
    )
}

/// A command that connects and says nothing.
fn hold(socket: &str) -> String {
    format!(
        "exec python3 -c '\nimport socket, time\ns = socket.socket(socket.AF_UNIX)\ns.connect(\"/run/hostward/{socket}.sock\")\n\
         print(\"connected\", flush=True)\ntime.sleep(600)\n'"
    )
}
