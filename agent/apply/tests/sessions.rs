//! Ending what runs under a uid, with real processes.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::host::{Host, failures, report};
use common::policy::{ALICE, Documents, documents, only_alice, user};
use common::repository::Repository;
use hostward_protocol::local::ApplyRequest;
use hostward_protocol::report::{Cause, Outcome, Report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// By when what was killed has ended.
const SOON: Duration = Duration::from_secs(5);

/// Alice, and bob with a uid of the test's own: tests run side by side, and each ends all that is bob's.
fn with_bob(uid: u32) -> Documents {
    documents(&[user("u1", "alice", ALICE), user("u2", "bob", uid)])
}

/// Runs a shell as `uid` until it is killed; it has said so before this returns.
fn spawn(uid: u32, script: &str) -> Child {
    let mut child = Command::new("/bin/sh")
        .args(["-c", script])
        .uid(uid)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    child
}

const STUBBORN: &str = "trap '' HUP TERM INT; echo ready; while :; do read -r line || sleep 1000; done";

/// Waits until a process is gone; its signal, if one killed it.
fn ended(mut child: Child) -> Option<i32> {
    child.wait().unwrap().signal()
}

fn lives(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

fn leave(host: &Host, repository: &mut Repository) -> Report {
    repository.version += 1;
    repository.documents = only_alice();
    host.offer(repository);
    let report = host.admit();
    assert_eq!(failures(&report), Vec::<&str>::new(), "{report:#?}");
    report
}

#[test]
fn everything_that_runs_under_the_uid_ends_and_nothing_else() {
    const BOB: u32 = ALICE + 201;
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let stubborn = spawn(BOB, STUBBORN);
    let mut of_alice = spawn(ALICE, STUBBORN);
    let report = leave(&host, &mut repository);
    assert_eq!(ended(stubborn), Some(9));
    assert!(lives(&mut of_alice), "alice stays");
    let step = report.steps.iter().find(|step| step.step.contains("`bob`")).unwrap();
    assert!(matches!(&step.outcome, Outcome::Done { detail } if detail.contains("ended")), "{step:?}");
    of_alice.kill().unwrap();
    of_alice.wait().unwrap();
}

#[test]
fn children_that_run_as_root_end_with_their_caller() {
    const BOB: u32 = ALICE + 202;
    // As sudo does it: a set-user-id helper of root's below the user's shell.
    let directory = tempfile::tempdir().unwrap();
    let helper = directory.path().join("as-root");
    // Not written by this process: see `common::host::script`.
    let install = Command::new("install").args(["--mode=4755", "/usr/bin/setpriv"]).arg(&helper).status();
    assert!(install.unwrap().success());
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode;
    std::fs::set_permissions(directory.path(), mode(0o755)).unwrap();
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let script = format!(
        "{} --reuid 0 --clear-groups /bin/sh -c 'id -ru; echo $$; trap \"\" HUP TERM; sleep 1000; sleep 1000' & echo ready; wait",
        helper.display()
    );
    let mut shell = spawn(BOB, &script);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(shell.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "0", "it runs as root");
    let pid: i32 = lines.next().unwrap().unwrap().parse().unwrap();
    leave(&host, &mut repository);
    assert!(ended(shell).is_some());
    // Its pipe ends when the last process that holds it has ended.
    assert!(lines.next().is_none());
    assert!(!is_alive(pid));
}

fn is_alive(pid: i32) -> bool {
    hostward_apply::processes::Processes::new("/proc".into()).one(pid).is_some()
}

/// A shell as `uid` in a pid namespace that root made.
fn container(uid: u32) -> Child {
    let mut container = Command::new("/usr/bin/unshare")
        .args(["--pid", "--fork", "--kill-child", "/usr/bin/setpriv", "--reuid", &uid.to_string()])
        .args(["--clear-groups", "/bin/sh", "-c", "echo ready; read -r line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    container.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    container
}

#[test]
fn a_process_of_a_nested_pid_namespace_is_left_alone() {
    const BOB: u32 = ALICE + 203;
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let mut container = container(BOB);
    leave(&host, &mut repository);
    assert!(lives(&mut container), "a container's process happens to have the number");
    drop(container.stdin.take());
    assert_eq!(ended(container), None, "it ended by itself");
}

/// Something without a parent, as a job of cron's whose shell has ended: it is known by the pipe that it holds.
struct Orphan(ChildStdout);

impl Orphan {
    /// Runs `program` as `uid` in a session of its own; it has said so before this returns.
    fn start(uid: u32, program: &[&str]) -> Orphan {
        let mut child = Command::new("/usr/bin/setpriv")
            .args(["--reuid", &uid.to_string(), "--clear-groups", "setsid", "--fork"])
            .args(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdout.take().unwrap();
        assert!(child.wait().unwrap().success());
        let mut ready = [0; 6];
        pipe.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        Orphan(pipe)
    }

    /// Whether the last process that holds the pipe ends within `limit`.
    fn ends(&self, limit: Duration) -> bool {
        let limit = Timespec { tv_sec: limit.as_secs().try_into().unwrap(), tv_nsec: 0 };
        let mut wait = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut wait, Some(&limit)).unwrap() == 1
    }
}

/// Forks without end, each process ending at once, each with its own group: none lives long enough to be looked at.
const HOPPER: &str = r#"
$SIG{$_} = "IGNORE" for qw(HUP TERM INT);
$| = 1;
print "ready\n";
while (1) {
    my $child = fork;
    next unless defined $child;
    POSIX::_exit(0) if $child;
    setpgrp;
}
"#;

#[test]
fn what_forks_faster_than_it_is_looked_for_ends_too() {
    const BOB: u32 = ALICE + 208;
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let hopper = Orphan::start(BOB, &["perl", "-MPOSIX", "-e", HOPPER]);
    assert!(!hopper.ends(Duration::ZERO));
    leave(&host, &mut repository);
    assert!(hopper.ends(SOON));
}

#[test]
fn what_forks_fast_beside_a_container_ends_and_the_container_does_not() {
    const BOB: u32 = ALICE + 209;
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let mut container = container(BOB);
    let forking = spawn(BOB, "trap '' HUP TERM INT; echo ready; while :; do /bin/true & done");
    leave(&host, &mut repository);
    assert_eq!(ended(forking), Some(9));
    assert!(lives(&mut container), "a container's process happens to have the number");
    drop(container.stdin.take());
    assert_eq!(ended(container), None, "it ended by itself");
}

#[test]
fn a_pid_namespace_of_the_persons_own_is_no_container() {
    for (offset, unshare) in [(210, "-Urpf"), (211, "-Upf")] {
        let bob = ALICE + offset;
        let mut repository = Repository::new(with_bob(bob));
        let host = Host::applied(&repository);
        // What is outside the namespace ends first: nothing tells by descent whose it is.
        let outside = format!("unshare {unshare} sh -c \"$0\" & sleep 0.5; kill -9 $!");
        let inside = "trap '' HUP TERM INT; sleep 1; echo ready; while :; do sleep 1000; done";
        let orphan = Orphan::start(bob, &["sh", "-c", &outside, inside]);
        assert!(!orphan.ends(Duration::ZERO), "{unshare}");
        leave(&host, &mut repository);
        assert!(orphan.ends(SOON), "{unshare}");
    }
}

#[test]
fn lingering_is_turned_off_and_sessions_are_terminated_through_logind() {
    const BOB: u32 = ALICE + 204;
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let linger = host.path("/var/lib/systemd/linger/bob");
    std::fs::create_dir_all(linger.parent().unwrap()).unwrap();
    std::fs::write(&linger, "").unwrap();
    std::fs::create_dir_all(host.path("/run/systemd/users")).unwrap();
    std::fs::write(host.path("/run/systemd/users").join(BOB.to_string()), "").unwrap();
    leave(&host, &mut repository);
    assert!(!linger.exists());
    let calls = host.bus_calls();
    let position = |call: &str| calls.find(call).unwrap_or_else(|| panic!("no {call}: {calls}"));
    assert!(position(&format!("SetUserLinger ubb {BOB} false false")) < position("TerminateUser"));
    // Nothing is in the slice any more but what tidies up after the user.
    assert!(!calls.contains("KillUser"), "{calls}");
    assert!(!calls.contains(&ALICE.to_string()));
}

#[test]
fn a_local_account_with_the_uid_is_left_alone() {
    const BOB: u32 = ALICE + 205;
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let passwd = format!("{}local:x:{BOB}:{BOB}::/:/bin/bash\n", host.read("/etc/passwd"));
    std::fs::write(host.path("/etc/passwd"), passwd).unwrap();
    let mut theirs = spawn(BOB, STUBBORN);
    let report = leave(&host, &mut repository);
    assert!(lives(&mut theirs), "{report:#?}");
    host.engine.rest();
    assert!(lives(&mut theirs));
    theirs.kill().unwrap();
    theirs.wait().unwrap();
}

#[test]
fn what_starts_just_after_is_found_by_the_second_look() {
    const BOB: u32 = ALICE + 206;
    let mut repository = Repository::new(with_bob(BOB));
    let host = Host::applied(&repository);
    let first = spawn(BOB, STUBBORN);
    leave(&host, &mut repository);
    assert_eq!(ended(first), Some(9));
    let late = spawn(BOB, STUBBORN);
    host.engine.rest();
    assert_eq!(ended(late), Some(9));
}

#[test]
fn unenrolling_ends_everybodys_sessions() {
    const BOB: u32 = ALICE + 207;
    let repository = Repository::new(documents(&[user("u4", "dora", BOB)]));
    let host = Host::applied(&repository);
    let dora = spawn(BOB, STUBBORN);
    assert!(report(host.ask(&ApplyRequest::Unenroll)).is_whole());
    assert_eq!(ended(dora), Some(9));
}

/// What bob's policy gave him once, and `useradd` has given to somebody local since he left.
#[test]
fn subordinate_ids_that_somebody_local_has_by_now_are_left_alone() {
    const BOB: u32 = ALICE + 212;
    // Below systemd's ids of foreign images, and of this test alone.
    const FIRST: u32 = 2_147_000_000;
    let mut bob = user("u2", "bob", BOB);
    bob["subids"] = serde_json::json!([{ "start": FIRST, "count": 1000 }]);
    let mut repository = Repository::new(documents(&[user("u1", "alice", ALICE), bob]));
    let host = Host::applied(&repository);
    let his = spawn(FIRST + 7, STUBBORN);
    leave(&host, &mut repository);
    assert_eq!(ended(his), Some(9));
    host.engine.rest();

    std::fs::write(host.path("/etc/subuid"), format!("olga:{}:10\n", FIRST + 500)).unwrap();
    let mut container = spawn(FIRST + 505, STUBBORN);
    let late = spawn(FIRST + 510, STUBBORN);
    assert!(report(host.ask(&ApplyRequest::Apply { cause: Cause::Timer })).is_whole());
    assert_eq!(ended(late), Some(9), "what is his still ends");
    host.engine.rest();
    assert!(lives(&mut container), "olga's");
    container.kill().unwrap();
    container.wait().unwrap();
}
