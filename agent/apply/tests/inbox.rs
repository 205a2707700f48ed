//! The inbox belongs to an enemy: whatever is put there in the place of a file is refused, and waits for nobody.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::File;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use common::host::{AGENT, Host};
use common::policy::{alice_and_bob, only_alice};
use common::repository::Repository;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Each row replaces a file of the inbox by something else.
type Attack = (&'static str, fn(&Path));

const ATTACKS: [Attack; 9] = [
    ("a link to a file of root's", |path| symlink("/etc/hostname", path).unwrap()),
    ("a link to nothing", |path| symlink("/nonexistent", path).unwrap()),
    ("a link to a good file of the agent's", |path| {
        let elsewhere = path.with_extension("elsewhere");
        std::fs::write(&elsewhere, b"{}").unwrap();
        own(&elsewhere);
        symlink(elsewhere, path).unwrap();
    }),
    ("a hard link", |path| {
        std::fs::write(path, b"{}").unwrap();
        std::fs::hard_link(path, path.with_extension("second")).unwrap();
        own(path);
    }),
    ("a FIFO", |path| {
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        own(path);
    }),
    ("a socket", |path| {
        mknodat(CWD, path, FileType::Socket, Mode::RWXU, 0).unwrap();
        own(path);
    }),
    ("a directory", |path| {
        std::fs::create_dir(path).unwrap();
        own(path);
    }),
    ("a sparse terabyte", |path| {
        File::create(path).unwrap().set_len(1 << 40).unwrap();
        own(path);
    }),
    ("a file of somebody else's", |path| {
        std::fs::write(path, b"{}").unwrap();
        chown(path, Some(AGENT + 1), Some(AGENT)).unwrap();
    }),
];

fn own(path: &Path) {
    chown(path, Some(AGENT), Some(AGENT)).unwrap();
}

fn replace(path: &Path, attack: fn(&Path)) {
    std::fs::remove_file(path).unwrap();
    attack(path);
}

fn second_version() -> (Host, Repository) {
    let mut repository = Repository::new(only_alice());
    let host = Host::applied(&repository);
    repository.version = 2;
    repository.documents = alice_and_bob();
    (host, repository)
}

#[test]
fn metadata_that_are_no_plain_file_are_refused() {
    for name in ["timestamp.json", "2.snapshot.json", "2.targets.json"] {
        for (what, attack) in ATTACKS {
            let (host, repository) = second_version();
            host.offer(&repository);
            replace(&host.inbox().join(name), attack);
            let finding = host.refuses("inbox-refused");
            assert!(finding.message.contains(name), "{what}: {finding:#?}");
        }
    }
}

#[test]
fn a_next_root_that_is_no_plain_file_is_not_taken_for_no_root() {
    for (what, attack) in ATTACKS {
        let (host, repository) = second_version();
        host.offer(&repository);
        attack(&host.inbox().join("2.root.json"));
        let finding = host.refuses("inbox-refused");
        assert!(finding.message.contains("2.root.json"), "{what}: {finding:#?}");
    }
}

#[test]
fn a_document_that_is_no_plain_file_is_refused() {
    for (what, attack) in ATTACKS {
        let (host, repository) = second_version();
        host.offer(&repository);
        let files = repository.files();
        let name = files.keys().find(|name| name.ends_with(".users-00.json")).unwrap();
        replace(&host.inbox().join(name), attack);
        let code = if what == "a sparse terabyte" { "target-too-large" } else { "inbox-refused" };
        host.refuses(code);
    }
}

#[test]
fn a_file_under_a_lease_is_refused_at_once() {
    let (host, repository) = second_version();
    host.offer(&repository);
    let path = host.inbox().join("timestamp.json");
    let mut holder = std::process::Command::new("python3")
        .args(["-c", LEASE])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 3];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
    assert_eq!(&ready, b"ok\n");
    let finding = host.refuses("inbox-refused");
    assert!(finding.message.contains("lease"), "{finding:#?}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(host.admit().admission, None);
}

/// Holds a write lease until its standard input ends.
const LEASE: &str = r"
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.write(1, b'ok\n')
sys.stdin.read()
";

#[test]
fn the_inbox_itself_is_the_agents_directory_or_nothing() {
    let (host, repository) = second_version();
    host.offer(&repository);
    let inbox = host.inbox();
    chown(&inbox, Some(AGENT + 1), None).unwrap();
    host.refuses("inbox-refused");
    chown(&inbox, Some(AGENT), None).unwrap();
    let moved = inbox.with_extension("moved");
    std::fs::rename(&inbox, &moved).unwrap();
    symlink(&moved, &inbox).unwrap();
    host.refuses("inbox-refused");
    std::fs::remove_file(&inbox).unwrap();
    std::fs::rename(&moved, &inbox).unwrap();
    assert_eq!(host.admit().admission, None);
}

#[test]
fn other_files_in_the_inbox_do_not_exist() {
    let (host, repository) = second_version();
    host.offer(&repository);
    for name in ["root.json", "2.root.json.bak", "0.root.json", "x", "snapshot.json", "targets.json"] {
        std::fs::write(host.inbox().join(name), b"garbage").unwrap();
    }
    symlink("/etc/shadow", host.inbox().join("shadow")).unwrap();
    assert_eq!(host.admit().admission, None);
}

#[test]
fn nothing_of_what_was_offered_is_quoted() {
    const MARK: &str = "MARK-7f3a";
    for name in ["timestamp.json", "2.snapshot.json", "2.targets.json", "1.root.json", "2.root.json"] {
        let (host, repository) = second_version();
        let mut files = repository.files();
        let text = format!(
            "{{\"signed\": {{\"_type\": \"{MARK}\", \"version\": \"{MARK}\"}}, \"signatures\": \"{MARK}\"}}"
        );
        files.insert(name.to_owned(), text.into_bytes());
        host.put(&files);
        let report = host.admit();
        assert!(report.admission.is_some(), "{name}");
        let said = serde_json::to_string(&report).unwrap();
        assert!(!said.contains(MARK), "{name}: {said}");
    }
}
