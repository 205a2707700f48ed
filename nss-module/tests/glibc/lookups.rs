//! What is asked is what is answered, by the rules of glibc's interface.

use std::collections::BTreeSet;

use crate::calls::{
    self, NOTFOUND, Passwd, SUCCESS, TRYAGAIN, getgrgid, getgrnam, getpwnam, getpwuid, getspnam,
};
use crate::host::{Host, descriptors};
use crate::through;

fn user3() -> Passwd {
    Passwd {
        name: "user3".into(),
        password: "*".into(),
        uid: 100_003,
        gid: 100_000,
        gecos: "generation 1".into(),
        home: "/home/user3".into(),
        shell: "/bin/bash".into(),
    }
}

pub fn passwd_by_name_and_uid(host: &Host) {
    host.serve(10, 1);
    let before = descriptors();
    let mut buffer = [0; 1024];
    assert_eq!(getpwnam(b"user3", &mut buffer), (SUCCESS, -1, Some(user3())));
    assert_eq!(getpwuid(100_003, &mut buffer), (SUCCESS, -1, Some(user3())));
    assert_eq!(through::getpwnam("user3"), (0, Some(user3())));
    assert_eq!(descriptors(), before, "no descriptor is kept");
}

pub fn group_by_name_and_gid(host: &Host) {
    host.serve(10, 1);
    let mut buffer = [0; 1024];
    let alternate = calls::Group {
        name: "alternate".into(),
        password: "*".into(),
        gid: 200_002,
        members: ["user0", "user2", "user4", "user6", "user8"].map(String::from).into(),
    };
    assert_eq!(getgrnam(b"alternate", &mut buffer), (SUCCESS, -1, Some(alternate.clone())));
    assert_eq!(getgrgid(200_002, &mut buffer), (SUCCESS, -1, Some(alternate)));
    let (_, _, empty) = getgrnam(b"empty", &mut buffer);
    assert_eq!(empty.expect("is there").members, [""; 0]);
}

pub fn shadow_has_a_star_and_no_ageing(host: &Host) {
    host.serve(10, 1);
    let mut buffer = [0; 64];
    let expected = ("user3".to_owned(), "*".to_owned(), [-1; 7]);
    assert_eq!(getspnam(b"user3", &mut buffer), (SUCCESS, -1, Some(expected)));
}

pub fn who_is_not_there_is_not_found(host: &Host) {
    host.serve(10, 1);
    let mut buffer = [0; 1024];
    let long = [b'a'; 4096];
    for name in
        [&b"user"[..], b"user33", b"", b"root", b"user3 ", b"\xff\xfe", &long[..32], &long[..33], &long]
    {
        assert_eq!(getpwnam(name, &mut buffer), (NOTFOUND, libc::ENOENT, None));
        assert_eq!(getgrnam(name, &mut buffer), (NOTFOUND, libc::ENOENT, None));
        assert_eq!(getspnam(name, &mut buffer), (NOTFOUND, libc::ENOENT, None));
    }
    for id in [0, 1, 990, 100_010, 65_534, u32::MAX] {
        assert_eq!(getpwuid(id, &mut buffer), (NOTFOUND, libc::ENOENT, None));
        assert_eq!(getgrgid(id, &mut buffer), (NOTFOUND, libc::ENOENT, None));
    }
    assert_eq!(calls::initgroups("nobody", 1, &[1], 4, 0), (NOTFOUND, libc::ENOENT, vec![1], 4));
    assert_eq!(through::getpwnam("nobody"), (0, None));
}

/// Every length from nothing on, at every alignment: ERANGE below one threshold, the whole answer from there on. What the
/// answer points to is checked by those who read it.
pub fn a_small_buffer_is_the_only_reason_for_erange(host: &Host) {
    host.serve(10, 1);
    let mut memory = [0xaa; 640];
    let offsets = || 0..16;
    let mut threshold = |offset: usize, ask: &dyn Fn(&mut [u8]) -> (i32, i32)| {
        let start = memory.as_ptr() as usize;
        let buffer = &mut memory[start.next_multiple_of(16) - start + offset..];
        let mut threshold = None;
        for len in 0..buffer.len() {
            buffer[len..].fill(0xaa);
            let answer = ask(&mut buffer[..len]);
            assert!(
                buffer[len..].iter().all(|byte| *byte == 0xaa),
                "nothing is written behind a buffer of {len}"
            );
            match threshold {
                None if answer == (TRYAGAIN, libc::ERANGE) => {}
                None => threshold = Some((len, answer)),
                Some(_) => assert_eq!(answer, (SUCCESS, -1), "a buffer of {len}"),
            }
        }
        let (len, answer) = threshold.expect("some buffer is large enough");
        assert_eq!(answer, (SUCCESS, -1));
        len
    };
    let first = |rewind: &'static str, next: fn(&mut [u8]) -> (i32, i32)| {
        move |buffer: &mut [u8]| {
            assert_eq!(calls::rewind(rewind), SUCCESS);
            next(buffer)
        }
    };
    let first_user = first("setpwent", |buffer| status(calls::getpwent(buffer)));
    let first_shadow = first("setspent", |buffer| status(calls::getspent(buffer)));
    let first_group = first("setgrent", |buffer| status(calls::getgrent(buffer)));
    let passwd = "user3\0*\0generation 1\0/home/user3\0/bin/bash\0".len();
    for offset in offsets() {
        assert_eq!(threshold(offset, &|buffer| status(getpwnam(b"user3", buffer))), passwd);
        assert_eq!(threshold(offset, &|buffer| status(getpwuid(100_003, buffer))), passwd);
        assert_eq!(threshold(offset, &first_user), passwd);
        assert_eq!(threshold(offset, &|buffer| status(getspnam(b"user3", buffer))), "user3\0*\0".len());
        assert_eq!(threshold(offset, &first_shadow), "user3\0*\0".len());
        // Pointers first, where the next aligned address is.
        let pointers = |members: usize| offset.next_multiple_of(8) - offset + (members + 1) * 8;
        let group = |name: &str, members| pointers(members) + name.len() + 3 + members * "user0\0".len();
        assert_eq!(
            threshold(offset, &|buffer| status(getgrnam(b"alternate", buffer))),
            group("alternate", 5)
        );
        assert_eq!(threshold(offset, &|buffer| status(getgrgid(200_001, buffer))), group("everyone", 10));
        assert_eq!(threshold(offset, &|buffer| status(getgrnam(b"empty", buffer))), group("empty", 0));
        assert_eq!(threshold(offset, &first_group), group("empty", 0));
    }
}

fn status<T>((status, errno, _): calls::Answer<T>) -> (i32, i32) {
    (status, errno)
}

pub fn members_are_aligned_in_any_buffer(host: &Host) {
    host.serve(10, 1);
    let mut buffer = [0; 600];
    for start in 0..16 {
        let (status, _, group) = getgrnam(b"everyone", &mut buffer[start..]);
        assert_eq!((status, group.expect("is there").members.len()), (SUCCESS, 10), "start {start}");
    }
}

pub fn initgroups_through_glibc(host: &Host) {
    host.serve(10, 1);
    assert_eq!(through::getgrouplist("user2", 100_000), [100_000, 990, 200_001, 200_002]);
    assert_eq!(through::getgrouplist("user3", 100_000), [100_000, 990, 200_001]);
    assert_eq!(through::getgrouplist("user3", 990), [990, 200_001]);
    assert_eq!(through::getgrouplist("nobody", 7), [7]);
}

pub fn initgroups_keeps_to_the_limit(host: &Host) {
    host.serve(10, 1);
    let all = [990, 200_001, 200_002];
    let ask = |list: &[u32], size, limit| calls::initgroups("user2", 7, list, size, limit);
    // Room enough, none at all, and no limit in either of its spellings.
    assert_eq!(ask(&[], 8, 0), (SUCCESS, -1, all.to_vec(), 8));
    assert_eq!(ask(&[], 0, 0), (SUCCESS, -1, all.to_vec(), 3));
    assert_eq!(ask(&[], 1, -1), (SUCCESS, -1, all.to_vec(), 3));
    assert_eq!(ask(&[1, 2], 2, -1), (SUCCESS, -1, [&[1, 2], &all[..]].concat(), 5));
    // A limit cuts the list short, in room that is there already or grows up to it.
    for limit in 1..=3 {
        let cut = all[..limit as usize].to_vec();
        assert_eq!(ask(&[], 8, limit), (SUCCESS, -1, cut.clone(), 8));
        assert_eq!(ask(&[], 1, limit), (SUCCESS, -1, cut, limit));
    }
    assert_eq!(ask(&[1, 2], 2, 2), (SUCCESS, -1, vec![1, 2], 2));
    assert_eq!(ask(&[1, 2], 2, 1), (SUCCESS, -1, vec![1, 2], 2));
    // The primary group and what is there already are not repeated, and take no room.
    assert_eq!(calls::initgroups("user2", 200_001, &[200_001], 4, 3).2, [200_001, 990, 200_002]);
    assert_eq!(calls::initgroups("user2", 200_001, &[], 4, 2).2, [990, 200_002]);
    assert_eq!(ask(&[990, 5], 4, 4).2, [990, 5, 200_001, 200_002]);
}

pub fn enumerations_give_everybody_once(host: &Host) {
    host.serve(50, 1);
    let mut buffer = [0; 4096];
    for round in 0..2 {
        assert_eq!(calls::rewind("setpwent"), SUCCESS);
        let users: Vec<u32> = std::iter::from_fn(|| Some(calls::getpwent(&mut buffer).2?.uid)).collect();
        assert_eq!(users, (100_000..100_050).collect::<Vec<_>>(), "round {round}");
        // The end is the end until the next set or end, and is no error.
        assert_eq!(calls::getpwent(&mut buffer), (NOTFOUND, -1, None));
        assert_eq!(calls::rewind("endpwent"), SUCCESS);
    }
    let shadow: BTreeSet<String> = std::iter::from_fn(|| Some(calls::getspent(&mut buffer).2?.0)).collect();
    assert_eq!(shadow.len(), 50);
    assert_eq!(calls::rewind("endspent"), SUCCESS);

    // A buffer too small loses nobody.
    assert_eq!(calls::rewind("setgrent"), SUCCESS);
    let mut groups = Vec::new();
    loop {
        let (status, errno, _) = calls::getgrent(&mut buffer[..8]);
        match calls::getgrent(&mut buffer).2 {
            Some(group) => {
                assert_eq!((status, errno), (TRYAGAIN, libc::ERANGE));
                groups.push(group.name);
            }
            None => break,
        }
    }
    assert_eq!(groups, ["empty", "everyone", "alternate"]);
    assert_eq!(calls::rewind("endgrent"), SUCCESS);
    assert_eq!(calls::rewind("setspent"), SUCCESS);
}

pub fn enumerations_are_not_disturbed_by_lookups(host: &Host) {
    host.serve(50, 1);
    let (mut buffer, mut other) = ([0; 4096], [0; 4096]);
    let mut users = 0;
    while let Some(user) = calls::getpwent(&mut buffer).2 {
        users += 1;
        assert_eq!(getpwuid(100_001, &mut other).0, SUCCESS);
        assert_eq!(getgrgid(200_001, &mut other).0, SUCCESS);
        assert_eq!(getgrgid(4711, &mut other).0, NOTFOUND);
        assert_eq!(
            calls::getgrent(&mut other).0,
            if users <= 3 { SUCCESS } else { NOTFOUND },
            "{}",
            user.name
        );
    }
    assert_eq!(users, 50);
}
