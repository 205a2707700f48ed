//! What is built is what is read, for any users and groups; what must not be built is refused.
#![allow(missing_docs)]

mod team;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use hostward_accounts::{
    BuildError, Database, Group, GroupRecord, Lookup, PROLOGUE, SubidRange, Subids, User, body, build,
    decode_all,
};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9_.-]{0,31}"
}

prop_compose! {
    fn user(name: String, uid: u32)(
        gid in 1..u32::MAX,
        gecos in "[^:\\pC]{0,40}",
        home in "/[^:\\pC]{0,40}",
        shell in "/[a-z/]{0,20}",
        local_gids in proptest::collection::btree_set(1..5000_u32, 0..4),
        principals in proptest::collection::vec("[a-z@.]{1,30}", 0..3),
        valid_until in prop_oneof![Just(0), any::<u64>()],
    ) -> User {
        User {
            name: name.clone(), uid, gid, gecos, home, shell,
            local_gids: local_gids.into_iter().collect(), principals, valid_until,
            subids: Vec::new(),
        }
    }
}

fn users() -> impl Strategy<Value = Vec<User>> {
    let ids = proptest::collection::btree_set(1..u32::MAX, 0..60);
    let names = proptest::collection::hash_set(name(), 60);
    (ids, names).prop_flat_map(|(ids, names)| {
        ids.into_iter().zip(names).map(|(uid, name)| user(name, uid)).collect::<Vec<_>>()
    })
}

fn groups(users: usize) -> impl Strategy<Value = Vec<Group>> {
    let members = proptest::collection::btree_set(0..users.max(1) as u32, 0..users + 1);
    // Above the local gids, which a group of the database would otherwise absorb.
    proptest::collection::btree_map(5000..u32::MAX, (name(), members), 0..20).prop_map(move |groups| {
        let mut seen = BTreeSet::new();
        let fresh = groups.into_iter().filter(|(_, (name, _))| seen.insert(name.clone())).collect::<Vec<_>>();
        fresh
            .into_iter()
            .map(|(gid, (name, members))| Group {
                name,
                gid,
                members: members.into_iter().filter(|member| (*member as usize) < users).collect(),
            })
            .collect()
    })
}

fn project() -> impl Strategy<Value = (Vec<User>, Vec<Group>)> {
    users().prop_flat_map(|users| {
        let count = users.len();
        (Just(users), groups(count))
    })
}

/// Ranges without a common id, given to anybody, above the uids of the users.
fn subids() -> impl Strategy<Value = (Vec<User>, Vec<(u32, SubidRange)>)> {
    let gaps = proptest::collection::vec((1..50_u32, 1..50_u32, any::<prop::sample::Index>()), 0..40);
    (1..20_u32, gaps).prop_map(|(count, gaps)| {
        let mut users: Vec<User> =
            (1..=count).map(|n| User { name: format!("u{n}"), uid: n, gid: 1, ..User::default() }).collect();
        let (mut free, mut given) = (100_000, Vec::new());
        for (gap, count, who) in gaps {
            let range = SubidRange { start: free + gap, count };
            free = range.start + range.count;
            let user = who.index(users.len());
            users[user].subids.push(range);
            given.push((users[user].uid, range));
        }
        (users, given)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn subordinate_ids_are_found_by_owner_and_by_id((users, given) in subids(), id in 99_990..105_000_u32) {
        let file = build(&users, &[], 1).expect("builds");
        let subids = Subids::new(body(&file).expect("has a body")).expect("are there");
        for user in &users {
            prop_assert!(subids.of(user.uid).eq(user.subids.iter().copied()));
        }
        let owner = given.iter().find(|(_, range)| range.start <= id && Some(id) <= range.last());
        prop_assert_eq!(subids.owner(id), owner.map_or(Lookup::NotFound, |(uid, _)| Lookup::Found(*uid)));
        prop_assert_eq!(decode_all(&file), Ok((users, Vec::new())));
    }

    #[test]
    fn what_is_built_is_what_is_read((users, groups) in project(), generation: u64) {
        let file = build(&users, &groups, generation).expect("builds");
        let database = Database::new(body(&file).expect("has a body")).expect("is a database");
        prop_assert_eq!(database.generation(), generation);

        let mut gids: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for group in &groups {
            for member in &group.members {
                gids.entry(&users[*member as usize].name).or_default().insert(group.gid);
            }
        }
        for user in &users {
            let Lookup::Found(by_name) = database.user_by_name(user.name.as_bytes()) else { panic!("{user:?}") };
            let Lookup::Found(by_uid) = database.user_by_uid(user.uid) else { panic!("{user:?}") };
            prop_assert_eq!(by_name.strings(), by_uid.strings());
            prop_assert_eq!((by_name.uid(), by_name.gid()), (user.uid, user.gid));
            prop_assert_eq!(by_name.gecos(), user.gecos.as_bytes());
            prop_assert_eq!(by_name.home(), user.home.as_bytes());
            prop_assert_eq!(by_name.shell(), user.shell.as_bytes());
            let mut expected = gids.remove(user.name.as_str()).unwrap_or_default();
            expected.extend(&user.local_gids);
            prop_assert!(by_name.gids().eq(expected));
        }
        for group in &groups {
            let Lookup::Found(by_name) = database.group_by_name(group.name.as_bytes()) else { panic!("{group:?}") };
            let Lookup::Found(by_gid) = database.group_by_gid(group.gid) else { panic!("{group:?}") };
            prop_assert_eq!(by_name.strings(), by_gid.strings());
            prop_assert_eq!(starts(&by_name), by_name.members().map(|member| Some(member?.0)).collect());
            let members: Option<Vec<_>> = by_name.members().map(|member| Some(member?.1)).collect();
            let expected: Vec<_> = group.members.iter().map(|member| users[*member as usize].name.as_bytes()).collect();
            prop_assert_eq!(members, Some(expected));
        }
        let mut last: Option<(u32, u32)> = None;
        for user in &users {
            let next = match last {
                None => database.user_after(None),
                Some((record, uid)) => database.user_at(record, uid),
            };
            let Lookup::Found(next) = next else { panic!("{user:?}") };
            prop_assert_eq!(next.uid(), user.uid);
            last = Some((next.next(), next.uid()));
        }
        let end = last.map(|(record, uid)| database.user_at(record, uid));
        prop_assert!(matches!(end, None | Some(Lookup::NotFound)));
        let mut last: Option<(u32, u32)> = None;
        for group in &groups {
            let next = last.map_or(database.group_after(None), |(record, gid)| database.group_at(record, gid));
            let Lookup::Found(next) = next else { panic!("{group:?}") };
            prop_assert_eq!(next.gid(), group.gid);
            last = Some((next.next(), next.gid()));
        }
        prop_assert_eq!(decode_all(&file), Ok((users, groups)));
    }

    #[test]
    fn who_is_not_in_it_is_not_found((users, groups) in project(), name in name(), id: u32) {
        let file = build(&users, &groups, 1).expect("builds");
        let database = Database::new(body(&file).expect("has a body")).expect("is a database");
        let user = users.iter().any(|user| user.name == name);
        prop_assert_eq!(matches!(database.user_by_name(name.as_bytes()), Lookup::NotFound), !user);
        let uid = users.iter().any(|user| user.uid == id);
        prop_assert_eq!(matches!(database.user_by_uid(id), Lookup::NotFound), !uid);
        let group = groups.iter().any(|group| group.name == name);
        prop_assert_eq!(matches!(database.group_by_name(name.as_bytes()), Lookup::NotFound), !group);
        let gid = groups.iter().any(|group| group.gid == id);
        prop_assert_eq!(matches!(database.group_by_gid(id), Lookup::NotFound), !gid);
    }
}

#[test]
fn many_names_that_differ_little_are_all_found() {
    let users: Vec<User> = (1..=20_000)
        .map(|n| User { name: format!("user{n:05}"), uid: 100_000 + n, gid: 100, ..User::default() })
        .collect();
    let everyone = Group { name: "everyone".into(), gid: 7, members: (0..20_000).collect() };
    let file = build(&users, &[everyone], 1).expect("builds");
    let database = Database::new(body(&file).expect("has a body")).expect("is a database");
    for user in &users {
        assert!(
            matches!(database.user_by_name(user.name.as_bytes()), Lookup::Found(found) if found.uid() == user.uid)
        );
        assert!(
            matches!(database.user_by_uid(user.uid), Lookup::Found(found) if found.name() == user.name.as_bytes())
        );
    }
    let Lookup::Found(everyone) = database.group_by_gid(7) else { panic!("no group") };
    assert_eq!(everyone.members().filter(Option::is_some).count(), 20_000);
    let offsets: Option<Vec<usize>> = everyone.members().map(|member| Some(member?.0)).collect();
    assert_eq!(starts(&everyone), offsets, "names that take more than 64 KiB");
}

fn starts(group: &GroupRecord<'_>) -> Option<Vec<usize>> {
    let mut all = Vec::with_capacity(group.member_count());
    let given = Cell::new(0);
    let stretch = |at: usize, part: &[u8]| {
        assert_eq!(given.replace(at + part.len()), at, "one after the other");
        assert_eq!(group.strings().get(at..at + part.len()), Some(part));
    };
    let each = |start| {
        assert!(start < given.get(), "in what was given");
        all.push(start);
    };
    group.starts()?.for_each(stretch, each);
    assert!(all.is_empty() || given.get() == group.strings().len());
    Some(all)
}

/// The longest run of slots that there may be: 64 keys with one home, which no seed of the writer's would leave.
#[test]
fn a_key_is_found_in_the_last_slot_that_it_may_be_in() {
    const KEYS: u32 = 64;
    let user = |n: u32| User { name: format!("user{n}"), uid: 100_000 + n, gid: 100, ..User::default() };
    let mut file = build(&(0..KEYS).map(user).collect::<Vec<_>>(), &[], 1).expect("builds");
    for index in [PROLOGUE + 48, PROLOGUE + 64] {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four"));
        let (start, slots) = (PROLOGUE + word(index) as usize, word(index + 8) as usize + 64);
        let table = &mut file[start..start + slots * 8];
        let mut used: Vec<u8> =
            table.chunks(8).filter(|slot| *slot != [0xff; 8]).flatten().copied().collect();
        used.resize(table.len(), 0xff);
        table.copy_from_slice(&used);
        file[index + 8..index + 12].copy_from_slice(&1_u32.to_le_bytes());
    }
    let database = Database::new(body(&file).expect("has a body")).expect("is a database");
    for n in 0..KEYS {
        assert!(matches!(database.user_by_uid(100_000 + n), Lookup::Found(_)), "{n}");
        assert!(matches!(database.user_by_name(format!("user{n}").as_bytes()), Lookup::Found(_)), "{n}");
    }
    for absent in 0..1000 {
        assert!(matches!(database.user_by_uid(absent), Lookup::NotFound), "{absent}");
    }
}

#[test]
fn what_no_reader_may_see_is_refused() {
    type Change = fn(&mut Vec<User>, &mut Vec<Group>);
    let bad_range = |start, count| BuildError::SubidRange { of: "alice".into(), start, count };
    let cases: [(Change, BuildError); 28] = [
        (|users, _| users[1].name = "alice".into(), BuildError::DuplicateUserName("alice".into())),
        (|users, _| users[1].uid = 60001, BuildError::DuplicateUid(60001)),
        (|_, groups| groups[1].name = "alice".into(), BuildError::DuplicateGroupName("alice".into())),
        (|_, groups| groups[1].gid = 70002, BuildError::DuplicateGid(70002)),
        (|users, _| users[0].uid = 0, BuildError::ReservedId { of: "alice".into(), id: 0 }),
        (|users, _| users[0].uid = u32::MAX, BuildError::ReservedId { of: "alice".into(), id: u32::MAX }),
        (|users, _| users[0].gid = 0, BuildError::ReservedId { of: "alice".into(), id: 0 }),
        (|users, _| users[0].local_gids.push(0), BuildError::ReservedId { of: "alice".into(), id: 0 }),
        (|_, groups| groups[0].gid = 0, BuildError::ReservedId { of: "alice".into(), id: 0 }),
        (|users, _| users[0].name.clear(), BuildError::NameLength(String::new())),
        (|users, _| users[0].name = "x".repeat(33), BuildError::NameLength("x".repeat(33))),
        (|_, groups| groups[0].name = "x".repeat(33), BuildError::NameLength("x".repeat(33))),
        (|users, _| users[0].name = "a:b".into(), character("a:b", "name", "a:b")),
        (|users, _| users[0].name = "a\0b".into(), character("a\0b", "name", "a\0b")),
        (|users, _| users[0].gecos = "x\n".into(), character("alice", "comment", "x\n")),
        (|users, _| users[0].home = "/a:/b".into(), character("alice", "home", "/a:/b")),
        (|users, _| users[0].shell = "/bin\0".into(), character("alice", "shell", "/bin\0")),
        (
            |users, _| users[0].principals[0] = "command=x y".into(),
            character("alice", "principal", "command=x y"),
        ),
        (|users, _| users[0].principals[0] = "#x".into(), character("alice", "principal", "#x")),
        (
            |users, _| users[0].gecos = "x".repeat(65_536),
            BuildError::FieldLength { of: "alice".into(), field: "comment" },
        ),
        (|users, _| users[0].subids = vec![SubidRange { start: 9, count: 0 }], bad_range(9, 0)),
        (|users, _| users[0].subids = vec![SubidRange { start: 0, count: 9 }], bad_range(0, 9)),
        (
            |users, _| users[0].subids = vec![SubidRange { start: u32::MAX - 9, count: 10 }],
            bad_range(u32::MAX - 9, 10),
        ),
        (
            |users, _| users[0].subids = vec![SubidRange { start: u32::MAX - 9, count: 11 }],
            bad_range(u32::MAX - 9, 11),
        ),
        (
            |users, _| users[0].subids = vec![SubidRange { start: 60_000, count: 100 }],
            BuildError::SubidOfUser { of: "alice".into(), and: "alice".into(), id: 60_001 },
        ),
        (
            |users, _| users[1].subids = vec![SubidRange { start: 60_003, count: 1 }],
            BuildError::SubidOfUser { of: "b".into(), and: team::users()[2].name.clone(), id: 60_003 },
        ),
        (
            |users, _| {
                users[0].subids = vec![SubidRange { start: 100_000, count: 100 }];
                users[1].subids = vec![SubidRange { start: 100_099, count: 100 }];
            },
            BuildError::SharedSubid { of: "b".into(), and: "alice".into(), id: 100_099 },
        ),
        (
            |_, groups| groups[3].members = vec![3],
            BuildError::NoSuchMember { group: "operators".into(), member: 3 },
        ),
    ];
    for (change, expected) in cases {
        let (mut users, mut groups) = (team::users(), team::groups());
        change(&mut users, &mut groups);
        assert_eq!(build(&users, &groups, 1), Err(expected));
    }
}

fn character(of: &str, field: &'static str, text: &str) -> BuildError {
    BuildError::Character { of: of.into(), field, text: text.into() }
}
