//! Kills and failures at every durable operation of a pass: the host keeps the old or the new state, sudo and sshd
//! keep working, and the next pass converges.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use common::host::{Host, configuration, failures, furnish};
use common::policy::{alice_and_bob, only_alice};
use common::repository::{self, Repository};
use hostward_apply::Root;
use hostward_apply::durable::fault::{Fault, Kind, arm, disarm};
use hostward_apply::engine::Engine;
use hostward_protocol::local::{ApplyReply, ApplyRequest, EnrollmentOutcome, TokenState};
use hostward_protocol::report::Report;

/// Faults are the process's, so tests here take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const CHILD: &str = "HOSTWARD_TEST_CHILD";

/// Not a test of its own: the process that is killed. Without the variable it does nothing.
#[test]
fn child() {
    let Ok(text) = std::env::var(CHILD) else { return };
    let (at, directory) = text.split_once(' ').unwrap();
    let engine = Engine::open(Root::below(directory), Duration::ZERO).unwrap();
    arm(Some(Fault { at: at.parse().unwrap(), kind: Kind::Kill }));
    let reply = engine.answer(&ApplyRequest::Admit, Utc::now());
    let operations = disarm();
    assert!(matches!(reply, ApplyReply::Report(report) if report.is_whole()));
    println!("operations={operations}");
}

/// Runs a pass in a process of its own that is killed at an operation. Whether it came to its end.
fn pass_killed_at(at: usize, directory: &Path) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{at} {}", directory.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        assert!(said.contains("operations="), "{said}");
        return true;
    }
    assert_eq!(output.status.signal(), Some(9), "{said}{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// What is in force, as far as others see it: users, sudo rules, sshd's settings, CA, KRL.
fn state(directory: &Path) -> Vec<Option<Vec<u8>>> {
    let database = std::fs::read(directory.join("var/lib/misc/hostward.db")).ok();
    let users = database.map(|bytes| {
        let (users, groups) = hostward_accounts::decode_all(&bytes).expect("the database is whole");
        format!("{users:?}{groups:?}").into_bytes()
    });
    let files = [
        "etc/sudoers.d/hostward",
        "etc/ssh/sshd_config.d/10-hostward.conf",
        "var/lib/hostward/ssh/user_ca.pub",
        "var/lib/hostward/ssh/revoked.krl",
    ];
    let files = files.map(|file| std::fs::read(directory.join(file)).ok());
    [users].into_iter().chain(files).collect()
}

fn visudo(directory: &Path) -> bool {
    let output = Command::new(directory.join("usr/sbin/visudo")).arg("-c").output().unwrap();
    output.status.success()
}

/// Nothing that sudo, sshd or the account database's readers would take for theirs is half there.
fn check_each(directory: &Path, before: &[Option<Vec<u8>>], after: &[Option<Vec<u8>>], when: &str) {
    for (n, now) in state(directory).iter().enumerate() {
        // A file that gains and loses at once passes through what both give; sudo's are those lines alone.
        let is_between = n == 1 && visudo(directory);
        let is_empty_ca = n == 3 && now.as_deref() == Some(b"");
        assert!(*now == before[n] || *now == after[n] || is_between || is_empty_ca, "{when}: part {n}");
    }
    assert!(visudo(directory), "{when}: sudo works");
}

fn converges(directory: &Path, after: &[Option<Vec<u8>>], when: &str) {
    let engine = Engine::open(Root::below(directory), Duration::ZERO).unwrap();
    let ApplyReply::Report(report) = engine.answer(&ApplyRequest::Admit, Utc::now()) else { panic!() };
    assert!(report.is_whole(), "{when}: {report:#?}");
    assert_eq!(state(directory), after, "{when}");
    let left: Vec<_> =
        ["etc/sudoers.d", "etc/ssh/sshd_config.d", "var/lib/hostward/ssh", "var/lib/misc", "run/hostward"]
            .iter()
            .flat_map(|path| std::fs::read_dir(directory.join(path)).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect();
    assert!(left.is_empty(), "{when}: {left:?} is left over");
    engine.rest();
}

fn versions() -> (Repository, impl Fn(Repository) -> Repository) {
    (Repository::new(alice_and_bob()), |mut repository: Repository| {
        repository.version = 2;
        repository.documents = only_alice();
        repository
    })
}

fn sweep(second: bool) {
    let (first, next) = versions();
    let files = first.files();
    let later = next(first);
    let prepare = || prepared(&files, &later, second);
    let reference = prepare();
    let before = state(reference.path());
    assert!(pass_killed_at(usize::MAX, reference.path()));
    let after = state(reference.path());
    assert_ne!(before, after);
    let mut at = 0;
    loop {
        let directory = prepare();
        let ended = pass_killed_at(at, directory.path());
        let when = format!("killed at operation {at}");
        check_each(directory.path(), &before, &after, &when);
        converges(directory.path(), &after, &when);
        if ended {
            break;
        }
        at += 1;
    }
    assert!(at > 20, "a pass has more durable operations than {at}");
}

/// A host on which nothing is in force and the first version offered, or the first in force and `later` offered.
fn prepared(
    files: &std::collections::BTreeMap<String, Vec<u8>>,
    later: &Repository,
    second: bool,
) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    furnish(directory.path());
    let root = Root::below(directory.path());
    std::fs::write(root.path("/etc/hostward/hostward.toml"), configuration(later, 1)).unwrap();
    let inbox = root.path("/var/lib/hostward-agent/inbox");
    repository::write(&inbox, files, common::host::AGENT);
    if second {
        let engine = Engine::open(root.clone(), Duration::ZERO).unwrap();
        let ApplyReply::Report(report) = engine.answer(&ApplyRequest::Admit, Utc::now()) else { panic!() };
        assert!(report.is_whole(), "{report:#?}");
        repository::write(&inbox, &later.files(), common::host::AGENT);
    }
    directory
}

#[test]
fn killed_at_any_operation_of_a_first_pass() {
    let _turn = turn();
    sweep(false);
}

#[test]
fn killed_at_any_operation_of_a_later_pass() {
    let _turn = turn();
    sweep(true);
}

fn failing(errno: i32, once: bool) {
    let (first, next) = versions();
    let files = first.files();
    let later = next(first);
    let reference = prepared(&files, &later, true);
    let before = state(reference.path());
    assert!(pass_killed_at(usize::MAX, reference.path()));
    let after = state(reference.path());
    for at in 0.. {
        let directory = prepared(&files, &later, true);
        let engine = Engine::open(Root::below(directory.path()), Duration::ZERO).unwrap();
        let kind = if once { Kind::FailOnce(errno) } else { Kind::Fail(errno) };
        arm(Some(Fault { at, kind }));
        let ApplyReply::Report(report) = engine.answer(&ApplyRequest::Admit, Utc::now()) else { panic!() };
        let operations = disarm();
        let when = format!("error {errno} at operation {at}");
        check_each(directory.path(), &before, &after, &when);
        if at < operations && !once {
            says_so(&report, at, operations, &when);
        }
        drop(engine);
        converges(directory.path(), &after, &when);
        if at >= operations {
            assert!(at > 20);
            return;
        }
    }
}

/// Whatever fails before the report itself is in the report, and is nobody's fault but the host's.
fn says_so(report: &Report, at: usize, operations: usize, when: &str) {
    let mut said: Vec<_> = report.admission.iter().chain(&report.warnings).collect();
    said.extend(report.steps.iter().filter_map(|step| match &step.outcome {
        hostward_protocol::report::Outcome::Failed(finding) => Some(finding),
        _ => None,
    }));
    // The last operations write the report and the status.
    if at + 10 < operations {
        assert!(!said.is_empty(), "{when}: {report:#?}");
    }
    for finding in said {
        assert_eq!(finding.responsible, hostward_protocol::report::Responsible::Host, "{when}: {finding:#?}");
    }
}

#[test]
fn a_disk_that_is_full_from_any_operation_on() {
    const ENOSPC: i32 = 28;
    let _turn = turn();
    failing(ENOSPC, false);
}

#[test]
fn an_input_output_error_at_any_single_operation() {
    const EIO: i32 = 5;
    let _turn = turn();
    failing(EIO, true);
}

#[test]
fn a_read_only_etc_leaves_what_is_there_and_the_rest_goes_on() {
    let _turn = turn();
    let mut repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let before = host.read("/etc/sudoers.d/hostward");
    repository.version = 2;
    repository.documents = only_alice();
    repository.documents.insert(
        "entitlements.json".into(),
        br#"{"schema":"hostward/entitlements/1","entitlements":[]}"#.to_vec(),
    );
    host.offer(&repository);
    let directory = host.path("/etc/sudoers.d");
    let _mount = ReadOnly::over(&directory);
    let report = host.admit();
    assert_eq!(failures(&report), ["write-failed"], "{report:#?}");
    assert_eq!(host.read("/etc/sudoers.d/hostward"), before);
    assert_eq!(host.names(), ["alice"], "accounts are narrowed all the same");
    drop(_mount);
    assert!(host.apply().is_whole());
    assert_ne!(host.read("/etc/sudoers.d/hostward"), before);
}

/// A directory that nothing can be written to, not even by root.
struct ReadOnly(std::path::PathBuf);

impl ReadOnly {
    fn over(directory: &Path) -> ReadOnly {
        let text = directory.to_str().unwrap();
        for arguments in [vec!["--bind", text, text], vec!["-o", "remount,bind,ro", text]] {
            assert!(Command::new("mount").args(arguments).status().unwrap().success());
        }
        ReadOnly(directory.into())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn a_token_that_cannot_be_removed_is_not_taken_twice() {
    use base64::Engine as _;
    let _turn = turn();
    let repository = Repository::new(only_alice());
    let host = Host::unconfigured();
    let token = serde_json::json!({
        "url": "https://backend.example", "project": "p-test", "secret": "s",
        "root_sha256": repository.sha256_of_root(1), "root_version": 1,
    });
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string());
    let put = || {
        let path = host.path("/etc/hostward/enrollment.token");
        std::fs::write(&path, &text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
    };
    let read = || match host.ask(&ApplyRequest::ReadToken) {
        ApplyReply::Enrollment(state) => state,
        other => panic!("{other:?}"),
    };
    put();
    assert!(matches!(read(), TokenState::Ready { .. }));
    put();
    // The first operation of the end is to remove what is left in /etc.
    arm(Some(Fault { at: 0, kind: Kind::FailOnce(30) }));
    let outcome = EnrollmentOutcome::Enrolled { host_id: "h1".into() };
    let reply = host.ask(&ApplyRequest::FinishEnrollment { outcome });
    disarm();
    assert_eq!(reply, ApplyReply::Ok);
    assert!(matches!(read(), TokenState::Unusable(finding) if finding.code == "token-spent"));
    // The agent did not get the reply and sends it again, twice; /etc is as read-only as before.
    for _ in 0..2 {
        let outcome = EnrollmentOutcome::Enrolled { host_id: "h1".into() };
        let trust = host.read("/var/lib/hostward/trust.json");
        arm(Some(Fault { at: 0, kind: Kind::FailOnce(30) }));
        let reply = host.ask(&ApplyRequest::FinishEnrollment { outcome });
        disarm();
        assert_eq!(reply, ApplyReply::Ok);
        assert_eq!(host.read("/var/lib/hostward/trust.json"), trust);
        assert!(matches!(read(), TokenState::Unusable(finding) if finding.code == "token-spent"));
    }
    std::fs::remove_file(host.path("/etc/hostward/enrollment.token")).unwrap();
    assert_eq!(read(), TokenState::Absent);
}
