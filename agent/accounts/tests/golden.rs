//! Every version ever released is read for ever, and today's writer writes today's version byte for byte.
#![allow(missing_docs)]

mod team;

use hostward_accounts::{Database, Lookup, body, build, decode_all};

const VERSION_1_0: &[u8] = include_bytes!("golden/version-1.0.db");
const VERSION_1_0_EMPTY: &[u8] = include_bytes!("golden/version-1.0-empty.db");

#[test]
fn the_writer_writes_version_1_0() {
    assert!(build(&team::users(), &team::groups(), 7).expect("builds") == VERSION_1_0);
    assert!(build(&[], &[], 1).expect("builds") == VERSION_1_0_EMPTY);
}

#[test]
fn order_and_repetition_do_not_change_the_bytes() {
    let mut users = team::users();
    users.reverse();
    users[2].local_gids = vec![990, 27, 990];
    let mut groups = team::groups();
    for group in &mut groups {
        group.members = group.members.iter().flat_map(|member| [2 - member; 2]).collect();
    }
    groups.rotate_left(1);
    assert!(build(&users, &groups, 7).expect("builds") == VERSION_1_0);
}

#[test]
fn version_1_0_is_read() {
    let database = Database::new(body(VERSION_1_0).expect("has a body")).expect("is a database");
    assert_eq!((database.generation(), database.user_count(), database.group_count()), (7, 3, 4));

    let Lookup::Found(alice) = database.user_by_name(b"alice") else { panic!("no alice") };
    assert_eq!((alice.uid(), alice.gid()), (60001, 60001));
    assert_eq!(alice.strings(), b"alice\0*\0Alice Liddell\0/home/alice\0/bin/bash\0");
    assert_eq!(alice.gids().collect::<Vec<_>>(), [27, 990, 70001, 70002]);
    let principals: Vec<_> = alice.principals().expect("sound").collect();
    assert_eq!(principals, [&b"alice"[..], b"alice@example.org"]);
    assert_eq!(alice.valid_until(), Some(None));

    let Lookup::Found(b) = database.user_by_uid(60002) else { panic!("no 60002") };
    assert_eq!(
        (b.name(), b.gecos(), b.home(), b.shell()),
        (&b"b"[..], &b""[..], &b"/home/b"[..], &b"/bin/sh"[..])
    );
    assert_eq!(b.valid_until(), Some(Some(1_900_000_000)));

    let Lookup::Found(developers) = database.group_by_name(b"developers") else { panic!("no developers") };
    let Lookup::Found(by_gid) = database.group_by_gid(70001) else { panic!("no 70001") };
    assert_eq!(developers.strings(), by_gid.strings());
    let members: Vec<_> = developers.members().map(|member| member.expect("sound").1).collect();
    assert_eq!(members, [&b"alice"[..], b"b", b"a-name-of-thirty-two-bytes-lengt"]);

    assert!(matches!(database.user_by_name(b"alic"), Lookup::NotFound));
    assert!(matches!(database.user_by_name(b"alice\0"), Lookup::NotFound));
    assert!(matches!(database.user_by_name(b""), Lookup::NotFound));
    assert!(matches!(database.user_by_name(b"a-name-of-thirty-two-bytes-length"), Lookup::NotFound));
    assert!(matches!(database.user_by_uid(0), Lookup::NotFound));
    assert!(matches!(database.group_by_gid(990), Lookup::NotFound));
    assert!(matches!(database.user_after(Some(60003)), Lookup::NotFound));
}

#[test]
fn version_1_0_decodes_to_what_was_built() {
    assert_eq!(decode_all(VERSION_1_0), Ok((team::users(), team::groups())));
    assert_eq!(decode_all(VERSION_1_0_EMPTY), Ok((vec![], vec![])));
}

#[test]
fn an_enumeration_goes_on_behind_a_user_who_is_gone() {
    let database = Database::new(body(VERSION_1_0).expect("has a body")).expect("is a database");
    let uid = |last| match database.user_after(last) {
        Lookup::Found(user) => user.uid(),
        other => panic!("{other:?}"),
    };
    assert_eq!([uid(None), uid(Some(1)), uid(Some(60001)), uid(Some(60002))], [60001, 60001, 60002, 60003]);
    let Lookup::Found(group) = database.group_after(Some(60010)) else { panic!("no group") };
    assert_eq!(group.gid(), 70001);
}
