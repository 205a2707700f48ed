//! Every version ever released is read for ever, and today's writer writes today's version byte for byte.
#![allow(missing_docs)]

mod team;

use hostward_accounts::{Database, Lookup, SubidRange, Subids, body, build, decode_all};

const VERSION_1_0: &[u8] = include_bytes!("golden/version-1.0.db");
const VERSION_1_1: &[u8] = include_bytes!("golden/version-1.1.db");
const VERSION_1_0_EMPTY: &[u8] = include_bytes!("golden/version-1.0-empty.db");

#[test]
fn the_writer_writes_version_1_0() {
    assert!(build(&team::users(), &team::groups(), 7).expect("builds") == VERSION_1_0);
    assert!(build(&[], &[], 1).expect("builds") == VERSION_1_0_EMPTY);
}

/// Who has no subordinate ids to give goes on writing what older readers were made for.
#[test]
fn the_writer_writes_version_1_1_where_there_are_subordinate_ids() {
    let file = build(&team::users_with_subids(), &team::groups(), 7).expect("builds");
    assert!(file == VERSION_1_1);
    let mut reversed = team::users_with_subids();
    reversed.iter_mut().for_each(|user| user.subids.reverse());
    assert!(build(&reversed, &team::groups(), 7).expect("builds") == VERSION_1_1);
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
fn version_1_1_is_read() {
    let body = body(VERSION_1_1).expect("has a body");
    let subids = Subids::new(body).expect("are there");
    let of = |uid| subids.of(uid).map(|range| (range.start, range.count)).collect::<Vec<_>>();
    assert_eq!(of(60001), [(600_200_000, 65_536), (700_000_000, 1024)]);
    assert_eq!(of(60003), [(600_100_000, 65_536)]);
    assert_eq!([of(60002), of(0), of(u32::MAX)], [const { Vec::new() }; 3]);
    for (id, owner) in [
        (600_099_999, None),
        (600_100_000, Some(60003)),
        (600_165_535, Some(60003)),
        (600_165_536, None),
        (600_200_000, Some(60001)),
        (700_001_023, Some(60001)),
        (700_001_024, None),
        (0, None),
        (u32::MAX, None),
    ] {
        assert_eq!(subids.owner(id), owner.map_or(Lookup::NotFound, Lookup::Found), "{id}");
    }
    assert_eq!(decode_all(VERSION_1_1), Ok((team::users_with_subids(), team::groups())));

    let none = Subids::new(hostward_accounts::body(VERSION_1_0).expect("has a body")).expect("are none");
    assert_eq!(none.of(60001).next(), None::<SubidRange>);
    assert_eq!(none.owner(600_100_000), Lookup::NotFound);
}

/// Nothing that a reader of version 1.0 looks at has moved: but for the header's reserved bytes, its minor, its length
/// and its checksum, the file begins as that of the same accounts without subordinate ids.
#[test]
fn version_1_1_is_version_1_0_with_something_behind_it() {
    const HEADER: std::ops::Range<usize> = 64..256;
    assert!(VERSION_1_1[HEADER.end..].starts_with(&VERSION_1_0[HEADER.end..]));
    let differ: Vec<usize> =
        HEADER.filter(|at| VERSION_1_1[*at] != VERSION_1_0[*at]).map(|at| at - 64).collect();
    let may = |at: &usize| matches!(at, 10..12 | 16..24 | 40..48 | 152..192);
    assert!(differ.iter().all(may), "{differ:?}");
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
