//! A file that is cut or changed gives no answer or a true one: never a panic, never another key's record.
#![allow(missing_docs)]

mod team;

use hostward_accounts::{
    Database, DecodeError, Group, HeaderError, Lookup, PROLOGUE, Subids, User, UserRecord, body, build,
    decode_all,
};

fn file() -> Vec<u8> {
    build(&team::users(), &team::groups(), 7).expect("builds")
}

/// Asks everything there is to ask, and checks that an answer has the key asked for.
fn ask_everything(database: &Database<'_>) {
    let touch = |user: UserRecord<'_>| {
        let text = [user.name(), user.gecos(), user.home(), user.shell(), user.name_and_password()];
        let read = text.map(<[u8]>::len).iter().sum::<usize>() + user.gids().len();
        read + user.principals().map_or(0, Iterator::count) + usize::from(user.valid_until().is_some())
    };
    for user in team::users() {
        if let Lookup::Found(found) = database.user_by_name(user.name.as_bytes()) {
            assert_eq!(found.name(), user.name.as_bytes());
            assert!(touch(found) > 0);
        }
        if let Lookup::Found(found) = database.user_by_uid(user.uid) {
            assert_eq!(found.uid(), user.uid);
        }
    }
    for group in team::groups() {
        if let Lookup::Found(found) = database.group_by_name(group.name.as_bytes()) {
            assert_eq!(found.name(), group.name.as_bytes());
            for (at, name) in found.members().flatten() {
                assert_eq!(&found.strings()[at..at + name.len()], name);
                assert_eq!(found.strings()[at + name.len()], 0);
            }
            if let Some(starts) = found.starts() {
                let (mut count, mut before) = (0, 1);
                let mut copied = 0;
                let stretch = |at: usize, part: &[u8]| {
                    assert_eq!(at, copied, "one after the other");
                    copied += part.len();
                };
                starts.for_each(stretch, |at| {
                    assert!(
                        (before + 1..found.strings().len()).contains(&at),
                        "within the strings, and ascending"
                    );
                    (count, before) = (count + 1, at);
                });
                assert_eq!((count, copied), (found.member_count(), found.strings().len()));
            }
        }
        if let Lookup::Found(found) = database.group_by_gid(group.gid) {
            assert_eq!(found.gid(), group.gid);
        }
    }
    let mut last = None;
    while let Lookup::Found(user) = database.user_after(last) {
        assert!(last < Some(user.uid()), "an enumeration goes up");
        last = Some(user.uid());
        if let Lookup::Found(next) = database.user_at(user.next(), user.uid()) {
            assert!(next.uid() > user.uid(), "an enumeration goes up");
        }
    }
    for record in 0..500 {
        let _checked_as_any_other = database.user_at(record, 60_001);
        let _checked_as_any_other = database.group_at(record, 70_001);
    }
    last = None;
    while let Lookup::Found(group) = database.group_after(last) {
        assert!(last < Some(group.gid()), "an enumeration goes up");
        last = Some(group.gid());
    }
}

/// Nobody is told of ids that are no ids, and no search goes on for ever.
fn ask_for_subids(file: &[u8]) {
    let Ok(subids) = Subids::new(&file[PROLOGUE..]) else { return };
    for user in team::users_with_subids() {
        assert!(subids.of(user.uid).all(|range| range.last().is_some()));
    }
    for id in [0, 600_100_000, 600_150_000, 600_200_000, 700_000_000, u32::MAX] {
        let _ = subids.owner(id);
    }
}

#[test]
fn every_bit_of_the_subordinate_ids_flipped_is_noticed_or_survived() {
    let whole = build(&team::users_with_subids(), &team::groups(), 7).expect("builds");
    let entries = whole.len() - 3 * 16..whole.len();
    for at in (PROLOGUE + 8..PROLOGUE + 192).chain(entries) {
        for bit in 0..8 {
            let mut file = whole.clone();
            file[at] ^= 1 << bit;
            assert!(decode_all(&file).is_err(), "bit {bit} of byte {at}");
            ask_for_subids(&file);
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_no_database() {
    let file = file();
    for len in 0..file.len() {
        let cut = &file[..len];
        assert!(matches!(decode_all(cut), Err(DecodeError::Header(_))), "cut to {len}");
        if let Some(body) = body(cut) {
            assert!(Database::new(body).is_err(), "cut to {len}");
        }
    }
}

#[test]
fn a_longer_file_is_no_database() {
    let mut file = file();
    file.push(0);
    assert_eq!(decode_all(&file), Err(DecodeError::Header(HeaderError::Length)));
}

#[test]
fn another_major_is_refused_and_another_minor_is_read() {
    let mut file = file();
    file[PROLOGUE + 10] = 9;
    assert!(Database::new(&file[PROLOGUE..]).is_ok());
    file[PROLOGUE + 8] = 2;
    assert_eq!(Database::new(&file[PROLOGUE..]).err(), Some(HeaderError::Version(2)));
}

#[test]
fn every_bit_flipped_is_noticed_by_the_checksum_and_survived_by_lookups() {
    let whole = file();
    for at in PROLOGUE..whole.len() {
        for bit in 0..8 {
            let mut file = whole.clone();
            file[at] ^= 1 << bit;
            assert!(decode_all(&file).is_err(), "bit {bit} of byte {at}");
            if let Ok(database) = Database::new(&file[PROLOGUE..]) {
                ask_everything(&database);
            }
        }
    }
}

#[test]
fn the_superseded_flag_is_not_part_of_the_content() {
    let mut file = file();
    file[0] = 1;
    assert_eq!(decode_all(&file), Ok((team::users(), team::groups())));
}

#[test]
fn a_hole_in_an_index_is_damage_and_not_an_answer() {
    let mut file = file();
    let tables = PROLOGUE + 192..file.len() - 700;
    file[tables].fill(0);
    let database = Database::new(&file[PROLOGUE..]).expect("the header is whole");
    assert_eq!(database.user_by_uid(4711).map_debug(), "Corrupt");
    assert_eq!(database.user_by_name(b"nobody").map_debug(), "Corrupt");
    assert_eq!(database.group_by_gid(4711).map_debug(), "Corrupt");
}

/// All differences are those of names, and the last one fits: but the starts go once around 64 KiB more than there is.
#[test]
fn starts_that_go_round_are_damage() {
    const MEMBERS: u32 = 3000;
    let user = |n| User { name: format!("u{n}"), uid: n, gid: n, ..User::default() };
    let users: Vec<User> = (1..=MEMBERS).map(user).collect();
    let everyone = Group { name: "everyone".into(), gid: 7, members: (0..MEMBERS).collect() };
    let mut file = build(&users, &[everyone], 1).expect("builds");
    let group = |file: &[u8]| {
        let database = Database::new(&file[PROLOGUE..]).expect("the header is whole");
        let Lookup::Found(group) = database.group_by_gid(7) else { panic!("no group") };
        (group.starts().is_some(), group.strings().len(), group.members().all(|member| member.is_some()))
    };
    let (sound, len, _) = group(&file);
    assert!(sound);

    let section = file[PROLOGUE + 128..][..8].try_into().expect("eight bytes");
    let starts = PROLOGUE + usize::try_from(u64::from_le_bytes(section)).expect("small") + 16;
    let (first, end) = ("everyone".len() + 3, len + (1 << 16));
    for n in 0..MEMBERS as usize {
        let start = first + (end - first) * n / MEMBERS as usize;
        file[starts + 2 * n..][..2].copy_from_slice(&(start as u16).to_le_bytes());
    }
    assert!((end - first) / (MEMBERS as usize) < 32);
    assert_eq!(group(&file), (false, len, false));
}

trait MapDebug {
    fn map_debug(&self) -> &'static str;
}

impl<T> MapDebug for Lookup<T> {
    fn map_debug(&self) -> &'static str {
        match self {
            Lookup::Found(_) => "Found",
            Lookup::NotFound => "NotFound",
            Lookup::Corrupt => "Corrupt",
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

    #[test]
    fn bytes_changed_at_random_are_survived(
        changes in proptest::collection::vec((0..2_000_usize, proptest::num::u8::ANY), 1..40),
    ) {
        let mut file = file();
        for (at, byte) in changes {
            // Half of the length and layout fields stay as they are, or nothing would get past the header.
            let at = PROLOGUE + 140 + at % (file.len() - PROLOGUE - 140);
            file[at] = byte;
        }
        if let Ok(database) = Database::new(&file[PROLOGUE..]) {
            ask_everything(&database);
        }
    }

    #[test]
    fn records_changed_at_random_are_survived(
        changes in proptest::collection::vec((0..500_usize, proptest::num::u8::ANY), 1..20),
    ) {
        let mut file = file();
        let len = file.len();
        for (at, byte) in changes {
            file[len - 1 - at % 500] = byte;
        }
        ask_everything(&Database::new(&file[PROLOGUE..]).expect("the header is whole"));
    }

    #[test]
    fn subordinate_ids_changed_at_random_are_survived(
        changes in proptest::collection::vec((0..48_usize, proptest::num::u8::ANY), 1..20),
    ) {
        let mut file = build(&team::users_with_subids(), &team::groups(), 7).expect("builds");
        let len = file.len();
        for (at, byte) in changes {
            file[len - 1 - at] = byte;
        }
        ask_for_subids(&file);
    }

    #[test]
    fn anything_behind_the_magic_is_survived(noise in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let mut file = file();
        for (to, from) in file[PROLOGUE + 24..].iter_mut().zip(&noise) {
            *to = *from;
        }
        if let Ok(database) = Database::new(&file[PROLOGUE..]) {
            ask_everything(&database);
        }
    }
}
