//! Enrollment by token: what may go wrong with it, each with its own message and the host as it was; and the way out.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hostward_host_tests::{
    Fixture, PACKAGE, Release, SOON, Terminal, Tree, new_lab, on_each_release, package, wait_for,
};
use hostward_protocol::local::EnrollmentState;
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::token::EnrollmentToken;

on_each_release!(
    a_token_that_root_cannot_use_is_named_and_left_alone,
    a_token_that_the_backend_refuses_is_named_and_deleted,
    a_backend_out_of_reach_is_tried_again,
    a_certificate_that_does_not_verify_is_named,
    a_root_that_does_not_match_the_pin_changes_nothing,
    trust_starts_where_the_operator_says,
    a_token_that_appears_later_is_noticed_and_goes_after_success,
    a_clone_obeys_what_it_had_until_it_enrolls_anew,
    unenroll_undoes_everything_but_homes,
    a_clock_years_off_is_named,
);

const TOKEN: &str = "/etc/hostward/enrollment.token";
const TAKEN_TOKEN: &str = "/var/lib/hostward/private/enrollment.token";

/// A token with something in it changed.
#[track_caller]
fn altered(token: &str, change: impl FnOnce(&mut EnrollmentToken)) -> String {
    let json = URL_SAFE_NO_PAD.decode(token).expect("base64url");
    let mut token: EnrollmentToken = serde_json::from_slice(&json).expect("a token");
    change(&mut token);
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("JSON"))
}

/// What an operator is told of an enrollment that does not succeed: a refusal, or a problem that is tried again.
fn complaint(fixture: &Fixture<'_>) -> Option<Finding> {
    let status = fixture.agent_status();
    match status.enrollment {
        EnrollmentState::Refused { reason } => Some(reason),
        _ => status.problem,
    }
}

/// Waits until that complaint is the one called `code`, and sees it told to whoever looks: status, journal, doctor.
#[track_caller]
fn expect_complaint(fixture: &Fixture<'_>, code: &str) -> Finding {
    let (_, finding) =
        fixture.host.wait_for(SOON, &format!("the complaint `{code}`"), |_| match complaint(fixture) {
            Some(finding) if finding.code == code => Ok(finding),
            other => Err(format!("{other:?}")),
        });
    // Right after a boot what was seen may be what the agent wrote before.
    let (_, status) = fixture.host.wait_for(SOON, &format!("`hostward status` with {code}"), |_| {
        let status = fixture.hostward("status");
        if status.stdout.contains(&finding.message) { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(status.status, 1, "{status}");
    assert!(status.stdout.contains(&finding.mend), "{code}: {status}");
    assert!(!finding.mend.is_empty(), "{finding:?}");
    let journal = fixture.journal();
    assert!(journal.contains(&finding.message), "{code} is not in the journal: {finding:?}\n{journal}");
    let doctor = fixture.hostward("doctor");
    assert!(doctor.stdout.contains(&finding.message), "{code}: {doctor}");
    finding
}

/// Everything of the host that an enrollment might change. `/etc/hostward` is the operator's.
fn host_state(fixture: &Fixture<'_>) -> Tree {
    fixture.host.snapshot(&["/etc", "/var/lib/misc"]).without(&["/etc/hostward"])
}

#[track_caller]
fn assert_unchanged(fixture: &Fixture<'_>, before: &Tree, why: &str) {
    assert_eq!(before.changes(&host_state(fixture)), [""; 0], "{why}");
    assert_eq!(fixture.host.run("getent passwd alice").status, 2, "{why}");
    assert_eq!(
        fixture.host.run("getent group hostward-users").stdout.trim_end().split(':').nth(3),
        Some(""),
        "{why}"
    );
}

/// Files that root does not take a token from, and texts that are none.
fn a_token_that_root_cannot_use_is_named_and_left_alone(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let host = &fixture.host;
    let good = fixture.token();
    let before = host_state(&fixture);
    let unpinned = altered(&good, |token| (token.root_sha256, token.root_version) = (None, None));
    let half_pinned = altered(&good, |token| token.root_version = None);
    let plain = altered(&good, |token| token.url = token.url.replace("https", "http"));
    let with_password = altered(&good, |token| token.url = "https://a:b@backend.test/".to_owned());
    // Neighbours have different codes, so that each message is seen to be about its own token.
    let cases: &[(&str, &str, &dyn Fn())] = &[
        ("no base64url", "token-malformed", &|| fixture.place_token("this is no token")),
        ("http", "token-url-not-https", &|| fixture.place_token(&plain)),
        ("half of one", "token-malformed", &|| fixture.place_token(&good[..good.len() / 2])),
        ("group-readable", "token-readable-by-others", &|| {
            host.write(TOKEN, 0o640, "root:root", &good);
        }),
        ("somebody else's", "token-foreign-owner", &|| host.write(TOKEN, 0o600, "nobody:root", &good)),
        ("empty", "token-malformed", &|| host.write(TOKEN, 0o600, "root:root", "\n")),
        ("world-readable", "token-readable-by-others", &|| {
            host.write(TOKEN, 0o644, "root:root", &good);
        }),
        ("20 kB", "token-malformed", &|| fixture.place_token(&"A".repeat(20_000))),
        ("a link", "token-no-plain-file", &|| {
            host.write("/root/token", 0o600, "root:root", &good);
            host.must(&format!("ln -s /root/token /etc/hostward/new; mv -f /etc/hostward/new {TOKEN}"));
        }),
        ("a password in the URL", "token-url-not-https", &|| fixture.place_token(&with_password)),
        ("two names", "token-no-plain-file", &|| {
            host.must(&format!("ln /root/token /etc/hostward/new; mv -f /etc/hostward/new {TOKEN}"));
        }),
        ("no pin", "no-root-of-trust", &|| fixture.place_token(&unpinned)),
        ("a FIFO", "token-no-plain-file", &|| {
            host.must(&format!("mkfifo -m 600 /etc/hostward/new; mv -f /etc/hostward/new {TOKEN}"));
        }),
        ("half a pin", "token-malformed", &|| fixture.place_token(&half_pinned)),
    ];
    for (what, code, put) in cases {
        put();
        let finding = expect_complaint(&fixture, code);
        assert_eq!(finding.responsible, Responsible::Operator, "{what}: {finding:?}");
        assert!(host.exists(TOKEN), "{what}: what root does not take stays where it is");
        assert!(!host.exists(TAKEN_TOKEN), "{what}");
        assert_eq!(fixture.agent_status().next_attempt, None, "{what}: trying again is of no use");
    }
    assert_unchanged(&fixture, &before, "tokens that cannot be used");
    assert_eq!(fixture.client.hosts().expect("hosts").len(), 0);
    assert!(!fixture.journal().contains(&good[..40]), "no token is quoted in the journal");

    fixture.configure("[trust]\nproject = \"another\"");
    fixture.place_token(&good);
    expect_complaint(&fixture, "token-project-mismatch");
    assert_unchanged(&fixture, &before, "another project");

    // None of it was held against a token that can be used; it is noticed by itself.
    fixture.configure("");
    fixture.place_token(&good);
    host.wait_until_ok(SOON, "getent passwd alice");
}

/// The backend knows why a secret does not do; such a token is used up and goes.
fn a_token_that_the_backend_refuses_is_named_and_deleted(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let before = host_state(&fixture);
    let good = fixture.token();
    let hour = Duration::from_secs(3600);
    let cases = [
        ("token-unknown", altered(&good, |token| token.secret = "wrong".repeat(8))),
        ("token-expired", fixture.client.token(1, Duration::ZERO, true).expect("a token")),
        ("token-exhausted", fixture.client.token(0, hour, true).expect("a token")),
        ("project-mismatch", altered(&good, |token| token.project = "another".to_owned())),
    ];
    for (code, token) in cases {
        let output = fixture.try_enroll(&token, 30);
        assert_eq!(output.status, 1, "{output}");
        let finding = expect_complaint(&fixture, code);
        assert!(output.stderr.contains(&finding.message), "{output}");
        assert_eq!(finding.responsible, Responsible::Operator, "{finding:?}");
        assert_eq!(fixture.agent_status().next_attempt, None, "{code}: trying again is of no use");
        wait_for_the_end_of_the_token(&fixture);
        assert_unchanged(&fixture, &before, code);
    }
    // A restart does not forget why the host is not enrolled.
    fixture.host.must("systemctl restart hostward");
    expect_complaint(&fixture, "project-mismatch");
    fixture.enroll();
}

/// What may pass is tried again by itself: no operator comes back to a host once the backend is up.
fn a_backend_out_of_reach_is_tried_again(release: Release) {
    let lab = new_lab();
    let mut fixture = Fixture::installed(&lab, release);
    let before = host_state(&fixture);
    let good = fixture.token();
    let nowhere = altered(&good, |token| token.url = "https://nowhere.invalid".to_owned());
    fixture.place_token(&nowhere);
    let finding = expect_complaint(&fixture, "backend-name-unknown");
    assert!(finding.message.contains("nowhere.invalid"), "{finding:?}");
    assert!(fixture.agent_status().next_attempt.is_some());

    fixture.backend.stop();
    fixture.place_token(&good);
    let finding = expect_complaint(&fixture, "backend-connection-refused");
    assert!(fixture.agent_status().next_attempt.is_some());
    assert!(!fixture.host.exists(TOKEN), "root took the token to where nobody else reads it");
    assert_eq!(fixture.host.stat(TAKEN_TOKEN), "regular file 600 root:root");
    assert_eq!(fixture.host.stat("/var/lib/hostward/private"), "directory 700 root:root");
    assert_unchanged(&fixture, &before, &finding.message);
    // The taken token survives a power cut.
    fixture.host.cut_power();
    fixture.host.start().expect("a boot");
    expect_complaint(&fixture, "backend-connection-refused");

    fixture.backend.start();
    fixture.host.wait_until_ok(Duration::from_secs(60), "getent passwd alice");
    wait_for_the_end_of_the_token(&fixture);
}

/// A server that cannot prove who it is gets no secret.
fn a_certificate_that_does_not_verify_is_named(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let before = host_state(&fixture);
    let token = fixture.token();
    fixture.fault("tls-expired", &[]);
    fixture.place_token(&token);
    for (fault, code) in [
        ("tls-expired", "backend-certificate-expired"),
        ("tls-other-ca", "backend-certificate-unknown-issuer"),
        ("tls-other-name", "backend-certificate-wrong-name"),
    ] {
        fixture.no_faults();
        fixture.fault(fault, &[]);
        let _says_that_it_is_not_enrolled = fixture.hostward("sync");
        expect_complaint(&fixture, code);
        assert!(fixture.agent_status().next_attempt.is_some(), "{code}: somebody may mend it");
        assert_unchanged(&fixture, &before, code);
    }
    assert_eq!(fixture.client.hosts().expect("hosts").len(), 0, "the backend never heard of the host");
    fixture.no_faults();
    // Without the operator's CA the system's authorities count, and none of them vouches for this one.
    fixture.host.must("echo >/etc/hostward/hostward.toml; systemctl restart hostward");
    let finding = expect_complaint(&fixture, "backend-certificate-unknown-issuer");
    assert!(finding.mend.contains("ca_file"), "{finding:?}");
    fixture.configure("");
    fixture.host.must("systemctl reload hostward");
    fixture.host.wait_until_ok(SOON, "getent passwd alice");
}

/// The backend's word is not enough: what root pinned is what counts.
fn a_root_that_does_not_match_the_pin_changes_nothing(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let before = host_state(&fixture);
    let token = altered(&fixture.token(), |token| token.root_sha256 = Some("0".repeat(64)));
    let output = fixture.try_enroll(&token, 3);
    assert_eq!(output.status, 1, "{output}");
    fixture.wait_for_status(SOON, "the refusal", |status| {
        status.admission.as_ref().is_some_and(|finding| finding.code == "root-pin-mismatch")
    });
    let finding = fixture.status().admission.expect("a refusal");
    assert_eq!(finding.responsible, Responsible::Operator);
    let status = fixture.hostward("status");
    assert_eq!(status.status, 1, "{status}");
    assert!(status.stdout.contains(&finding.message), "{status}");
    assert!(fixture.journal().contains(&finding.message), "{}", fixture.journal());
    assert_unchanged(&fixture, &before, "a root that does not match the pin");
    assert!(!fixture.host.exists("/var/lib/misc/hostward.db"));

    // A token with the right pin is the way out.
    fixture.enroll();
    assert!(fixture.host.run("getent passwd alice").success());
    assert_eq!(fixture.status().admission, None);
}

/// The operator's pins, strongest first, and none at all.
fn trust_starts_where_the_operator_says(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let root = fixture.client.roots().expect("roots").remove(0);
    let good = fixture.token();
    let unpinned =
        |token: &str| altered(token, |token| (token.root_sha256, token.root_version) = (None, None));
    let enroll_again = |configuration: &str, token: &str, trust: &str| {
        fixture.configure(configuration);
        let output = fixture.try_enroll(token, 30);
        assert!(output.success(), "{trust}: {output}\n{}", fixture.journal());
        assert_eq!(fixture.status().trust.as_deref(), Some(trust));
        assert!(fixture.host.run("getent passwd alice").success());
        fixture.host.must("hostward unenroll --yes");
    };
    enroll_again("", &good, "token");
    let pin = format!("[trust]\nroot_sha256 = \"{}\"\nroot_version = {}", root.sha256, root.version);
    enroll_again(&pin, &unpinned(&fixture.token()), "configuration");
    // The configuration's pin is stronger than the token's.
    let lying = altered(&fixture.token(), |token| token.root_sha256 = Some("0".repeat(64)));
    enroll_again(&pin, &lying, "configuration");
    enroll_again("[trust]\nmode = \"first-use\"", &unpinned(&fixture.token()), "first-use");
    let bytes = published_root(&fixture);
    fixture.host.write("/etc/hostward/root.json", 0o644, "root:root", bytes);
    let wrong = format!("[trust]\nroot_sha256 = \"{}\"\nroot_version = 1", "1".repeat(64));
    let lying = altered(&fixture.token(), |token| token.root_sha256 = Some("2".repeat(64)));
    enroll_again(&wrong, &lying, "root.json");
}

/// The bytes of the first root, as anybody who reads the backend's state directory finds them.
#[track_caller]
fn published_root(fixture: &Fixture<'_>) -> Vec<u8> {
    let found = fixture.lab.run_args_in_network(
        &["find", &fixture.backend.state_dir().to_string_lossy(), "-name", "1.root.json"],
        &[],
    );
    let path = found.expect_success();
    std::fs::read(path.lines().next().expect("1.root.json")).expect("a root")
}

/// It goes once the enrollment is known to hold, which is not before accounts are there.
#[track_caller]
fn wait_for_the_end_of_the_token(fixture: &Fixture<'_>) {
    fixture.host.wait_for(SOON, "the end of the token", |host| {
        if host.exists(TOKEN) || host.exists(TAKEN_TOKEN) { Err("it is still there".into()) } else { Ok(()) }
    });
}

/// cloud-init and configuration management put the token there whenever they please.
fn a_token_that_appears_later_is_noticed_and_goes_after_success(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, release).name("db7").boot();
    fixture.wait_for_agent(SOON, "a host that waits", |s| s.enrollment == EnrollmentState::AwaitingToken);
    let waiting = fixture.hostward("status");
    assert_eq!(waiting.status, 1, "{waiting}");
    assert!(waiting.stdout.contains(TOKEN), "{waiting}");
    let token = fixture.token();
    let secret = {
        let json = URL_SAFE_NO_PAD.decode(&token).expect("base64url");
        serde_json::from_slice::<EnrollmentToken>(&json).expect("a token").secret
    };
    fixture.place_token(&token);
    fixture.host.wait_until_ok(SOON, "getent passwd alice");
    fixture.wait_for_status(SOON, "the end of the first pass", |status| status.policy.is_some());
    wait_for_the_end_of_the_token(&fixture);
    // Nothing on the host remembers it.
    let left = fixture.host.run(&format!(
        "grep -rlF -e {secret} -e {token} /etc /run /tmp /var/lib /var/log /var/tmp 2>/dev/null"
    ));
    assert_eq!(left.stdout, "", "the secret is left in files");
    assert!(!fixture.journal().contains(&secret));

    let hosts = fixture.client.hosts().expect("hosts");
    let [enrolled] = &hosts[..] else { panic!("one host: {hosts:?}") };
    let info = &enrolled.host.info;
    assert_eq!(info.hostname, "db7");
    assert_eq!(info.os, "debian");
    assert_eq!(info.architecture, "x86_64");
    assert_eq!(info.ssh_host_keys.len(), fixture.host.ok("ls /etc/ssh/ssh_host_*.pub").lines().count());
    let machine_id = fixture.host.read("/etc/machine-id");
    assert!(!serde_json::to_string(info).expect("JSON").contains(machine_id.trim()));
    let status = fixture.status();
    assert_eq!(status.project.as_deref(), Some("acme"));
    assert_eq!(status.trust.as_deref(), Some("token"));
    assert_eq!(status.users, 2);
    assert_eq!(fixture.hostward("status").status, 0, "{}", fixture.hostward("status"));
}

/// A copied disk must not speak as the original, and must not lock anybody out either.
fn a_clone_obeys_what_it_had_until_it_enrolls_anew(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    let original = fixture.client.hosts().expect("hosts").remove(0).host.id;
    host.must("tr 0-9a-f 1-9a-f0 </etc/machine-id >/etc/machine-id.new");
    host.must("cat /etc/machine-id.new >/etc/machine-id; rm /etc/machine-id.new; systemctl restart hostward");
    fixture.wait_for_agent(SOON, "a clone", |status| {
        status.enrollment == EnrollmentState::Clone { host_id: original.clone() }
    });
    let status = fixture.hostward("status");
    assert_eq!(status.status, 1, "{status}");
    assert!(status.stdout.contains(&original) && status.stdout.contains(TOKEN), "{status}");

    // What it had goes on, drift repair included; what is new does not reach it.
    host.must("getent passwd alice");
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id -u").success());
    host.must("rm /etc/sudoers.d/hostward");
    assert!(fixture.apply().is_whole());
    assert!(host.exists("/etc/sudoers.d/hostward"));
    let before = fixture.client.hosts().expect("hosts").remove(0).host.last_seen;
    let version = fixture.publish(|team| format!("{team}\n[users.dave]\nuid = 70004\n"));
    assert_eq!(fixture.hostward("sync").status, 1, "a clone has nobody to ask as");
    assert!(fixture.status().policy.expect("a policy").version < version);
    let after = fixture.client.hosts().expect("hosts").remove(0).host.last_seen;
    assert_eq!(before, after, "the clone used the original's identity");

    fixture.enroll();
    fixture.wait_for_version(version);
    let hosts = fixture.client.hosts().expect("hosts");
    assert_eq!(hosts.len(), 2, "the original is not touched: {hosts:?}");
    let EnrollmentState::Enrolled { host_id, .. } = fixture.agent_status().enrollment else {
        panic!("{:?}", fixture.agent_status());
    };
    assert_ne!(host_id, original);
    let identity = host.run(&format!("grep -rl {original} /var/lib/hostward-agent"));
    assert_eq!(identity.stdout, "", "the original's identity is discarded");
    assert_eq!(fixture.hostward("status").status, 0, "{}", fixture.hostward("status"));
}

/// Leaving is as easy as coming.
fn unenroll_undoes_everything_but_homes(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let host = &fixture.host;
    let etc = host.snapshot_etc();
    let state = host.snapshot(&["/var/lib/hostward", "/var/lib/hostward-agent", "/var/lib/misc"]);
    fixture.enroll();
    assert!(!etc.changes(&host.snapshot_etc()).is_empty());
    let mut session = fixture.session("alice", Terminal::Yes, "echo kept >~/kept");
    assert_eq!(fixture.client.hosts().expect("hosts").len(), 1);

    let asked = host.run("hostward unenroll </dev/null");
    assert_eq!(asked.status, 2, "{asked}");
    assert!(asked.stderr.contains("--yes"), "{asked}");
    assert!(session.is_running());
    host.must("hostward unenroll --yes");
    let _ = session.wait(SOON);
    assert_eq!(etc.changes(&host.snapshot_etc()), [""; 0]);
    assert_eq!(fixture.client.hosts().expect("hosts").len(), 0, "the backend knows");
    assert_eq!(host.run("getent passwd alice").status, 2);
    assert_eq!(host.ok("cat /home/alice/kept"), "kept\n");
    assert_eq!(host.ok("stat -c %u:%g /home/alice"), "70001:70001\n");
    let left =
        state.changes(&host.snapshot(&["/var/lib/hostward", "/var/lib/hostward-agent", "/var/lib/misc"]));
    let allowed =
        ["/var/lib/hostward/status.json", "/var/lib/hostward/report.json", "/var/lib/hostward/private"];
    let unexpected: Vec<_> = left
        .iter()
        .filter(|change| !allowed.iter().any(|path| change.contains(&format!(" {path} "))))
        .filter(|change| !change.contains(" /var/lib/hostward-agent/"))
        // Who was here stays on record.
        .filter(|change| !change.contains(" /var/lib/hostward/records/"))
        .collect();
    assert_eq!(unexpected, [""; 0]);
    assert_eq!(
        host.run("find /var/lib/hostward-agent/identity /var/lib/hostward-agent/inbox -type f").stdout,
        ""
    );
    let status = fixture.hostward("status");
    assert_eq!(status.status, 1, "{status}");
    assert!(status.stdout.contains("put an enrollment token"), "{status}");
    assert!(!fixture.ssh_as("alice").run("true").success());

    let nothing = fixture.hostward("unenroll --yes");
    assert!(nothing.success() && nothing.stdout.contains("was not enrolled"), "{nothing}");

    // It can come back, and leave without a word; the agent is started for that.
    fixture.enroll();
    host.must("systemctl stop hostward.service");
    let silent = fixture.hostward("unenroll --local --yes");
    let listed = fixture.client.hosts().expect("hosts").remove(0).host.id;
    assert!(silent.success() && silent.stdout.contains(&listed), "{silent}");
    assert_eq!(host.run("find /var/lib/hostward-agent/identity -type f").stdout, "");
    assert_eq!(fixture.hostward("sync").status, 1, "it is not enrolled");
    assert_eq!(etc.changes(&host.snapshot_etc()), [""; 0]);
    // Where it cannot be started, what is left is said.
    fixture.enroll();
    host.must("systemctl stop hostward.socket hostward.service");
    let left = fixture.hostward("unenroll --local --yes");
    assert_eq!(left.status, 1, "{left}");
    assert!(left.stderr.contains("left: /var/lib/hostward-agent/identity"), "{left}");
    assert_eq!(etc.changes(&host.snapshot_etc()), [""; 0], "root's part is done all the same");
    host.must("systemctl start hostward.socket; hostward unenroll --local --yes");
    assert_eq!(host.run("find /var/lib/hostward-agent/identity -type f").stdout, "");

    // It can leave while nobody listens.
    let mut fixture = fixture;
    fixture.enroll();
    assert!(fixture.ssh_as("alice").run("test -e ~/kept").success());
    fixture.backend.stop();
    let output = fixture.hostward("unenroll --yes");
    assert_eq!(output.status, 1, "the backend has to be told by hand: {output}");
    assert!(output.stderr.contains("by hand"), "{output}");
    assert_eq!(etc.changes(&fixture.host.snapshot_etc()), [""; 0]);
    assert_eq!(fixture.host.run("getent passwd alice").status, 2);
}

/// Clocks that differ are told apart from keys that do.
fn a_clock_years_off_is_named(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, release);
    let host = &fixture.host;
    let before = host_state(&fixture);
    let token = fixture.token();
    // This host's clock as the agent sees it: the machine's own belongs to all.
    host.install_offered("faketime");
    let library = host.ok("dpkg -L libfaketime | grep '/libfaketimeMT.so.1$'");
    let dropin = |shift: &str| {
        format!(
            "[Service]\nEnvironment=LD_PRELOAD={} FAKETIME={shift} FAKETIME_DONT_FAKE_MONOTONIC=1\n\
             Environment=FAKETIME_NO_CACHE=1\nMemoryDenyWriteExecute=no\n",
            library.trim()
        )
    };
    let place = "/run/systemd/system/hostward.service.d/clock.conf";
    host.write(place, 0o644, "root:root", dropin("-3650d"));
    host.must("systemctl daemon-reload; systemctl restart hostward");
    fixture.place_token(&token);
    let finding = expect_complaint(&fixture, "backend-certificate-not-yet-valid");
    assert!(finding.mend.contains("clock"), "{finding:?}");
    assert!(fixture.agent_status().next_attempt.is_some());
    host.write(place, 0o644, "root:root", dropin("+3650d"));
    host.must("systemctl daemon-reload; systemctl restart hostward");
    let finding = expect_complaint(&fixture, "backend-certificate-expired");
    assert!(finding.message.contains("this host's clock says"), "{finding:?}");
    assert_unchanged(&fixture, &before, "a clock years off");
    host.must(&format!("rm {place}; systemctl daemon-reload; systemctl restart hostward"));
    host.wait_until_ok(SOON, "getent passwd alice");
    host.must("hostward unenroll --yes");

    // Two clocks that differ and certificates that do not mind: credentials follow the backend's, and it is said.
    let offset = 2 * 365 * 86_400;
    fixture.fault("clock", &[&format!("offset={offset}")]);
    fixture.enroll();
    fixture.wait_for_agent(SOON, "the clock's offset", |status| {
        status.clock_offset.is_some_and(|seen| (seen - offset).abs() < 60)
    });
    let status = fixture.hostward("status");
    assert!(status.stdout.contains("this host's clock is 2 years behind the backend's"), "{status}");
    let doctor = fixture.hostward("doctor");
    assert!(doctor.stdout.contains("BAD   clock"), "{doctor}");
}

/// `hostward enroll` says at once what it can say at once.
#[test]
fn the_enroll_command_refuses_what_is_no_token() {
    let lab = new_lab();
    let fixture = Fixture::installed(&lab, Release::Bookworm);
    for (text, why) in [("", "empty"), ("nonsense!", "whole line")] {
        let output = fixture.try_enroll(text, 5);
        assert_eq!(output.status, 2, "{output}");
        assert!(output.stderr.contains(why), "{output}");
        assert!(!fixture.host.exists(TOKEN));
    }
    // What root refuses is not waited for, however often it is the same.
    let token = fixture.token();
    let plain = altered(&token, |token| token.url = token.url.replace("https", "http"));
    let unpinned = altered(&token, |token| (token.root_sha256, token.root_version) = (None, None));
    for (token, why) in [(&plain, "https"), (&plain, "https"), (&unpinned, "root of trust")] {
        let start = Instant::now();
        let output = fixture.try_enroll(token, 600);
        assert_eq!(output.status, 1, "{output}");
        assert!(output.stderr.contains(why) && !output.stderr.contains("keeps trying"), "{output}");
        assert!(start.elapsed() < Duration::from_secs(60), "it waited {:?}", start.elapsed());
    }
    // An enrolled host stays what it is, and is not called what it was.
    fixture.enroll();
    let output = fixture.try_enroll(&plain, 600);
    assert_eq!(output.status, 1, "{output}");
    assert!(
        !output.stdout.contains("enrolled as host") && output.stderr.contains("stays enrolled as"),
        "{output}"
    );
    fixture.host.must("hostward unenroll --yes");

    let mut fixture = fixture;
    let token = fixture.token();
    fixture.backend.stop();
    let output = fixture.try_enroll(&token, 2);
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stderr.contains("keeps trying"), "{output}");
}

/// An image with the package and the token in it, booted: nobody is there to run a command.
#[test]
fn a_host_enrolls_by_itself_when_it_boots_with_a_token() {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, Release::Trixie).boot();
    fixture.host.must("systemctl stop hostward");
    fixture.place_token(&fixture.token());
    fixture.host.power_off().expect("a shutdown");
    fixture.host.start().expect("a boot");
    let (took, _) = fixture.host.wait_until_ok(SOON, "getent passwd alice");
    println!("accounts were there {took:?} after the boot");
    assert_eq!(fixture.host.ok("systemctl is-system-running").trim(), "running");
    // The whole image again, without its package: nothing is left of the token either.
    fixture.host.purge(PACKAGE);
    fixture.host.install(&package());
    wait_for(SOON, "a host that waits for a token", || {
        let status = fixture.hostward("status");
        if status.stdout.contains("put an enrollment token") { Ok(()) } else { Err(status.to_string()) }
    });
}
