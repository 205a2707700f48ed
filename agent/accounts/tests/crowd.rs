//! Sets so large that the builder divides its work: between two threads, and users into stretches.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use hostward_accounts::{Database, Group, Lookup, PROLOGUE, User, UserRecord, body, build, decode_all};

/// More than three of the stretches of users that the builder looks at together, the last of them with a few.
const USERS: u32 = 3 * 4096 + 17;
const HEADER: usize = 192;
const SLOT: usize = 8;

/// In ascending order of the ids. Names of 3 to 30 bytes, some behind the end of what the builder keeps of one.
fn users() -> Vec<User> {
    let user = |n: u32| User {
        name: format!("u{}{n:x}", "x".repeat(n as usize % 25)),
        uid: 100_000 + n,
        gid: 60_000,
        gecos: format!("User {n}"),
        home: format!("/home/{n}"),
        shell: "/bin/sh".into(),
        local_gids: if n.is_multiple_of(7) { vec![27, 150_000 + n] } else { Vec::new() },
        ..User::default()
    };
    (0..USERS).map(user).collect()
}

/// Groups of one user and of all, and what lies between; most of the memberships are in the last.
fn groups() -> Vec<Group> {
    let steps = [1, 2, 3, 5, 64, 1000, USERS];
    let group = |n: u32| {
        let step = steps[n as usize % steps.len()];
        Group {
            name: format!("group{n}"),
            gid: 200_000 + n * 3,
            members: (0..USERS).filter(|user| (user + n).is_multiple_of(step)).collect(),
        }
    };
    (0..21).map(group).collect()
}

/// Each user's gids, by name.
fn gids(users: &[User], groups: &[Group]) -> BTreeMap<String, Vec<u32>> {
    let mut gids: BTreeMap<String, Vec<u32>> =
        users.iter().map(|user| (user.name.clone(), user.local_gids.clone())).collect();
    for group in groups {
        for member in &group.members {
            gids.get_mut(&users[*member as usize].name).expect("a user").push(group.gid);
        }
    }
    gids.values_mut().for_each(|gids| gids.sort_unstable());
    gids
}

fn database(file: &[u8]) -> Database<'_> {
    Database::new(body(file).expect("has a body")).expect("is a database")
}

#[test]
fn everybody_has_the_gids_and_every_group_the_members() {
    let (users, groups) = (users(), groups());
    let memberships: usize = groups.iter().map(|group| group.members.len()).sum();
    assert!(memberships > 1 << 15, "{memberships}: worth two threads");
    let file = build(&users, &groups, 1).expect("builds");
    let (database, gids) = (database(&file), gids(&users, &groups));
    for user in &users {
        let Lookup::Found(found) = database.user_by_name(user.name.as_bytes()) else { panic!("{user:?}") };
        assert_eq!((found.uid(), found.home()), (user.uid, user.home.as_bytes()));
        assert_eq!(found.gids().collect::<Vec<_>>(), gids[&user.name], "{}", user.name);
    }
    for group in &groups {
        let Lookup::Found(found) = database.group_by_gid(group.gid) else { panic!("{}", group.name) };
        let members: Option<Vec<&[u8]>> = found.members().map(|member| Some(member?.1)).collect();
        let expected: Vec<&[u8]> =
            group.members.iter().map(|member| users[*member as usize].name.as_bytes()).collect();
        assert!(members == Some(expected), "{}", group.name);
    }
    assert!(decode_all(&file) == Ok((users, groups)));
}

#[test]
fn in_whatever_order_they_come_the_bytes_are_the_same() {
    let (mut users, mut groups) = (users(), groups());
    let file = build(&users, &groups, 1).expect("builds");
    users.reverse();
    users.swap(0, 5000);
    let place: BTreeMap<u32, u32> = users.iter().map(|user| user.uid - 100_000).zip(0..).collect();
    for group in &mut groups {
        group.members = group.members.iter().map(|member| place[member]).collect();
        let half = group.members.len() / 2;
        group.members.rotate_left(half);
        // Some come twice.
        let again: Vec<u32> = group.members.iter().copied().step_by(9).collect();
        group.members.extend(again);
    }
    groups.rotate_left(8);
    assert!(build(&users, &groups, 1).as_ref() == Ok(&file));
}

/// One group has all the memberships, or nobody has any.
#[test]
fn one_group_and_none() {
    let users = users();
    let everyone = Group { name: "everyone".into(), gid: 7, members: (0..USERS).collect() };
    for groups in [vec![everyone], vec![]] {
        let file = build(&users, &groups, 1).expect("builds");
        assert!(decode_all(&file) == Ok((users.clone(), groups)));
    }
    let groups: Vec<Group> = groups().into_iter().map(|group| Group { members: vec![], ..group }).collect();
    let file = build(&[], &groups, 1).expect("builds");
    assert!(decode_all(&file) == Ok((vec![], groups)));
}

#[test]
fn a_user_takes_at_most_120_bytes_beside_names_and_groups() {
    const EACH: u32 = 10;
    let users: Vec<User> = users().into_iter().map(|user| User { local_gids: vec![990], ..user }).collect();
    let group = |n: u32| Group {
        name: format!("group{n}"),
        gid: 200_000 + n,
        members: (0..USERS).filter(|user| (user + n) % (USERS / 10) < EACH).collect(),
    };
    let groups: Vec<Group> = (0..USERS / 10).map(group).collect();
    let file = build(&users, &groups, 1).expect("builds");
    let Lookup::Found(user) = database(&file).user_by_uid(users[5000].uid) else { panic!("nobody") };
    assert!(user.gids().len() as u32 > EACH, "{}", user.gids().len());
    let number =
        |at: usize| u64::from_le_bytes(*file[PROLOGUE + at..].first_chunk().expect("a header")) as usize;
    let group_records = number(136);
    let text: usize = users
        .iter()
        .map(|user| user.name.len() + user.gecos.len() + user.home.len() + user.shell.len())
        .sum();
    let each = (file.len() - group_records - text) as f64 / users.len() as f64;
    assert!(each <= 120.0, "{each} bytes");
}

/// As [`UserRecord::gids`] where they are sound.
fn sound_gids(user: &UserRecord<'_>) -> Option<Vec<u32>> {
    user.gids_are_sound().then(|| user.gids().collect())
}

/// What a write that was lost leaves: zeros in the place of a block, or of the start of a record.
#[test]
fn zeros_make_nobody_somebody_else() {
    let (users, groups) =
        (&users()[..250], [Group { name: "all".into(), gid: 7, members: (0..250).collect() }]);
    let whole = build(users, &groups, 1).expect("builds");
    let gids_of = gids(users, &groups);
    let mut lost = 0;
    let mut ask = |file: &[u8], what: &str| {
        let Ok(database) = Database::new(body(file).expect("has a body")) else { return };
        for user in users {
            let by = [database.user_by_name(user.name.as_bytes()), database.user_by_uid(user.uid)];
            for found in by {
                match found {
                    Lookup::Found(found) => {
                        assert_eq!((found.uid(), found.gid()), (user.uid, user.gid), "{what}: {}", user.name);
                        // A count that was lost takes groups away, and gives none.
                        let known = |gids: Vec<u32>| {
                            gids_of[&user.name]
                                .iter()
                                .copied()
                                .collect::<BTreeSet<u32>>()
                                .is_superset(&gids.into_iter().collect())
                        };
                        assert!(sound_gids(&found).is_none_or(known), "{what}: {}", user.name);
                    }
                    Lookup::Corrupt => lost += 1,
                    Lookup::NotFound => panic!("{what}: {} is said not to be there", user.name),
                }
            }
        }
        if let Lookup::Found(group) = database.group_by_name(b"all") {
            assert_eq!(group.gid(), 7, "{what}");
        }
    };
    for block in [8, 64, 512, 4096] {
        let step = if block == 8 { 8 * 7 } else { block };
        for from in (PROLOGUE + HEADER..whole.len()).step_by(step) {
            let mut file = whole.clone();
            let to = whole.len().min(from + block);
            file[from..to].fill(0);
            ask(&file, &format!("{block} zeros from {from} on"));
        }
    }
    assert!(lost > 1000, "{lost}");
}

/// A tag that was changed says of nobody that there is no such entry.
#[test]
fn a_tag_that_cannot_be_where_it_is_proves_nothing() {
    let users = users();
    let mut file = build(&users, &[], 1).expect("builds");
    let number = |file: &[u8], at: usize| {
        u64::from_le_bytes(*file[PROLOGUE + at..].first_chunk().expect("a header")) as usize
    };
    let (mut damaged, mut met) = (0, 0);
    for index in [48, 64] {
        let (at, homes) = (PROLOGUE + number(&file, index), number(&file, index + 8) as u32 as usize);
        for slot in (0..homes).step_by(97) {
            let at = at + slot * SLOT;
            if file[at..at + SLOT] == [0xff; SLOT] {
                continue;
            }
            let was = file[at + 3];
            for bit in [0x80, 0x20] {
                file[at + 3] = was ^ bit;
                damaged += 1;
                let database = database(&file);
                for user in users.iter().step_by(5) {
                    for found in [database.user_by_name(user.name.as_bytes()), database.user_by_uid(user.uid)]
                    {
                        match found {
                            Lookup::Found(found) => assert_eq!(found.uid(), user.uid),
                            Lookup::Corrupt => met += 1,
                            Lookup::NotFound => panic!("slot {slot}: {} is said not to be there", user.name),
                        }
                    }
                }
            }
            file[at + 3] = was;
        }
    }
    assert!(damaged > 200 && met > 100, "{damaged} {met}");
}
