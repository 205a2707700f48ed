//! The format's page says everything: a reader and writer made from it alone, in another language, agrees with ours on whole
//! files, golden ones included, and on damaged ones.
#![allow(missing_docs)]

mod team;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hostward_accounts::{
    Database, Group, GroupRecord, Lookup, PROLOGUE, SubidRange, Subids, User, UserRecord, body, build,
    decode_all,
};
use tempfile::TempDir;

fn second_reader(arguments: &[PathBuf]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/second_reader.py");
    let output = Command::new("python3").arg(script).args(arguments).output().expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// As Python prints a list.
fn list<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| format!("'{}'", hex(text.as_ref()))).collect();
    format!("[{}]", texts.join(", "))
}

fn user_line(user: &UserRecord<'_>) -> String {
    let Some((until, principals)) = user.valid_until().zip(user.principals()) else {
        return "damaged".into();
    };
    if !user.gids_are_sound() {
        return "damaged".into();
    }
    let texts = [user.name(), user.gecos(), user.home(), user.shell()]
        .map(|text| if text.is_empty() { "-".to_owned() } else { hex(text) });
    let (gids, until) = (user.gids().collect::<Vec<_>>(), until.unwrap_or(0));
    format!("user {} {} {} {gids:?} {until} {}", user.uid(), user.gid(), texts.join(" "), list(principals))
}

fn group_line(group: &GroupRecord<'_>) -> String {
    let members: Option<Vec<&[u8]>> = group.members().map(|member| Some(member?.1)).collect();
    let Some(members) = members else { return "damaged".into() };
    format!("group {} {} {}", group.gid(), hex(group.name()), list(members))
}

fn said<T>(lookup: Lookup<T>, line: impl Fn(&T) -> String) -> String {
    match lookup {
        Lookup::Found(entry) => line(&entry),
        Lookup::NotFound => "absent".into(),
        Lookup::Corrupt => "damaged".into(),
    }
}

/// What the second reader says of a whole file, from ours.
fn description(file: &[u8]) -> String {
    let (users, groups) = decode_all(file).expect("is whole");
    let body = body(file).expect("has a body");
    let database = Database::new(body).expect("is a database");
    let subids = Subids::new(body).expect("are within the file");
    let (generation, minor) = (database.generation(), body[10]);
    let mut lines = format!("generation {generation} version 1.{minor} {} {}\n", users.len(), groups.len());
    for User { uid, .. } in &users {
        let _infallible = writeln!(lines, "{}", said(database.user_by_uid(*uid), user_line));
    }
    for Group { gid, .. } in &groups {
        let _infallible = writeln!(lines, "{}", said(database.group_by_gid(*gid), group_line));
    }
    for (uid, range) in users.iter().flat_map(|user| subids.of(user.uid).map(|range| (user.uid, range))) {
        let SubidRange { start, count } = range;
        let last = start + (count - 1);
        let owners = [start, last, last + 1, start - 1].map(|id| said(subids.owner(id), u32::to_string));
        let owners = owners.join(", ").replace("absent", "-");
        let _infallible = writeln!(lines, "subids {uid} {start} {count} [{owners}]");
    }
    lines + "written again: the same\n"
}

/// A few hundred people, with strings of every length modulo 8, and many names of either kind of hash.
fn crowd() -> Vec<u8> {
    let user = |n: u32| User {
        name: format!("{}{n}", "x".repeat(n as usize % 28)),
        uid: 100_000 + n * 7919 % 4001,
        gid: 60_000 + n,
        gecos: "é".repeat(n as usize % 9),
        home: format!("/home/{n}"),
        shell: ["/bin/sh", "/bin/bash"][n as usize % 2].into(),
        local_gids: (0..n % 5).map(|gid| 20 + gid).collect(),
        principals: (0..n % 3).map(|p| format!("{n}@{p}")).collect(),
        valid_until: u64::from(n % 2) << (n % 60),
        // Some next to one another, and not in the order of the uids.
        subids: (0..n % 3)
            .map(|range| SubidRange { start: 600_000_000 - n * 2000 + range * 1000, count: 1000 - n % 2 })
            .collect(),
    };
    let group = |n: u32| Group {
        name: format!("group{n}"),
        gid: 200_000 + n,
        members: (0..400).filter(|user| n > 0 && user % n == 0).collect(),
    };
    build(&(0..400).map(user).collect::<Vec<_>>(), &(0..60).map(group).collect::<Vec<_>>(), 1 << 40)
        .expect("builds")
}

#[test]
fn the_second_reader_agrees_on_golden_and_generated_files_and_writes_the_same_bytes() {
    let directory = TempDir::new().expect("a directory");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> =
        fs::read_dir(golden).expect("reads").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    for (n, file) in [crowd(), build(&team::users(), &[], 3).expect("builds")].iter().enumerate() {
        files.push(directory.path().join(n.to_string()));
        fs::write(files.last().expect("one"), file).expect("writes");
    }
    for path in &files {
        let file = fs::read(path).expect("reads");
        let theirs = second_reader(std::slice::from_ref(path));
        assert_eq!(theirs, description(&file), "{}", path.display());
    }
}

#[test]
fn the_second_reader_agrees_on_what_damage_means() {
    let whole = build(&team::users(), &team::groups(), 7).expect("builds");
    let mut names: Vec<Vec<u8>> = team::users().iter().map(|user| user.name.clone().into_bytes()).collect();
    names.extend(team::groups().iter().map(|group| group.name.clone().into_bytes()));
    names.extend([b"nobody".to_vec(), b"".to_vec(), vec![b'x'; 32], vec![b'x'; 33]]);
    let ids = [60001, 60002, 60003, 70001, 70002, 0, 4711, u32::MAX];

    let directory = TempDir::new().expect("a directory");
    let keys = directory.path().join("keys");
    let lines = names.iter().map(|name| format!("n {}\n", hex(name)));
    let lines = lines.chain(ids.iter().map(|id| format!("i {id:x}\n")));
    fs::write(&keys, lines.collect::<String>()).expect("writes");
    let mut arguments = vec![PathBuf::from("--ask"), keys];
    let mut expected = String::new();
    // Every byte that is not empty space, changed in some way.
    let damaged = (PROLOGUE..whole.len()).filter(|at| whole[*at] != 0xff || at % 31 == 0);
    for (n, at) in damaged.enumerate() {
        let mut file = whole.clone();
        file[at] = [file[at] ^ 1, file[at] ^ 0x80, 0, 0xff, file[at].wrapping_add(8)][n % 5];
        arguments.push(directory.path().join(at.to_string()));
        fs::write(&arguments[n + 2], &file).expect("writes");
        let Ok(database) = Database::new(body(&file).expect("has a body")) else {
            expected.push_str("no database\n");
            continue;
        };
        let mut answers = Vec::new();
        for name in &names {
            answers.push(said(database.user_by_name(name), user_line));
            answers.push(said(database.group_by_name(name), group_line));
        }
        for id in ids {
            answers.push(said(database.user_by_uid(id), user_line));
            answers.push(said(database.group_by_gid(id), group_line));
        }
        expected.push_str(&(answers.join("\n") + "\n"));
    }
    let kinds = ["no database\n", "absent\n", "damaged\n", "user 6000", "group 7000"];
    assert!(kinds.iter().all(|kind| expected.matches(kind).count() > 20), "all kinds of answers are met");
    let theirs = second_reader(&arguments);
    for (n, (theirs, ours)) in theirs.lines().zip(expected.lines()).enumerate() {
        assert_eq!(theirs, ours, "line {n}");
    }
    assert_eq!(theirs.len(), expected.len());
}
