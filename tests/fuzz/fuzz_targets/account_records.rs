//! A whole database of any accounts, then damaged in a few places: what is found has the key that was asked for, what is
//! said not to be there is either absent from what was built or the index was hit, and nothing runs off. Whoever reads
//! files back whole believes the checksum, so that it is made to match as well.
#![no_main]

use arbitrary::Arbitrary;
use hostward_accounts::{Database, Group, Lookup, PROLOGUE, SubidRange, Subids, User, body, build};
use libfuzzer_sys::fuzz_target;

#[path = "account_records/checksum.rs"]
mod checksum;

#[derive(Arbitrary, Debug)]
struct Input {
    users: Vec<Person>,
    groups: Vec<(u8, u16, Vec<u8>)>,
    damage: Vec<(u16, Damage)>,
}

#[derive(Arbitrary, Debug)]
struct Person {
    name: u8,
    uid: u16,
    gecos: u8,
    home: u8,
    gids: Vec<u16>,
    valid_until: u32,
    subids: Vec<(u16, u8)>,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Byte(u8),
    Word(u32),
    Copy { from: u16, len: u8 },
    Cut,
}

fuzz_target!(|input: Input| {
    let Some((users, groups)) = accounts(&input) else { return };
    let Ok(mut file) = build(&users, &groups, 7) else { return };
    if input.damage.is_empty() {
        return whole(&file, &users, &groups);
    }
    for (at, damage) in &input.damage {
        hit(&mut file, usize::from(*at), damage);
    }
    let _ = hostward_accounts::decode_all(&file);
    if let Some(sum) = file.get(PROLOGUE..).filter(|body| body.len() >= 48).map(checksum::checksum) {
        file[PROLOGUE + 40..PROLOGUE + 48].copy_from_slice(&sum.to_le_bytes());
        if let Ok((users, groups)) = hostward_accounts::decode_all(&file) {
            assert!(users.is_sorted_by(|a, b| a.uid < b.uid) && groups.is_sorted_by(|a, b| a.gid < b.gid));
        }
    }
    let Some(database) = body(&file).and_then(|body| Database::new(body).ok()) else { return };
    ask(&database, &users, &groups);
    ask_subids(body(&file).unwrap_or_default(), &users);
});

fn accounts(input: &Input) -> Option<(Vec<User>, Vec<Group>)> {
    if input.users.len() > 32 || input.groups.len() > 16 {
        return None;
    }
    let user = |person: &Person| User {
        name: format!("u{}", "x".repeat(usize::from(person.name % 31))),
        uid: 1000 + u32::from(person.uid),
        gid: 1 + u32::from(person.uid),
        gecos: "g".repeat(person.gecos.into()),
        home: format!("/{}", "h".repeat(person.home.into())),
        shell: "/bin/sh".into(),
        local_gids: person.gids.iter().take(40).map(|gid| 1 + u32::from(*gid)).collect(),
        principals: vec![format!("p{}", person.uid)],
        valid_until: person.valid_until.into(),
        subids: person.subids.iter().take(4).map(|(start, count)| range(*start, *count)).collect(),
    };
    let mut users: Vec<User> = input.users.iter().map(user).collect();
    users.sort_by_key(|user| user.uid);
    for (number, user) in users.iter_mut().enumerate() {
        user.name.truncate(28);
        user.name.push_str(&number.to_string());
    }
    let count = users.len() as u32;
    let group = |(number, (name, gid, members)): (usize, &(u8, u16, Vec<u8>))| Group {
        name: format!("{}{number}", "g".repeat(1 + usize::from(name % 28))),
        gid: 100_000 + u32::from(*gid),
        members: members.iter().map(|m| u32::from(*m)).filter(|m| *m < count).collect(),
    };
    Some((users, input.groups.iter().enumerate().map(group).collect()))
}

fn range(start: u16, count: u8) -> SubidRange {
    SubidRange { start: 1_000_000 + u32::from(start) * 64, count: 1 + u32::from(count % 64) }
}

fn hit(file: &mut Vec<u8>, at: usize, damage: &Damage) {
    let at = PROLOGUE + at % (file.len() - PROLOGUE).max(1);
    match damage {
        Damage::Byte(byte) => {
            if let Some(place) = file.get_mut(at) {
                *place = *byte;
            }
        }
        Damage::Word(word) => {
            for (place, byte) in file.iter_mut().skip(at & !3).zip(word.to_le_bytes()) {
                *place = byte;
            }
        }
        Damage::Copy { from, len } => {
            let from = PROLOGUE + usize::from(*from) % (file.len() - PROLOGUE).max(1);
            let piece: Vec<u8> = file.iter().skip(from).take((*len).into()).copied().collect();
            for (place, byte) in file.iter_mut().skip(at).zip(piece) {
                *place = byte;
            }
        }
        Damage::Cut => file.truncate(at.max(PROLOGUE + 1)),
    }
}

fn whole(file: &[u8], users: &[User], groups: &[Group]) {
    let database = body(file).and_then(|body| Database::new(body).ok()).expect("what was built is read");
    for user in users {
        let Lookup::Found(found) = database.user_by_name(user.name.as_bytes()) else { panic!("{user:?}") };
        assert_eq!((found.uid(), found.home()), (user.uid, user.home.as_bytes()));
        assert!(matches!(database.user_by_uid(user.uid), Lookup::Found(_)));
    }
    for group in groups {
        let Lookup::Found(found) = database.group_by_gid(group.gid) else { panic!("{group:?}") };
        assert_eq!(found.name(), group.name.as_bytes());
    }
    ask(&database, users, groups);
    let subids = body(file).and_then(|body| Subids::new(body).ok()).expect("what was built is read");
    for user in users {
        for range in &user.subids {
            assert_eq!(subids.owner(range.start), Lookup::Found(user.uid));
        }
        assert_eq!(subids.of(user.uid).count(), user.subids.len());
    }
}

/// Whatever is found holds what was asked for.
fn ask_subids(body: &[u8], users: &[User]) {
    let Ok(subids) = Subids::new(body) else { return };
    for user in users {
        assert!(subids.of(user.uid).count() <= body.len());
        for id in
            user.subids.iter().flat_map(|range| [range.start - 1, range.start, range.start + range.count])
        {
            if let Lookup::Found(owner) = subids.owner(id) {
                let holds = |range: SubidRange| range.start <= id && range.last() >= Some(id);
                // A damaged order can hide an entry from its owner, but makes nobody the owner of what no entry holds.
                let somewhere = body.windows(16).step_by(4).any(|entry| {
                    let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("four"));
                    word(0) == owner && holds(SubidRange { start: word(4), count: word(8) })
                });
                assert!(somewhere, "{id} is said to be of {owner}");
            }
        }
    }
}

fn ask(database: &Database<'_>, users: &[User], groups: &[Group]) {
    for user in users {
        if let Lookup::Found(found) = database.user_by_name(user.name.as_bytes()) {
            assert_eq!(found.name(), user.name.as_bytes());
            found.gids().for_each(drop);
            let _ = (found.gecos(), found.home(), found.shell(), found.valid_until());
            let _ = found.principals().map(Iterator::count);
        }
        if let Lookup::Found(found) = database.user_by_uid(user.uid) {
            assert_eq!(found.uid(), user.uid);
        }
    }
    for group in groups {
        if let Lookup::Found(found) = database.group_by_name(group.name.as_bytes()) {
            assert_eq!(found.name(), group.name.as_bytes());
            let text = found.strings();
            for (at, name) in found.members().flatten() {
                assert_eq!(text.get(at..at + name.len()), Some(name));
                assert_eq!(text.get(at + name.len()), Some(&0));
            }
            if let Some(starts) = found.starts() {
                let mut count = 0;
                let mut copied = 0;
                let stretch = |at: usize, part: &[u8]| {
                    assert_eq!(at, copied);
                    copied += part.len();
                };
                starts.for_each(stretch, |at| {
                    assert!((1..text.len()).contains(&at));
                    count += 1;
                });
                assert_eq!((count, copied), (found.member_count(), text.len()));
            }
        }
        if let Lookup::Found(found) = database.group_by_gid(group.gid) {
            assert_eq!(found.gid(), group.gid);
        }
    }
    let mut last = None;
    while let Lookup::Found(user) = database.user_after(last) {
        assert!(last.is_none_or(|last| last < user.uid()), "the enumeration goes up");
        last = Some(user.uid());
        if let Lookup::Found(next) = database.user_at(user.next(), user.uid()) {
            assert!(user.uid() < next.uid(), "the enumeration goes up");
        }
    }
    let mut last = None;
    while let Lookup::Found(group) = database.group_after(last) {
        assert!(last.is_none_or(|last| last < group.gid()), "the enumeration goes up");
        last = Some(group.gid());
    }
}
