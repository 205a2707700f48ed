//! Through glibc, the module answers as `files` does for the same accounts written as text.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use hostward_accounts::{Group, User, build};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::calls;
use crate::host::Host;
use crate::through;

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

/// Groups that one user is in all of: more than a first guess at their number allows for.
const CROWD: usize = 150;

fn accounts() -> impl Strategy<Value = (Vec<User>, Vec<Group>)> {
    let ids = |most| proptest::collection::btree_set(1..u32::MAX, 0..most);
    let users = ids(40).prop_flat_map(|ids| ids.into_iter().map(user).collect::<Vec<_>>());
    let groups = || prop_oneof![3 => ids(40), 1 => proptest::collection::btree_set(1..u32::MAX, CROWD)];
    let groups = groups().prop_flat_map(|ids| ids.into_iter().map(group).collect::<Vec<_>>());
    (users, groups, any::<[u8; 40]>()).prop_map(|(mut users, mut groups, primary)| {
        let (mut of_users, mut of_groups) = (BTreeSet::new(), BTreeSet::new());
        users.retain(|user| of_users.insert(user.name.clone()));
        groups.retain(|group| of_groups.insert(group.name.clone()));
        let crowded = groups.len() > 40;
        for group in &mut groups {
            if crowded && !group.members.contains(&0) {
                group.members.insert(0, 0);
            }
            group.members.retain(|member| (*member as usize) < users.len());
        }
        // Half of the primary groups are groups of the database, which may or may not list the user as well.
        for (user, primary) in users.iter_mut().zip(primary) {
            if let Some(group) = groups.get(usize::from(primary) % (2 * groups.len()).max(1)) {
                user.gid = group.gid;
            }
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
        let strangers = ["nobody-at-all", "", "x", "a-name-that-is-longer-than-any-name-may-be"];
        let primary = |name: &str| users.iter().find(|user| user.name == name).map_or(7, |user| user.gid);
        for name in users.iter().map(|user| user.name.as_str()).chain(strangers) {
            say(format_args!("{name}: {:?} {:?}", through::getpwnam(name), through::getspnam(name)));
            for gid in [primary(name), 7] {
                let gids: BTreeSet<u32> = through::getgrouplist(name, gid).into_iter().collect();
                say(format_args!("{name} of {gid}: in {gids:?}"));
            }
        }
        for uid in users.iter().flat_map(|user| [user.uid, user.uid.wrapping_add(1), user.gid]) {
            say(format_args!("uid {uid}: {:?}", through::getpwuid(uid)));
        }
        for name in groups.iter().map(|group| group.name.as_str()).chain(strangers) {
            say(format_args!("{name}: {:?}", through::getgrnam(name)));
        }
        let gids = groups.iter().flat_map(|group| [group.gid, group.gid.wrapping_add(1)]);
        for gid in gids.chain(users.iter().map(|user| user.gid)) {
            say(format_args!("gid {gid}: {:?}", through::getgrgid(gid)));
        }
        // Twice, because the first may leave something behind.
        for _ in 0..2 {
            say(format_args!("users: {:?}", through::all_users()));
            say(format_args!("groups: {:?}", through::all_groups()));
            say(format_args!("shadows: {:?}", through::all_shadows()));
        }
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
        // What both fail to answer is no agreement.
        let answered = |what: &str| ours.matches(what).count();
        prop_assert!(answered("(0, Some(Passwd {") >= 2 * users.len(), "{}", ours);
        prop_assert!(answered("(0, Some(Group {") >= 2 * groups.len(), "{}", ours);
        prop_assert!(answered(r#""*", [-1, -1, -1, -1, -1, -1, -1]"#) >= 3 * users.len(), "{}", ours);
        prop_assert_eq!(ours, answers(host, c"files", &users, &groups));
        Ok(())
    });
    agreed.expect("the same answers");
}
