//! Policy on a host: what is refused of it, what is refused as a whole, and what goes on while the backend is silent.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use hostward_host_tests::{Fixture, Release, SOON, TEAM, edited, new_lab, on_each_release};
use hostward_mock_backend::keys::Role;
use hostward_protocol::report::{Finding, Responsible, Staleness};

on_each_release!(
    hostile_entries_are_refused_one_by_one_and_the_rest_is_in_force,
    everything_goes_on_while_the_backend_is_down,
    a_policy_past_max_offline_is_kept_or_locked_as_the_operator_chose,
    a_policy_that_cannot_be_believed_leaves_the_last_good_one_in_force,
    new_root_keys_are_followed_and_old_ones_refused,
);

/// Entries that no host may obey, with what the report calls them. Entitlements and grants are alice's, who must
/// keep everything else that she has.
const HOSTILE: &str = r#"
[raw]
users = [
    '{"id": "x-root", "name": "root", "uid": 70100, "gid": 71001}',
    '{"id": "x-daemon", "name": "daemon", "uid": 70101, "gid": 71001}',
    '{"id": "x-option", "name": "-rf", "uid": 70102, "gid": 71001}',
    '{"id": "x-colon", "name": "a:b", "uid": 70103, "gid": 71001}',
    '{"id": "x-long", "name": "aaaaaaaaaabbbbbbbbbbccccccccccddd", "uid": 70104, "gid": 71001}',
    '{"id": "x-zero", "name": "zero", "uid": 0, "gid": 71001}',
    '{"id": "x-low", "name": "low", "uid": 999, "gid": 71001}',
    '{"id": "x-nobody", "name": "nobody2", "uid": 65534, "gid": 71001}',
    '{"id": "x-dynamic", "name": "dynamic", "uid": 61184, "gid": 71001}',
    '{"id": "x-local", "name": "newname", "uid": 4711, "gid": 71001}',
    '{"id": "x-subuid", "name": "subuid", "uid": 100010, "gid": 71001}',
    '{"id": "x-home", "name": "homeless", "uid": 70110, "gid": 71001, "home": "/etc"}',
    '{"id": "x-dots", "name": "dots", "uid": 70111, "gid": 71001, "home": "/home/../root"}',
    '{"id": "x-shell", "name": "shellless", "uid": 70112, "gid": 71001, "shell": "/bin/evil"}',
    '{"id": "x-gecos", "name": "gecos", "uid": 70113, "gid": 71001, "gecos": "a\nroot2:x:0:0::/root:/bin/sh"}',
    '{"id": "x-twin1", "name": "twin1", "uid": 70114, "gid": 71001}',
    '{"id": "x-twin2", "name": "twin2", "uid": 70114, "gid": 71001}',
    '{"id": "x-shape", "name": "shape", "uid": "70115", "gid": 71001}',
]
groups = [
    '{"id": "g-docker", "name": "sudo", "gid": 71100, "members": ["u-alice"]}',
    '{"id": "g-zero", "name": "zerogroup", "gid": 0, "members": ["u-alice"]}',
    '{"id": "g-sudo", "name": "sudoers", "gid": 27, "members": ["u-alice"]}',
    '{"id": "g-ours", "name": "hostward-users", "gid": 71101, "members": ["u-alice"]}',
    '{"id": "g-evil", "name": "evil", "gid": 71102, "members": ["x-root", "x-daemon", "x-option", "x-colon", "x-long", "x-zero", "x-low", "x-nobody", "x-dynamic", "x-local", "x-subuid", "x-home", "x-dots", "x-shell", "x-gecos", "x-twin1", "x-twin2", "x-shape"]}',
]
grants = [
    '{"id": "r-evil", "group": "g-evil", "login": true}',
    '{"id": "r-selector", "group": "g-evil", "hosts": "labels.env ==== prod", "login": true}',
]
user_cas = ['"ssh-ed25519 this is no key"']
entitlements = [
    '{"name": "x-newline", "commands": [{"executable": "/usr/bin/id\nALL ALL=(ALL) NOPASSWD: ALL"}]}',
    '{"name": "x-relative", "commands": [{"executable": "id"}]}',
    '{"name": "x-raw", "commands": [{"raw": "ALL"}]}',
    '{"name": "x-slash", "commands": [{"directory": "/opt/tools"}]}',
    '{"name": "x-wildcard", "commands": [{"executable": "/usr/bin/*"}]}',
    '{"name": "x-backslash", "commands": [{"executable": "/usr/bin/id", "arguments": ["a\\b"]}]}',
]
"#;

/// By what the refusal of each entry is known in the report: its subject or message holds this.
const NAMED: [&str; 25] = [
    "x-root",
    "x-daemon",
    "x-option",
    "x-colon",
    "x-long",
    "x-zero",
    "x-low",
    "x-nobody",
    "x-dynamic",
    "x-local",
    "x-subuid",
    "x-home",
    "x-dots",
    "x-shell",
    "x-gecos",
    "x-shape",
    "g-docker",
    "g-zero",
    "g-sudo",
    "g-ours",
    "x-newline",
    "x-relative",
    "x-raw",
    "x-slash",
    "x-wildcard",
];

fn is_about(finding: &Finding, word: &str) -> bool {
    finding.subject.contains(word) || finding.message.contains(word)
}

/// One mistake, or one attack, in the policy costs nobody else anything.
fn hostile_entries_are_refused_one_by_one_and_the_rest_is_in_force(release: Release) {
    let lab = new_lab();
    let granted = r#""entitlements": ["look", "x-newline", "x-relative", "x-raw", "x-slash", "x-wildcard", "x-backslash"]"#;
    let team = edited(TEAM, "[users.alice]\n", "[users.alice]\nid = \"u-alice\"\n");
    let fixture = Fixture::on(&lab, release).team(&team).boot();
    let host = &fixture.host;
    host.must("useradd --uid 4711 localuser; echo localuser:100000:65536 >>/etc/subuid");
    let local_before = host.ok("cat /etc/passwd /etc/group /etc/shadow");
    fixture.enroll();
    // The entries of the file must be known to it: the grant names the raw entitlements through raw JSON.
    fixture.change_team(|team| {
        let admins = "[[grants]]\ngroup = \"admins\"\nlogin = true\nentitlements = [\"look\"]";
        assert!(team.contains(admins));
        let hostile = edited(
            HOSTILE,
            "grants = [\n",
            &format!("grants = [\n    '{{\"id\": \"r-alice\", \"group\": \"g-alice\", \"login\": true, {granted}}}',\n"),
        );
        let hostile = edited(
            &hostile,
            "groups = [\n",
            "groups = [\n    '{\"id\": \"g-alice\", \"name\": \"tools\", \"gid\": 71103, \"members\": [\"u-alice\"]}',\n",
        );
        format!("{team}\n{hostile}")
    });

    let report = fixture.report();
    assert!(report.admission.is_none() && report.is_whole(), "{report:?}");
    let status = fixture.hostward("status");
    assert_eq!(status.status, 1, "{status}");
    for word in NAMED {
        let finding = report.refusals.iter().find(|finding| is_about(finding, word));
        let finding = finding.unwrap_or_else(|| panic!("nothing about {word}: {:#?}", report.refusals));
        assert!(!finding.mend.is_empty() && !finding.message.is_empty(), "{finding:?}");
        assert!(status.stdout.contains(&finding.subject), "{word}: {status}");
        assert!(status.stdout.contains(&finding.mend), "{word}: {status}");
    }
    let twins = report.refusals.iter().filter(|f| is_about(f, "x-twin1") || is_about(f, "x-twin2")).count();
    assert!(twins >= 1, "{:#?}", report.refusals);
    assert!(report.refusals.iter().any(|f| is_about(f, "x-backslash")), "{:#?}", report.refusals);
    assert!(report.refusals.iter().any(|f| f.responsible == Responsible::Backend));
    assert!(
        report.refusals.iter().all(|f| !f.message.chars().chain(f.subject.chars()).any(char::is_control)),
        "control characters reached the report"
    );

    // Nothing of it is served, nothing of the host's own changed.
    assert_eq!(host.ok("cat /etc/passwd /etc/group /etc/shadow"), local_before);
    assert_eq!(host.ok("getent passwd root").trim_end().rsplit(':').next(), Some("/bin/bash"));
    assert_eq!(
        host.ok("getent passwd 0 | cut -d: -f1; getent passwd 4711 | cut -d: -f1"),
        "root\nlocaluser\n"
    );
    let served = host.ok("getent passwd | awk -F: '$3 >= 70000 && $3 < 80000 { print $1 }' | sort");
    let served: Vec<_> = served.lines().filter(|name| !name.starts_with("twin")).collect();
    assert_eq!(served, ["alice", "bob"]);
    for nobody in ["zero", "low", "nobody2", "dynamic", "newname", "subuid", "root2", "zerogroup"] {
        assert_eq!(host.run(&format!("getent passwd {nobody}")).status, 2, "{nobody}");
    }
    for group in ["zerogroup", "sudoers"] {
        assert_eq!(host.run(&format!("getent group {group}")).status, 2, "{group}");
    }
    assert_eq!(host.ok("getent group sudo | cut -d: -f3"), "27\n");
    // Everything else is in force.
    host.must("visudo -c");
    let ssh = fixture.ssh_as("alice");
    assert_eq!(ssh.run("sudo -n /usr/bin/id -u").expect_success(), "0\n");
    let refused = ssh.run("sudo -n /usr/bin/cat /etc/shadow");
    assert!(!refused.success(), "{refused}");
    assert!(host.ok("id -Gn alice").contains("tools"));
    // The backend hears of each.
    host.wait_for(SOON, "the report at the backend", |_| {
        let reports = fixture.client.reports(None).expect("reports");
        let told = reports.last().is_some_and(|stored| {
            NAMED.iter().all(|word| stored.report.refusals.iter().any(|finding| is_about(finding, word)))
        });
        if told { Ok(()) } else { Err(format!("{} reports", reports.len())) }
    });
    // And what was mended is mended.
    fixture.change_team(|_| team.clone());
    assert_eq!(fixture.report().refusals, []);
    assert_eq!(fixture.hostward("status").status, 0, "{}", fixture.hostward("status"));
}

/// An outage of the backend is nobody's problem but the backend's.
fn everything_goes_on_while_the_backend_is_down(release: Release) {
    let lab = new_lab();
    let mut fixture = Fixture::enrolled(&lab, release);
    // Long enough for one login, short enough to wait for.
    let until = (Utc::now() + TimeDelta::seconds(8)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    fixture.change_team(|team| {
        format!(
            "{team}\n[[grants]]\ngroup = \"visitors\"\nlogin = true\nuntil = {until}\n\
             [groups.visitors]\ngid = 71003\nmembers = [\"vera\"]\n[users.vera]\nuid = 70005\n"
        )
    });
    let mut visit = fixture.session("vera", hostward_host_tests::Terminal::No, "true");
    let mut session = fixture.session("alice", hostward_host_tests::Terminal::Yes, "true");
    fixture.backend.stop();
    fixture.wait_for_agent(SOON, "a problem", |status| {
        status.problem.as_ref().is_some_and(|finding| finding.code == "backend-connection-refused")
    });
    let status = fixture.hostward("status");
    assert_eq!(status.status, 1, "{status}");
    assert!(
        status.stdout.contains("refuses connections") && status.stdout.contains("next attempt"),
        "{status}"
    );

    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
    fixture.host.must("echo '# mine' >>/etc/sudoers.d/hostward; chmod 644 /etc/sudoers.d/hostward");
    fixture.host.must("systemctl start hostward-drift.service");
    assert_eq!(fixture.host.stat("/etc/sudoers.d/hostward"), "regular file 440 root:root");
    assert!(fixture.host.run("! grep '# mine' /etc/sudoers.d/hostward").success());
    // Nobody has to be asked for a time window to end, nor for a person to go with it.
    fixture.host.wait_for(Duration::from_secs(20), "the end of vera's time", |host| {
        let output = host.run("getent passwd vera");
        if output.status == 2 { Ok(()) } else { Err(output.to_string()) }
    });
    let _ = visit.wait(SOON);
    assert!(!fixture.ssh_as("vera").run("true").success());
    assert!(session.is_running());

    fixture.backend.set_team(TEAM).expect("a team");
    fixture.backend.start();
    fixture
        .wait_for_agent(Duration::from_secs(90), "the end of the problem", |status| status.problem.is_none());
    let version = fixture.client.sync().expect("a version");
    fixture.wait_for_version(version);
    // What happened meanwhile is delivered soon after.
    fixture.host.wait_until_ok(SOON, "hostward status");
}

/// `max_offline` with `keep` and with `lock`, seen from outside.
fn a_policy_past_max_offline_is_kept_or_locked_as_the_operator_chose(release: Release) {
    let lab = new_lab();
    let mut fixture = Fixture::on(&lab, release)
        .backend_option("--timestamp-expiry", "6s")
        .configuration("[policy]\nmax_offline = \"2s\"\non_stale = \"keep\"")
        .enrolled();
    let locked = "[policy]\nmax_offline = \"2s\"\non_stale = \"lock\"";
    fixture.stop_timer();
    fixture.backend.stop();
    let stale = |fixture: &Fixture<'_>| fixture.apply().policy.map(|policy| policy.staleness);
    fixture.host.wait_for(SOON, "a policy past max_offline", |_| match stale(&fixture) {
        Some(Staleness::OfflineKept) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success(), "kept");
    let status = fixture.hostward("status");
    assert_eq!(status.status, 1, "{status}");
    assert!(status.stdout.contains("max_offline; kept in force"), "{status}");

    let mut session = fixture.session("alice", hostward_host_tests::Terminal::Yes, "true");
    fixture.configure(locked);
    assert_eq!(stale(&fixture), Some(Staleness::OfflineLocked));
    let _ = session.wait(SOON);
    assert!(!fixture.ssh_as("alice").run("true").success(), "locked");
    let status = fixture.hostward("status");
    assert!(status.stdout.contains("LOCKED"), "{status}");
    fixture.host.must("id root; su - root -c true");
    assert!(fixture.host.exists("/home/alice"), "a lock is no departure");

    // Generous again: only stale, and back in force without the backend.
    fixture.configure("[policy]\nmax_offline = \"30d\"\non_stale = \"lock\"");
    assert_eq!(stale(&fixture), Some(Staleness::Stale));
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
    let status = fixture.hostward("status");
    assert!(status.stdout.contains("stale since") && status.stdout.contains("still in force"), "{status}");

    // Locked once more, and unlocked by the first fresh policy.
    fixture.configure(locked);
    assert_eq!(stale(&fixture), Some(Staleness::OfflineLocked));
    fixture.backend.start();
    fixture.host.wait_for(Duration::from_secs(90), "a fresh policy", |_| match fixture.status().policy {
        Some(policy) if policy.staleness == Staleness::Fresh => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(fixture.ssh_as("alice").run("true").success());
}

/// Whatever is wrong with what is offered: the last good state stays in force, and that is said.
fn a_policy_that_cannot_be_believed_leaves_the_last_good_one_in_force(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    fixture.change_team(|team| edited(team, "Alice Adams", "Alice Brown"));
    let good = fixture.status().policy.expect("a policy").version;
    let faults: &[(&str, &[&str], &[&str])] = &[
        ("expired", &["role=timestamp"], &["expired-timestamp"]),
        ("wrong-key", &["role=timestamp"], &["bad-signature"]),
        ("expired", &["role=snapshot"], &["expired-snapshot"]),
        ("wrong-key", &["role=snapshot"], &["bad-signature"]),
        ("expired", &["role=targets"], &["expired-targets"]),
        ("below-threshold", &["role=targets"], &["threshold", "bad-signature"]),
        ("wrong-project", &[], &["wrong-project"]),
        ("unknown-major", &["kind=users"], &["unknown-major"]),
    ];
    for (fault, arguments, codes) in faults {
        fixture.client.fault_off(None).expect("no faults");
        fixture.fault(fault, arguments);
        fixture.publish(|team| edited(team, "bob\"]", "bob\"] # again"));
        let _not_whole = fixture.hostward("sync");
        fixture.wait_for_status(SOON, &format!("the refusal of `{fault}`"), |status| {
            status.admission.as_ref().is_some_and(|finding| codes.contains(&&*finding.code))
        });
        let status = fixture.status();
        let finding = status.admission.expect("a refusal");
        assert!(status.policy.expect("a policy").version >= good, "{finding:?}");
        let shown = fixture.hostward("status");
        assert_eq!(shown.status, 1, "{shown}");
        assert!(shown.stdout.contains(&finding.message) && shown.stdout.contains(&finding.mend), "{shown}");
        assert!(fixture.journal().contains(&finding.message), "{finding:?}");
        assert_eq!(host.ok("getent passwd alice | cut -d: -f5"), "Alice Brown\n", "{fault}");
    }
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
    // A transport that fails, or targets that are cut, never reach root; the agent says so.
    for (fault, arguments) in
        [("missing-target", ["name=users"]), ("cut-target", ["name=users"]), ("cut", ["path=targets"])]
    {
        fixture.no_faults();
        let version = fixture.client.sync().expect("a version");
        fixture.host.wait_until_ok(SOON, "hostward sync");
        fixture.wait_for_version(version);
        fixture.fault(fault, &arguments);
        fixture.publish(|team| edited(team, "Alice", "Alicia"));
        let _not_whole = fixture.hostward("sync");
        host.wait_for(SOON, &format!("word of `{fault}`"), |_| {
            let (agent, root) = (fixture.agent_status().problem, fixture.status().admission);
            if agent.is_some() || root.is_some() { Ok(()) } else { Err("no complaint".into()) }
        });
        assert_eq!(fixture.hostward("status").status, 1, "{fault}");
        assert!(host.ok("getent passwd alice").contains(":Alice Brown:"), "{fault}");
        fixture.publish(|team| team.replace("Alicia", "Alice"));
    }
    fixture.no_faults();
    fixture.fault("unknown-members", &[]);
    fixture.change_team(|team| edited(team, "Alice Brown", "Alice Clark"));
    fixture.host.wait_for(SOON, "the end of the complaints", |_| {
        let status = fixture.hostward("status");
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(host.ok("getent passwd alice | cut -d: -f5"), "Alice Clark\n", "unknown members are ignored");
}

/// New keys reach hosts through the chain of roots, and old ones count no more.
fn new_root_keys_are_followed_and_old_ones_refused(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    fixture.client.rotate_root(&Role::ALL, 1).expect("a root");
    fixture.change_team(|team| edited(team, "Alice Adams", "Alice Two"));
    assert_eq!(fixture.status().policy.expect("a policy").root_version, 2);
    // Three at once, for a host that was away.
    fixture.host.must("systemctl stop hostward");
    fixture.client.rotate_root(&Role::ALL, 3).expect("roots");
    fixture.host.must("systemctl start hostward");
    fixture.change_team(|team| edited(team, "Alice Two", "Alice Five"));
    assert_eq!(fixture.status().policy.expect("a policy").root_version, 5);
    // Whoever got hold of the old keys and of the network between.
    fixture.fault("withhold-roots", &["newest=1"]);
    fixture.fault("old-keys", &["root=1"]);
    fixture.publish(|team| edited(team, "Alice Five", "Mallory"));
    fixture.host.must("systemctl restart hostward");
    let _not_whole = fixture.hostward("sync");
    fixture.wait_for_status(SOON, "the refusal of old keys", |status| status.admission.is_some());
    assert!(fixture.host.ok("getent passwd alice").contains(":Alice Five:"));
    assert_eq!(fixture.status().policy.expect("a policy").root_version, 5);
    fixture.no_faults();
    fixture.change_team(|team| edited(team, "Mallory", "Alice Six"));
    assert!(fixture.host.ok("getent passwd alice").contains(":Alice Six:"));
    let status = fixture.hostward("status");
    assert!(status.stdout.contains("(root 5)"), "{status}");
}

/// A file server that knows nothing of waiting does as well, at the interval that the operator gave.
#[test]
fn a_server_that_does_not_wait_is_polled() {
    let lab = new_lab();
    let fixture = Fixture::on(&lab, Release::Bookworm).configuration("[tuf]\ninterval = \"2s\"").boot();
    fixture.fault("no-wait", &[]);
    fixture.enroll();
    fixture.change_team(|team| edited(team, "Alice Adams", "Alice Brown"));
    fixture.wait_for_agent(SOON, "polling at an interval", |status| {
        status.polling.as_ref().is_some_and(|(how, _)| how == "interval")
    });
    let status = fixture.hostward("status");
    assert!(status.stdout.contains("polling:      interval"), "{status}");
}

/// Grants follow the labels that the operator gave the host, and nobody else's word.
#[test]
fn grants_select_hosts_by_the_operators_labels() {
    let lab = new_lab();
    let team = edited(
        TEAM,
        "group = \"admins\"\nlogin = true",
        "group = \"admins\"\nhosts = \"labels.env = prod, os.id = debian, host.name = web1\"\nlogin = true",
    );
    let team = edited(&team, "group = \"people\"\n", "group = \"people\"\nhosts = \"labels.env != prod\"\n");
    let fixture =
        Fixture::on(&lab, Release::Bookworm).team(&team).configuration("[labels]\nenv = \"prod\"").enrolled();
    let host = &fixture.host;
    assert!(host.run("getent passwd alice").success());
    assert_eq!(host.run("getent passwd bob").status, 2, "nobody who may not log in is exposed");
    assert!(host.ok("sudo -l -U alice").contains("/usr/bin/id"));
    fixture.configure("[labels]\nenv = \"test\"");
    let report = fixture.apply();
    assert!(report.is_whole(), "{report:?}");
    assert!(host.run("getent passwd bob").success());
    assert!(!host.ok("sudo -l -U alice").contains("/usr/bin/id"));
    assert!(host.ok("hostward explain bob").contains("people"));
}
