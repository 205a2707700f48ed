//! Whole databases to damage, built once. Small, so that a few bytes of input reach every part of them.

use std::sync::OnceLock;

use hostward_accounts::{Group, User, build};

pub(crate) struct Base {
    pub(crate) file: Vec<u8>,
    /// Of users and groups, and of nobody.
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) ids: Vec<u32>,
}

pub(crate) fn base(number: u8) -> &'static Base {
    static BASES: OnceLock<[Base; 4]> = OnceLock::new();
    let bases = BASES.get_or_init(|| [people(0, 0), people(1, 1), people(5, 4), people(24, 7)]);
    &bases[usize::from(number) % bases.len()]
}

fn people(users: u32, groups: u32) -> Base {
    let user = |n: u32| User {
        // Of each length that the hash function treats in its own way.
        name: format!("{}{n}", "u".repeat(1 + (n as usize * 7) % 30)),
        uid: 60_000 + n,
        gid: 70_000 + n % groups.max(1),
        gecos: "g".repeat((n as usize * 5) % 12),
        home: format!("/home/{n}"),
        shell: "/bin/sh".into(),
        local_gids: (0..n % 4).map(|gid| 27 + gid).collect(),
        principals: (0..n % 3).map(|p| format!("p{p}")).collect(),
        valid_until: u64::from(n % 2) * 1_900_000_000,
        subids: Vec::new(),
    };
    let group = |n: u32| Group {
        name: format!("{}{n}", "g".repeat(1 + (n as usize * 11) % 30)),
        gid: 70_000 + n,
        members: (0..users).filter(|user| n > 0 && user % n == 0).collect(),
    };
    let (users, groups): (Vec<User>, Vec<Group>) =
        ((0..users).map(user).collect(), (0..groups).map(group).collect());
    let of_all = users.iter().map(|user| &user.name).chain(groups.iter().map(|group| &group.name));
    let nobody = [&b""[..], b"nobody", b"u", &[b'u'; 32], &[b'u'; 33]].map(Vec::from);
    let ids = users.iter().map(|user| user.uid).chain(groups.iter().map(|group| group.gid));
    Base {
        file: build(&users, &groups, 1).expect("builds"),
        names: of_all.map(|name| name.as_bytes().to_vec()).chain(nobody).collect(),
        ids: ids.chain([0, 1, 65_534, u32::MAX]).collect(),
    }
}
