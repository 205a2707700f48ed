//! The edit of nsswitch.conf, on every shape of the file that hosts are known to have.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use hostward_lab::workspace;

const UNCHANGED: i32 = 0;
const CHANGED: i32 = 10;

fn edit(action: &str, file: &Path) -> i32 {
    let status = Command::new("sh")
        .arg(workspace::root().join("packaging/nsswitch"))
        .arg(action)
        .arg(file)
        .status()
        .expect("sh runs");
    status.code().expect("an exit status")
}

fn in_a_file<T>(content: &str, test: impl FnOnce(&Path) -> T) -> T {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("nsswitch.conf");
    fs::write(&file, content).expect("a file");
    let result = test(&file);
    let left: Vec<_> = fs::read_dir(directory.path()).expect("a listing").flatten().collect();
    assert!(left.len() <= 1, "temporary files are left: {left:?}");
    result
}

/// A `passwd` line before and after.
const LINES: &[(&str, &str)] = &[
    ("passwd: files", "passwd: files hostward"),
    ("passwd:         files", "passwd:         files hostward"),
    ("passwd:\tfiles\tsystemd", "passwd:\tfiles hostward\tsystemd"),
    ("passwd: files systemd", "passwd: files hostward systemd"),
    ("  passwd : files sss  ", "  passwd : files hostward sss  "),
    ("passwd:files", "passwd:files hostward"),
    ("passwd: files # local ones first, then sss", "passwd: files hostward # local ones first, then sss"),
    ("passwd: files#x", "passwd: files hostward#x"),
    ("passwd: compat systemd", "passwd: compat hostward systemd"),
    ("passwd: sss files", "passwd: sss files hostward"),
    ("passwd: sss", "passwd: sss hostward"),
    ("passwd: sss # no files", "passwd: sss hostward # no files"),
    ("passwd: sss [NOTFOUND=return]", "passwd: sss [NOTFOUND=return] hostward"),
    ("passwd: files [NOTFOUND=return] sss", "passwd: files hostward [NOTFOUND=return] sss"),
    (
        "passwd: files [!UNAVAIL=return SUCCESS=return] sss",
        "passwd: files hostward [!UNAVAIL=return SUCCESS=return] sss",
    ),
    (
        "passwd: files [ SUCCESS = merge ] systemd",
        "passwd: files [ SUCCESS = merge ] hostward [ SUCCESS = merge ] systemd",
    ),
    (
        "passwd: files [success=merge] sss [success=merge] systemd",
        "passwd: files [success=merge] hostward [success=merge] sss [success=merge] systemd",
    ),
    ("passwd: db files", "passwd: db files hostward"),
    ("passwd: myfiles files", "passwd: myfiles files hostward"),
    ("passwd: files files", "passwd: files hostward files"),
];

/// Actions of `files`: the line of this database before and after. What glibc does with the answers of each service is
/// behind each: for who is in the files (F), in hostward (H), in neither (-), and in neither without a database (U).
const ACTIONS: &[(&str, &str)] = &[
    // F goes on to nis, H too, - and U are asked of nis.
    (
        "initgroups: files [SUCCESS=continue] nis",
        "initgroups: files [SUCCESS=continue] hostward [SUCCESS=continue] nis",
    ),
    (
        "initgroups:files[success=continue]nis",
        "initgroups:files[success=continue] hostward[success=continue]nis",
    ),
    // As before, and U does not stop.
    (
        "initgroups: files [SUCCESS=continue UNAVAIL=return] nis",
        "initgroups: files [SUCCESS=continue UNAVAIL=return] hostward [SUCCESS=continue] nis",
    ),
    (
        "initgroups: files [!NOTFOUND=continue] nis",
        "initgroups: files [!NOTFOUND=continue] hostward [!NOTFOUND=continue] nis",
    ),
    // With names and numbers the last answer counts: H ends with hostward's, F is what nis says, as before.
    ("passwd: files [SUCCESS=continue] nis", "passwd: files [SUCCESS=continue] hostward nis"),
    ("shadow: files [SUCCESS=continue] nis", "shadow: files [SUCCESS=continue] hostward nis"),
    // F and H are merged with systemd's, - and U are asked of it.
    ("group: files [SUCCESS=merge] systemd", "group: files [SUCCESS=merge] hostward [SUCCESS=merge] systemd"),
    (
        "group: files [SUCCESS=merge TRYAGAIN=return] systemd",
        "group: files [SUCCESS=merge TRYAGAIN=return] hostward [SUCCESS=merge] systemd",
    ),
    (
        "group: files[!NOTFOUND=return SUCCESS=merge]systemd",
        "group: files[!NOTFOUND=return SUCCESS=merge] hostward[SUCCESS=merge]systemd",
    ),
    // F and H end, - and U are asked of sss: hostward must not stop at what only files was to stop at.
    ("passwd: files [!NOTFOUND=return] sss", "passwd: files [!NOTFOUND=return] hostward sss"),
    ("passwd: files [ !notfound = return ] sss", "passwd: files [ !notfound = return ] hostward sss"),
    ("passwd: files [UNAVAIL=return] sss", "passwd: files [UNAVAIL=return] hostward sss"),
    ("passwd: files [TRYAGAIN=return] sss", "passwd: files [TRYAGAIN=return] hostward sss"),
    ("passwd: files[UNAVAIL=return]sss", "passwd: files[UNAVAIL=return] hostward[SUCCESS=return]sss"),
    ("passwd: files [UNAVAIL=return]# sss", "passwd: files [UNAVAIL=return] hostward# sss"),
    ("passwd: files [SUCCESS=return] sss", "passwd: files [SUCCESS=return] hostward sss"),
    // The last word counts: - is asked of sss.
    (
        "passwd: files [NOTFOUND=return NOTFOUND=continue] sss",
        "passwd: files [NOTFOUND=return NOTFOUND=continue] hostward sss",
    ),
    // F and H end, - ends too; sss was never asked for U and need not be.
    ("passwd: files [NOTFOUND=return] sss", "passwd: files hostward [NOTFOUND=return] sss"),
    ("passwd: files [!SUCCESS=return] sss", "passwd: files hostward [!SUCCESS=return] sss"),
    ("passwd: files [!UNAVAIL=return] sss", "passwd: files hostward [!UNAVAIL=return] sss"),
    (
        "passwd: files [NOTFOUND=return UNAVAIL=return] sss",
        "passwd: files hostward [NOTFOUND=return UNAVAIL=return] sss",
    ),
    // glibc reads nothing after the second list.
    (
        "passwd: files [UNAVAIL=return] [NOTFOUND=return] sss",
        "passwd: files hostward [UNAVAIL=return] [NOTFOUND=return] sss",
    ),
];

#[test]
fn actions_mean_the_same_for_everybody_else() {
    for (before, after) in ACTIONS {
        let with = |line: &str| {
            ["passwd: files hostward", "group: files hostward", "shadow: files hostward", line]
                .iter()
                .filter(|other| {
                    line == **other || !line.starts_with(other.split_once(':').expect("a line").0)
                })
                .fold(String::new(), |text, line| text + line + "\n")
        };
        in_a_file(&with(before), |file| {
            assert_eq!(edit("add", file), CHANGED, "{before}");
            assert_eq!(fs::read_to_string(file).expect("a file"), with(after));
            assert_eq!(edit("add", file), UNCHANGED, "{before}");
            assert_eq!(edit("remove", file), CHANGED, "{before}");
            assert_eq!(
                fs::read_to_string(file).expect("a file"),
                with(before).replace("files hostward", "files")
            );
        });
    }
}

/// Whoever is found goes on, whoever is not ends: nothing in between can do both for others and be asked itself.
#[test]
fn actions_that_leave_no_place_stay_and_are_complained_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("nsswitch.conf");
    let before = "passwd: files\ngroup: files [SUCCESS=merge NOTFOUND=return] sss\nshadow: files\n";
    fs::write(&file, before).expect("a file");
    let output = Command::new("sh")
        .arg(workspace::root().join("packaging/nsswitch"))
        .arg("add")
        .arg(&file)
        .output()
        .expect("sh runs");
    assert_eq!(output.status.code(), Some(CHANGED));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the actions [SUCCESS=merge NOTFOUND=return] of group"), "{said}");
    assert_eq!(
        fs::read_to_string(&file).expect("a file"),
        "passwd: files hostward\ngroup: files [SUCCESS=merge NOTFOUND=return] hostward sss\nshadow: files hostward\n"
    );
    assert_eq!(edit("remove", &file), CHANGED);
    assert_eq!(fs::read_to_string(&file).expect("a file"), before);
}

#[test]
fn hostward_follows_files_and_removal_restores_the_line() {
    for (before, after) in LINES {
        let with = |line: &str| {
            format!("# a comment: files\n\n{line}\ngroup: hostward\nshadow: x hostward\nhosts: files dns\n")
        };
        let (restored, added) = (with(before), with(after));
        in_a_file(&restored, |file| {
            assert_eq!(edit("add", file), CHANGED, "{before}");
            assert_eq!(fs::read_to_string(file).expect("a file"), added);
            assert_eq!(edit("add", file), UNCHANGED, "{before}");
            assert_eq!(fs::read_to_string(file).expect("a file"), added);
        });
        // Only this line: the others above hold a hostward that was not there at first.
        in_a_file(&format!("{before}\ngroup: files\nshadow: files\n"), |file| {
            assert_eq!(edit("add", file), CHANGED, "{before}");
            assert_eq!(edit("remove", file), CHANGED, "{before}");
            assert_eq!(
                fs::read_to_string(file).expect("a file"),
                format!("{before}\ngroup: files\nshadow: files\n")
            );
            assert_eq!(edit("remove", file), UNCHANGED, "{before}");
        });
    }
}

#[test]
fn every_database_of_accounts_is_edited_and_no_other() {
    let before = "passwd: files\ngroup: files\nshadow: files\ngshadow: files\ninitgroups: files\nhosts: files\nservices: db files\n";
    let after = "passwd: files hostward\ngroup: files hostward\nshadow: files hostward\ngshadow: files\n\
                 initgroups: files hostward\nhosts: files\nservices: db files\n";
    in_a_file(before, |file| {
        assert_eq!(edit("add", file), CHANGED);
        assert_eq!(fs::read_to_string(file).expect("a file"), after);
        assert_eq!(edit("remove", file), CHANGED);
        assert_eq!(fs::read_to_string(file).expect("a file"), before);
    });
}

#[test]
fn a_missing_line_is_added_and_goes_again() {
    for before in ["passwd: files\ngroup: files\n", "passwd: files\ngroup: files", "hosts: files\n"] {
        in_a_file(before, |file| {
            assert_eq!(edit("add", file), CHANGED);
            let added = fs::read_to_string(file).expect("a file");
            assert!(added.contains("\nshadow: files hostward # added by hostward"), "{added}");
            assert_eq!(edit("add", file), UNCHANGED);
            assert_eq!(edit("remove", file), CHANGED);
            assert_eq!(fs::read_to_string(file).expect("a file"), before);
        });
    }
}

#[test]
fn a_last_line_without_a_newline_counts_and_goes_back_to_the_byte() {
    for (before, after) in [
        (
            "group: files\nshadow: files\npasswd: files",
            "group: files hostward\nshadow: files hostward\npasswd: files hostward\n",
        ),
        (
            "passwd: files\ngroup: files",
            "passwd: files hostward\ngroup: files hostward\nshadow: files hostward # added by hostward\n",
        ),
    ] {
        in_a_file(before, |file| {
            assert_eq!(edit("add", file), CHANGED);
            let added = fs::read_to_string(file).expect("a file");
            assert!(
                added.starts_with(after) && added[after.len()..].starts_with("# added by hostward: "),
                "{added}"
            );
            assert_eq!(edit("add", file), UNCHANGED);
            assert_eq!(edit("remove", file), CHANGED);
            assert_eq!(fs::read_to_string(file).expect("a file"), before);
            assert_eq!(edit("remove", file), UNCHANGED);
        });
    }
    // Somebody else's last line is left as it is.
    in_a_file("passwd: files\ngroup: files\nshadow: files\nhosts: files dns", |file| {
        assert_eq!(edit("add", file), CHANGED);
        assert!(fs::read_to_string(file).expect("a file").ends_with("\nhosts: files dns"));
    });
}

#[test]
fn a_missing_file_is_made_and_goes_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("nsswitch.conf");
    assert_eq!(edit("remove", &file), UNCHANGED);
    assert!(!file.exists());
    assert_eq!(edit("add", &file), CHANGED);
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o644);
    assert_eq!(edit("remove", &file), CHANGED);
    assert!(!file.exists());
}

#[test]
fn what_the_operator_wrote_around_it_stays() {
    in_a_file("passwd: files\ngroup: files\nshadow: files\n", |file| {
        assert_eq!(edit("add", file), CHANGED);
        fs::write(file, "passwd: hostward files # my order\ngroup: files sss\nshadow: files hostward [SUCCESS=return] sss\n")
            .expect("a file");
        assert_eq!(edit("add", file), CHANGED);
        assert_eq!(
            fs::read_to_string(file).expect("a file"),
            "passwd: hostward files # my order\ngroup: files hostward sss\nshadow: files hostward [SUCCESS=return] sss\n"
        );
        assert_eq!(edit("remove", file), CHANGED);
        assert_eq!(
            fs::read_to_string(file).expect("a file"),
            "passwd: files # my order\ngroup: files sss\nshadow: files [SUCCESS=return] sss\n"
        );
    });
}

#[test]
fn mode_and_link_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, link) = (directory.path().join("real.conf"), directory.path().join("nsswitch.conf"));
    fs::write(&file, "passwd: files\n").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink("real.conf", &link).expect("a link");
    assert_eq!(edit("add", &link), CHANGED);
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&file).expect("a file").starts_with("passwd: files hostward\n"));
}

/// Added by the operator alone; taken away with the module, without which shadow would complain at each question.
#[test]
fn the_line_for_subordinate_ids_is_only_ever_taken_away() {
    const ACCOUNTS: &str = "passwd: files hostward\ngroup: files hostward\nshadow: files hostward\n";
    for (before, after) in [
        ("subid: hostward\n", ""),
        ("subid: hostward # containers\n", ""),
        ("SUBID:hostward\n", ""),
        ("subid:\thostward files\n", "subid: files\n"),
        ("subid: files hostward\n", "subid: files\n"),
        ("subid: sss # not hostward\n", "subid: sss # not hostward\n"),
        ("# subid: hostward\n", "# subid: hostward\n"),
    ] {
        in_a_file(&format!("{ACCOUNTS}{before}hosts: files\n"), |file| {
            assert_eq!(edit("add", file), UNCHANGED, "{before}");
            assert_eq!(edit("remove", file), CHANGED, "{before}");
            let restored = format!("{}{after}hosts: files\n", ACCOUNTS.replace(" hostward", ""));
            assert_eq!(fs::read_to_string(file).expect("a file"), restored, "{before}");
            assert_eq!(edit("remove", file), UNCHANGED, "{before}");
        });
    }
}
