//! What becomes of the homes of those who leave.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use chrono::{TimeDelta, Utc};
use hostward_protocol::report::{Outcome, Report};
use serde_json::json;

use super::{change, with};
use crate::common::host::{Host, failures};
use crate::common::policy::{self, ALICE, BOB, alice_and_bob, only_alice};
use crate::common::repository::Repository;

#[test]
fn homes_are_archived_or_deleted_after_the_grace() {
    for (word, archived) in [("archive", true), ("delete", false)] {
        let removal = |documents| {
            with(documents, "project.json", |project| {
                project["settings"]["removal"] = json!({ "homes": word, "grace": 3600 });
            })
        };
        let mut repository = Repository::new(removal(alice_and_bob()));
        let host = Host::applied(&repository);
        let _room = room_in(&host, "1g");
        let home = host.path("/home/bob");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("notes"), "of bob").unwrap();
        symlink("/etc", home.join("link")).unwrap();
        std::fs::create_dir_all(home.join("deep/er")).unwrap();
        chown(&home, Some(BOB), Some(BOB)).unwrap();
        assert!(change(&host, &mut repository, removal(only_alice())).is_whole());
        host.engine.rest();
        assert!(home.exists(), "the grace is not over");
        let later = Utc::now() + TimeDelta::hours(2);
        assert_eq!(failures(&host.apply_at(later)), Vec::<&str>::new());
        host.engine.rest();
        assert!(!home.exists());
        assert!(host.path("/etc/passwd").exists());
        let entries = std::fs::read_dir(host.path(ARCHIVE)).unwrap();
        let archives: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(archives.len(), usize::from(archived));
        for archive in archives {
            assert_eq!(std::fs::metadata(&archive).unwrap().permissions().mode() & 0o7777, 0o600);
            let list = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
            let list = String::from_utf8_lossy(&list.stdout).into_owned();
            assert!(list.contains("./notes") && list.contains("./link\n"), "{list}");
            assert!(!list.contains("passwd"), "links are not followed: {list}");
        }
        let ledger = host.read("/var/lib/hostward/ledger.json");
        assert!(ledger.contains("\"home_settled\":true"), "{ledger}");
        let report = host.apply_at(later + TimeDelta::minutes(5));
        assert!(report.steps.iter().any(|step| step.step.contains("/home/bob")), "its outcome is reported");
    }
}

const ARCHIVE: &str = "/var/lib/hostward/archive";

/// So much room for archives, whatever is free on this machine.
fn room_in(host: &Host, size: &str) -> Small {
    std::fs::create_dir_all(host.path(ARCHIVE)).unwrap();
    Small::over(&host.path(ARCHIVE), size)
}

fn removal(documents: policy::Documents, word: &str) -> policy::Documents {
    with(documents, "project.json", |project| {
        project["settings"]["removal"] = json!({ "homes": word, "grace": 0 });
    })
}

/// A program that says `NAME-started` in the root, and goes on once `NAME-goes-on` is there.
fn held(host: &Host, path: &str) {
    let name = host.path(path.rsplit('/').next().unwrap());
    let name = name.display();
    std::fs::remove_file(host.path(path)).unwrap();
    crate::common::host::script(
        &host.path(path),
        &format!(
            ": > {name}-started; while [ ! -e {name}-goes-on ]; do /bin/sleep 0.02; done; exec {path} \"$@\""
        ),
    );
}

fn await_file(path: &std::path::Path) {
    let begun = std::time::Instant::now();
    while !path.exists() {
        assert!(begun.elapsed().as_secs() < 60, "`{}` did not appear", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_home_whose_owner_is_let_in_again_while_it_is_packed_stays() {
    for leaves_again in [false, true] {
        let mut repository = Repository::new(removal(alice_and_bob(), "archive"));
        let host = Host::applied(&repository);
        let _room = room_in(&host, "1g");
        let home = host.path("/home/bob");
        std::fs::create_dir(&home).unwrap();
        chown(&home, Some(BOB), Some(BOB)).unwrap();
        held(&host, "/bin/tar");
        change(&host, &mut repository, removal(only_alice(), "archive"));
        host.apply_at(Utc::now() + TimeDelta::hours(1));
        await_file(&host.path("tar-started"));
        change(&host, &mut repository, removal(alice_and_bob(), "archive"));
        assert_eq!(host.names(), ["alice", "bob"]);
        std::fs::write(home.join("new"), "since bob is back").unwrap();
        if leaves_again {
            change(&host, &mut repository, removal(only_alice(), "keep"));
        }
        std::fs::write(host.path("tar-goes-on"), "").unwrap();
        host.engine.rest();
        assert!(home.join("new").exists());
        let archives = std::fs::read_dir(host.path(ARCHIVE)).unwrap();
        assert_eq!(archives.count(), 0, "an archive of what is in use helps nobody");
        let report = host.apply();
        let skipped = |step: &hostward_protocol::report::StepOutcome| {
            step.step.contains("/home/bob") && matches!(step.outcome, Outcome::Skipped { .. })
        };
        assert!(report.steps.iter().any(skipped), "{report:#?}");
    }
}

#[test]
fn a_home_that_is_being_deleted_is_not_in_the_way_of_its_owner() {
    let mut repository = Repository::new(removal(alice_and_bob(), "delete"));
    let host = Host::applied(&repository);
    let home = host.path("/home/bob");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(BOB), Some(BOB)).unwrap();
    held(&host, "/bin/rm");
    change(&host, &mut repository, removal(only_alice(), "delete"));
    host.apply_at(Utc::now() + TimeDelta::hours(1));
    await_file(&host.path("rm-started"));
    assert!(!home.exists());
    change(&host, &mut repository, removal(alice_and_bob(), "delete"));
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("new"), "since bob is back").unwrap();
    std::fs::write(host.path("rm-goes-on"), "").unwrap();
    host.engine.rest();
    assert!(home.join("new").exists());
    assert_eq!(std::fs::read_dir(host.path("/home")).unwrap().count(), 1, "the old one is gone");
}

/// A file system of this size over a directory.
struct Small(std::path::PathBuf);

impl Small {
    fn over(directory: &std::path::Path, size: &str) -> Small {
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(directory).status();
        assert!(mounted.unwrap().success());
        Small(directory.into())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn an_archive_for_which_there_is_no_room_is_not_begun_and_not_tried_again_at_once() {
    // With no room beside the margin; and with some, but less than what a wrong estimate promised.
    for (size, wrong) in [("200m", false), ("260m", true)] {
        let mut repository = Repository::new(removal(alice_and_bob(), "archive"));
        let host = Host::applied(&repository);
        let home = host.path("/home/bob");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("large"), vec![7; 8 << 20]).unwrap();
        chown(&home, Some(BOB), Some(BOB)).unwrap();
        let small = room_in(&host, size);
        std::fs::write(host.path(ARCHIVE).join(".old-1-x.tar.new"), "of a process that was killed").unwrap();
        if wrong {
            std::fs::remove_file(host.path("/usr/bin/du")).unwrap();
            crate::common::host::script(&host.path("/usr/bin/du"), "echo 1");
        }
        change(&host, &mut repository, removal(only_alice(), "archive"));
        let later = Utc::now() + TimeDelta::hours(1);
        let begun = |report: &Report| {
            let is_step = |step: &&hostward_protocol::report::StepOutcome| matches!(&step.outcome, Outcome::Done { detail } if detail.contains("begun"));
            report.steps.iter().any(|step| is_step(&step))
        };
        assert!(begun(&host.apply_at(later)));
        host.engine.rest();
        assert!(home.join("large").exists());
        assert_eq!(std::fs::read_dir(host.path(ARCHIVE)).unwrap().count(), 0, "nothing is left of it");
        let report = host.apply_at(later + TimeDelta::minutes(5));
        assert_eq!(failures(&report), ["home-not-settled"], "{report:#?}");
        assert!(!begun(&report), "{report:#?}");
        assert!(format!("{report:?}").contains("MiB are free"), "{report:#?}");
        drop(small);
        let _room = room_in(&host, "1g");
        let report = host.apply_at(later + TimeDelta::hours(23));
        assert!(!begun(&report), "{report:#?}");
        assert!(begun(&host.apply_at(later + TimeDelta::hours(25))));
        host.engine.rest();
        assert!(!home.exists());
        assert_eq!(host.read("/var/lib/hostward/home-retries.json"), "{}");
        assert_eq!(std::fs::read_dir(host.path(ARCHIVE)).unwrap().count(), 1);
    }
}

#[test]
fn a_home_that_was_moved_aside_when_the_machine_stopped_is_deleted_later() {
    let repository = Repository::new(alice_and_bob());
    let host = Host::applied(&repository);
    let aside = host.path("/home/.hostward-left-70099");
    std::fs::create_dir_all(aside.join("deep/er")).unwrap();
    host.apply();
    host.engine.rest();
    assert!(!aside.exists());
}

#[test]
fn a_home_that_is_not_the_leavers_stays() {
    let removal = |documents| {
        with(documents, "project.json", |project| {
            project["settings"]["removal"] = json!({ "homes": "delete", "grace": 0 });
        })
    };
    let mut repository = Repository::new(removal(alice_and_bob()));
    let host = Host::applied(&repository);
    let home = host.path("/home/bob");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(ALICE), None).unwrap();
    change(&host, &mut repository, removal(only_alice()));
    host.apply_at(Utc::now() + TimeDelta::hours(1));
    host.engine.rest();
    assert!(home.exists());
    std::fs::remove_dir(&home).unwrap();
    symlink(host.path("/etc"), &home).unwrap();
    host.apply_at(Utc::now() + TimeDelta::hours(1));
    host.engine.rest();
    assert!(host.path("/etc/passwd").exists());
}
