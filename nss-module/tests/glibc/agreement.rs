//! Through glibc, the module answers as `files` does for the same accounts written as text.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use hostward_accounts::{Group, User, build};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::calls;
use crate::host::Host;

prop_compose! {
    fn user(uid: u32)(
        name in "[a-z_][a-z0-9_.-]{0,31}",
        gid in 1..u32::MAX,
        gecos in "[^:\\pC]{0,40}",
        home in "/[^:\\pC]{0,40}",
        shell in "/[a-z/]{0,20}",
    ) -> User {
        User { name, uid, gid, gecos, home, shell, ..User::default() }
    }
}

prop_compose! {
    fn group(gid: u32)(
        name in "[a-z_][a-z0-9_.-]{0,31}",
        members in proptest::collection::btree_set(0..40_u32, 0..40),
    ) -> Group {
        Group { name, gid, members: members.into_iter().collect() }
    }
}

fn accounts() -> impl Strategy<Value = (Vec<User>, Vec<Group>)> {
    let ids = || proptest::collection::btree_set(1..u32::MAX, 0..40);
    let users = ids().prop_flat_map(|ids| ids.into_iter().map(user).collect::<Vec<_>>());
    let groups = ids().prop_flat_map(|ids| ids.into_iter().map(group).collect::<Vec<_>>());
    (users, groups).prop_map(|(mut users, mut groups)| {
        let (mut of_users, mut of_groups) = (BTreeSet::new(), BTreeSet::new());
        users.retain(|user| of_users.insert(user.name.clone()));
        groups.retain(|group| of_groups.insert(group.name.clone()));
        for group in &mut groups {
            group.members.retain(|member| (*member as usize) < users.len());
        }
        (users, groups)
    })
}

/// The same as lines of passwd(5), group(5) and shadow(5).
fn as_text(users: &[User], groups: &[Group]) -> [(&'static str, String); 3] {
    let [mut passwd, mut group, mut shadow] = [const { String::new() }; 3];
    for user in users {
        let User { name, uid, gid, gecos, home, shell, .. } = user;
        let _infallible = writeln!(passwd, "{name}:*:{uid}:{gid}:{gecos}:{home}:{shell}");
        let _infallible = writeln!(shadow, "{name}:*:::::::");
    }
    for Group { name, gid, members } in groups {
        let members: Vec<&str> = members.iter().map(|member| users[*member as usize].name.as_str()).collect();
        let _infallible = writeln!(group, "{name}:*:{gid}:{}", members.join(","));
    }
    [("passwd", passwd), ("group", group), ("shadow", shadow)]
}

/// Everything that can be asked, and the answers, as a child process gets them that asks `service` alone.
fn answers(host: &Host, service: &'static std::ffi::CStr, users: &[User], groups: &[Group]) -> String {
    let file = host.path.with_extension("answers");
    let status = calls::fork(|| {
        calls::configure(service);
        let mut said = String::new();
        let mut say = |line: std::fmt::Arguments<'_>| said.write_fmt(format_args!("{line}\n")).is_ok();
        let strangers = ["nobody-at-all", "", "x"];
        for name in users.iter().map(|user| user.name.as_str()).chain(strangers) {
            say(format_args!("{name}: {:?} {:?}", calls::glibc_getpwnam(name), calls::glibc_getspnam(name)));
            let gids: BTreeSet<u32> = calls::glibc_getgrouplist(name, 7).into_iter().collect();
            say(format_args!("{name}: in {gids:?}"));
        }
        for uid in users.iter().flat_map(|user| [user.uid, user.uid.wrapping_add(1), user.gid]) {
            say(format_args!("uid {uid}: {:?}", calls::glibc_getpwuid(uid)));
        }
        for name in groups.iter().map(|group| group.name.as_str()).chain(strangers) {
            say(format_args!("{name}: {:?}", calls::glibc_getgrnam(name)));
        }
        for gid in groups.iter().flat_map(|group| [group.gid, group.gid.wrapping_add(1)]) {
            say(format_args!("gid {gid}: {:?}", calls::glibc_getgrgid(gid)));
        }
        say(format_args!("all: {:?} {:?}", calls::glibc_all_users(), calls::glibc_all_groups()));
        fs::write(&file, said).is_ok()
    });
    assert_eq!(status, 0);
    fs::read_to_string(&file).expect("the child wrote it")
}

pub fn the_module_answers_as_files_does(host: &Host) {
    for (name, _) in as_text(&[], &[]) {
        calls::cover(&format!("/etc/{name}"));
    }
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(64) });
    let agreed = runner.run(&accounts(), |(users, groups)| {
        for (name, text) in as_text(&users, &groups) {
            fs::write(format!("/etc/{name}"), text).expect("writes what covers the machine's");
        }
        host.write(&build(&users, &groups, 1).expect("builds"));
        let ours = answers(host, c"hostward", &users, &groups);
        prop_assert!(ours.matches("(0, Some(Passwd").count() >= 2 * users.len(), "{}", ours);
        prop_assert_eq!(ours, answers(host, c"files", &users, &groups));
        Ok(())
    });
    agreed.expect("the same answers");
}
