//! The program as sshd runs it, on a database of the test's own in a mount namespace. Needs root.
#![allow(missing_docs)]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use hostward_accounts::{User, build};

/// Runs `hostward-principals ARGUMENTS` as an unprivileged user where `prepare` (shell) has made the database out
/// of the file `$1`.
fn run(prepare: &str, file: &Path, arguments: &[&str]) -> Output {
    let script = format!(
        "mount -t tmpfs tmpfs /var/lib/misc && {prepare} && program=$2 && shift 2 &&
         exec setpriv --reuid=65534 --regid=65534 --clear-groups -- /proc/self/fd/9 \"$@\" 9<\"$program\""
    );
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(file)
        .arg(env!("CARGO_BIN_EXE_hostward-principals"))
        .args(arguments)
        .output()
        .expect("unshare (util-linux) runs");
    assert!(output.status.signal().is_none(), "{output:?}");
    output
}

fn database() -> tempfile::NamedTempFile {
    let user = User {
        name: "alice".into(),
        uid: 60001,
        gid: 60001,
        principals: vec!["alice".into(), "ops".into()],
        ..User::default()
    };
    let gone = User {
        name: "bob".into(),
        uid: 60002,
        principals: vec!["bob".into()],
        valid_until: 1,
        ..user.clone()
    };
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), build(&[user, gone], &[], 1).expect("builds")).expect("writes");
    file
}

const IN_PLACE: &str = "install -m 644 \"$1\" /var/lib/misc/hostward.db";

fn told(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn prints_principals_or_nothing() {
    let file = database();
    assert_eq!(told(&run(IN_PLACE, file.path(), &["alice"])), (Some(0), "alice\nops\n", ""));
    assert_eq!(told(&run(IN_PLACE, file.path(), &["root"])), (Some(0), "", ""));
    assert_eq!(told(&run(IN_PLACE, file.path(), &["bob"])), (Some(0), "", ""));
}

#[test]
fn wrong_arguments_are_refused() {
    let file = database();
    for arguments in [&[][..], &["alice", "bob"], &["alice", ""]] {
        assert_eq!(
            told(&run(IN_PLACE, file.path(), arguments)),
            (Some(2), "", "hostward-principals: usage: hostward-principals USER\n")
        );
    }
}

#[test]
fn a_database_in_doubt_is_said_and_gives_nothing() {
    let file = database();
    let cases = [
        ("true", "No such file or directory"),
        ("install -m 664 \"$1\" /var/lib/misc/hostward.db", "not a regular file of root's"),
        ("install -m 644 -o 65534 \"$1\" /var/lib/misc/hostward.db", "not a regular file of root's"),
        ("install -m 600 \"$1\" /var/lib/misc/hostward.db", "Permission denied"),
        ("ln -s \"$1\" /var/lib/misc/hostward.db", "Too many levels of symbolic links"),
        ("mkfifo /var/lib/misc/hostward.db", "not a regular file of root's"),
        ("head -c 1000 \"$1\" > /var/lib/misc/hostward.db", "the file is cut"),
        ("head -c 10 \"$1\" > /var/lib/misc/hostward.db", "its size cannot be"),
        ("tr '\\211' x < \"$1\" > /var/lib/misc/hostward.db", "not an account database"),
    ];
    for (prepare, reason) in cases {
        let output = run(prepare, file.path(), &["alice"]);
        let (code, printed, said) = told(&output);
        assert_eq!((code, printed), (Some(1), ""), "{prepare}: {said}");
        assert!(said.contains(reason) && said.lines().count() == 1, "{prepare}: {said}");
    }
}
