//! What somebody changed behind hostward's back: seen by `plan`, repaired by the next pass, told to whoever asks.

use hostward_host_tests::{Fixture, Release, SOON, Tree, edited, new_lab, on_each_release};
use hostward_protocol::report::Report;
use serde_json::Value;

on_each_release!(each_owned_file_is_repaired_and_reported, a_plan_changes_nothing,);

const SUDOERS: &str = "/etc/sudoers.d/hostward";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-hostward.conf";
const USER_CA: &str = "/var/lib/hostward/ssh/user_ca.pub";
const KRL: &str = "/var/lib/hostward/ssh/revoked.krl";
const DATABASE: &str = "/var/lib/misc/hostward.db";
const SSH: &str = "/var/lib/hostward/ssh";
const STATE: &str = "/var/lib/hostward";

/// A file, what somebody does to it (`$f` is the file), and what that would mean.
const DAMAGE: &[(&str, &str, &str)] = &[
    (SUDOERS, "echo 'bob ALL=(ALL) NOPASSWD: ALL' >>$f", "rights that nobody granted"),
    (SUDOERS, "rm $f", "no rights"),
    (SUDOERS, "chmod 666 $f", "rights for whoever writes them"),
    (SUDOERS, "chown nobody $f", "somebody else's file"),
    (SUDOERS, "mv $f $f.kept; ln -s hostward.kept $f", "a link"),
    (DROP_IN, "sed -i /RevokedKeys/d $f", "no revocations"),
    (DROP_IN, "rm $f", "no certificates"),
    (DROP_IN, "chmod 666 $f", "an sshd for whoever writes it"),
    (DROP_IN, "chown nobody $f", "somebody else's file"),
    (USER_CA, "ssh-keygen -q -t ed25519 -N '' -f /root/evil; cat /root/evil.pub >>$f", "another CA"),
    (USER_CA, "rm $f", "no CA"),
    (USER_CA, "chmod 666 $f", "a CA for whoever writes it"),
    (KRL, "rm $f", "no revocations at all"),
    (KRL, "head -c 10 $f >$f.cut; echo x >>$f.cut; mv $f.cut $f", "a cut list"),
    (KRL, "chmod 666 $f", "revocations for whoever writes them"),
    (DATABASE, "rm $f", "no accounts"),
    (DATABASE, "head -c 100 $f >$f.new; mv $f.new $f", "a cut database"),
    (DATABASE, "chmod 600 $f", "a database that nobody can read"),
    (DATABASE, "chown nobody $f", "somebody else's database"),
    (SSH, "chmod 777 $f", "CAs and revocations for whoever puts them there"),
    (SSH, "chown nobody $f", "somebody else's CAs and revocations"),
    (STATE, "chmod 777 $f", "a state for whoever puts it there"),
    (STATE, "chgrp nogroup $f", "somebody else's state"),
];

/// What hostward owns, as it should be.
#[track_caller]
fn owned(fixture: &Fixture<'_>) -> Tree {
    let mut tree = fixture.host.snapshot(&["/etc", STATE, "/var/lib/misc"]);
    let kept = |path: &str| path == STATE || path.starts_with(SSH) || !path.starts_with(STATE);
    tree.0.retain(|path, _| kept(path) && !path.starts_with("/etc/sudoers.d/hostward.kept"));
    // ssh-keygen writes the time into a list; what counts is what the list says.
    let revoked = fixture.host.run(&format!("ssh-keygen -Q -f {KRL} /root/revoked-cert.pub"));
    if let Some(list) = tree.0.get_mut(KRL) {
        list.content = format!("{} {}", revoked.status, revoked.stdout);
    }
    // A database is numbered.
    let served = fixture.host.run("getent -s hostward passwd; getent -s hostward group; id -G alice");
    if let Some(database) = tree.0.get_mut(DATABASE) {
        database.content = served.stdout;
    }
    tree
}

fn names(report: &Report, path: &str) -> bool {
    let place = |text: &str| text.contains(path);
    report.drift.iter().any(|finding| place(&finding.subject) || place(&finding.message))
}

/// Each file that hostward owns, damaged in each way that matters.
fn each_owned_file_is_repaired_and_reported(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    fixture.stop_timer();
    // Something is revoked, so that the list has content.
    let certificate = fixture.signed_key("bob", hostward_host_tests::Ca::User, |c| c.serial = 7);
    let public = format!("{}-cert.pub", certificate.display());
    host.write("/root/revoked-cert.pub", 0o644, "root:root", std::fs::read(public).expect("a certificate"));
    fixture.change_team(|team| format!("{team}\n[ssh]\nrevoked = {{ serials = [7] }}\n"));
    assert!(fixture.apply().drift.is_empty());
    let good = owned(&fixture);
    // It asks for a report when something was repaired, and that pass would find the next damage before ours does.
    host.must("systemctl stop hostward.socket hostward.service");
    for (path, damage, meaning) in DAMAGE {
        host.must(&format!("f={path}; {damage}"));
        let plan = host.ok("hostward plan");
        assert!(!good.changes(&owned(&fixture)).is_empty(), "{damage} does nothing");
        assert!(plan.contains(path), "{damage}: plan does not name {path}:\n{plan}");
        let report = fixture.apply();
        assert!(report.is_whole(), "{damage}: {report:#?}");
        assert!(names(&report, path), "{damage} ({meaning}) is not reported: {report:#?}");
        assert_eq!(good.changes(&owned(&fixture)), [""; 0], "{damage} ({meaning}) is not repaired");
        let status = fixture.hostward("status");
        assert!(
            status.stdout.contains("changed behind hostward's back") && status.stdout.contains(path),
            "{damage}: {status}"
        );
        let journal = fixture.journal();
        assert!(journal.contains(&format!("found changed: {path}: ")), "{damage}: {journal}");
        host.must("rm -f /etc/sudoers.d/hostward.kept");
    }
    let clean = fixture.apply();
    assert!(clean.drift.is_empty() && clean.steps.is_empty(), "{clean:#?}");
    // All of it at once, found by the timer's own service.
    host.must(&format!("rm {SUDOERS} {DROP_IN} {USER_CA} {KRL} {DATABASE}"));
    host.must("systemctl start hostward-drift.service");
    assert_eq!(good.changes(&owned(&fixture)), [""; 0]);
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
    let bob = lab.login(host, "bob").key(&certificate).run("true");
    assert!(!bob.success(), "the revoked certificate: {bob}");
    // The backend hears of it.
    host.must("systemctl start hostward.socket hostward.service");
    host.wait_for(SOON, "the report at the backend", |_| {
        let reports = fixture.client.reports(None).expect("reports");
        if reports.iter().any(|stored| names(&stored.report, SUDOERS)) {
            Ok(())
        } else {
            Err("nothing".into())
        }
    });
}

/// A plan is a look, not an act: not a byte of the host changes.
fn a_plan_changes_nothing(release: Release) {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, release);
    let host = &fixture.host;
    fixture.stop_timer();
    let nothing = fixture.hostward("plan");
    assert!(nothing.success(), "{nothing}");
    assert!(nothing.stdout.to_lowercase().contains("nothing"), "{nothing}");
    host.must(&format!("rm {SUDOERS}; echo '# mine' >>{DROP_IN}; rm {KRL}"));
    // It keeps how far it has read the journal, whoever plans.
    host.must("systemctl stop hostward.service");
    let look =
        || host.snapshot(&["/etc", "/var/lib/hostward", "/var/lib/hostward-agent", "/var/lib/misc", "/home"]);
    let changed_at =
        || host.ok("find /etc /var/lib/hostward /var/lib/misc /home -printf '%p %i %C@\\n' | sort");
    let (before, times) = (look(), changed_at());
    let plan = host.ok("hostward plan");
    for path in [SUDOERS, DROP_IN, KRL] {
        assert!(plan.contains(path), "{plan}");
    }
    let json = fixture.json("plan");
    assert!(json.is_object() || json.is_array(), "{json}");
    assert!(contains_text(&json, SUDOERS), "{json:#}");
    host.must("hostward explain alice; hostward status; hostward doctor || true");
    assert_eq!(before.changes(&look()), [""; 0]);
    assert_eq!(times, changed_at(), "nothing was replaced, touched or created and removed");
    host.must("systemctl start hostward.service");
    assert!(fixture.apply().is_whole());
    assert_eq!(host.ok("hostward plan"), nothing.stdout);
}

fn contains_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(values) => values.iter().any(|value| contains_text(value, text)),
        Value::Object(members) => {
            members.iter().any(|(key, value)| key.contains(text) || contains_text(value, text))
        }
        _ => false,
    }
}

/// What the operator changes of hostward's configuration is obeyed at the next pass, and taken back as easily.
#[test]
fn parts_that_the_operator_switches_off_are_taken_back() {
    let lab = new_lab();
    let fixture = Fixture::enrolled(&lab, Release::Bookworm);
    let host = &fixture.host;
    fixture.configure("[sudo]\nmanage = false\n[sshd]\nmanage = false");
    assert!(fixture.apply().is_whole());
    assert!(!host.exists(SUDOERS) && !host.exists(DROP_IN));
    assert!(host.run("getent passwd alice").success());
    assert!(!fixture.ssh_as("alice").run("true").success());
    fixture.configure("[accounts]\nid_ranges = [\"70002-70002\", \"71000-71999\"]");
    let report = fixture.apply();
    assert!(report.refusals.iter().any(|f| f.subject.contains("alice")), "{report:#?}");
    assert_eq!(host.run("getent passwd alice").status, 2);
    fixture.configure("");
    assert!(fixture.apply().is_whole());
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
    // A configuration with a mistake in it stops nothing: what was in force stays, and the mistake is named.
    fixture.configure("[sudo]\nmange = false");
    let output = fixture.hostward("apply");
    assert!(!output.success(), "{output}");
    assert!(output.text().contains("mange"), "{output}");
    assert!(fixture.ssh_as("alice").run("sudo -n /usr/bin/id").success());
    fixture.configure("");
    fixture.change_team(|team| edited(team, "Alice Adams", "Alice Brown"));
}
