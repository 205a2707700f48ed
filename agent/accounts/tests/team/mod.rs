//! A small team, the content of the golden files.

use hostward_accounts::{Group, SubidRange, User};

pub fn users() -> Vec<User> {
    vec![
        User {
            name: "alice".into(),
            uid: 60001,
            gid: 60001,
            gecos: "Alice Liddell".into(),
            home: "/home/alice".into(),
            shell: "/bin/bash".into(),
            local_gids: vec![27, 990],
            principals: vec!["alice".into(), "alice@example.org".into()],
            valid_until: 0,
            subids: vec![],
        },
        User {
            name: "b".into(),
            uid: 60002,
            gid: 60002,
            gecos: String::new(),
            home: "/home/b".into(),
            shell: "/bin/sh".into(),
            local_gids: vec![990],
            principals: vec!["b".into()],
            valid_until: 1_900_000_000,
            subids: vec![],
        },
        User {
            name: "a-name-of-thirty-two-bytes-length".chars().take(32).collect(),
            uid: 60003,
            gid: 70001,
            gecos: "Jürgen Ümlaut, Köln".into(),
            home: "/home/long".into(),
            shell: "/usr/bin/zsh".into(),
            local_gids: vec![],
            principals: vec![],
            valid_until: 0,
            subids: vec![],
        },
    ]
}

/// The same with subordinate ids, whose order is not that of the uids.
#[allow(dead_code)]
pub fn users_with_subids() -> Vec<User> {
    let range = |start, count| SubidRange { start, count };
    let mut users = users();
    users[0].subids = vec![range(600_200_000, 65_536), range(700_000_000, 1024)];
    users[2].subids = vec![range(600_100_000, 65_536)];
    users
}

pub fn groups() -> Vec<Group> {
    vec![
        Group { name: "alice".into(), gid: 60001, members: vec![] },
        Group { name: "b".into(), gid: 60002, members: vec![] },
        Group { name: "developers".into(), gid: 70001, members: vec![0, 1, 2] },
        Group { name: "operators".into(), gid: 70002, members: vec![0] },
    ]
}
