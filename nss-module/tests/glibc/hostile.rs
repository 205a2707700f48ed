//! Files that are not what the writer wrote.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use hostward_accounts::{PROLOGUE, build};

use crate::calls::{self, SUCCESS, TRYAGAIN, UNAVAIL, getgrgid, getgrnam, getpwnam, getpwuid, getspnam};
use crate::host::{Host, people};
use crate::through;

/// Whether nothing at all is answered: by the module, to each kind of question, and by glibc to who asks it.
fn is_unavailable() -> bool {
    let mut buffer = [0; 1024];
    let (status, errno, user) = getpwnam(b"user1", &mut buffer);
    let groups = calls::initgroups("user1", 1, &[], 4, 0);
    let statuses = [
        status,
        groups.0,
        getpwuid(100_001, &mut buffer).0,
        getgrnam(b"everyone", &mut buffer).0,
        getgrgid(200_001, &mut buffer).0,
        getspnam(b"user1", &mut buffer).0,
        calls::getpwent(&mut buffer).0,
        calls::getgrent(&mut buffer).0,
        calls::getspent(&mut buffer).0,
        // Of whom there is no such entry in any version of the file.
        getpwnam(b"nobody", &mut buffer).0,
        getgrgid(4711, &mut buffer).0,
    ];
    let nothing = user.is_none() && groups.2.is_empty() && errno != libc::ERANGE;
    // glibc returns 0 for "no such entry" and an error for "cannot be told".
    let through_glibc = [
        through::getpwnam("user1").0,
        through::getpwuid(100_001).0,
        through::getgrnam("everyone").0,
        through::getgrgid(200_001).0,
        through::getspnam("user1").0,
    ];
    let unavailable = statuses.iter().filter(|status| **status == UNAVAIL).count();
    let errors = through_glibc.iter().filter(|code| **code != 0).count();
    assert!(unavailable == 0 || unavailable == statuses.len(), "{statuses:?}");
    assert!(errors == 0 || errors == through_glibc.len(), "{through_glibc:?}");
    assert_eq!(unavailable == 0, errors == 0, "{statuses:?} {through_glibc:?}");
    nothing && unavailable != 0
}

pub fn files_that_others_could_have_made(host: &Host) {
    host.serve(3, 1);
    for mode in [0o664, 0o646, 0o622] {
        fs::set_permissions(&host.path, fs::Permissions::from_mode(mode)).expect("sets the mode");
        assert!(is_unavailable(), "{mode:o}");
    }
    fs::set_permissions(&host.path, fs::Permissions::from_mode(0o644)).expect("sets the mode");
    chown(&host.path, Some(1), None).expect("gives away");
    assert!(is_unavailable(), "another owner");
    chown(&host.path, Some(0), None).expect("takes back");
    assert!(!is_unavailable());
}

pub fn things_that_are_no_file(host: &Host) {
    host.serve(3, 1);
    let elsewhere = host.path.with_extension("elsewhere");
    fs::rename(&host.path, &elsewhere).expect("renames");
    symlink(&elsewhere, &host.path).expect("links");
    assert!(is_unavailable(), "a link");
    fs::remove_file(&host.path).expect("removes");
    fs::create_dir(&host.path).expect("creates");
    assert!(is_unavailable(), "a directory");
    fs::remove_dir(&host.path).expect("removes");
    let socket = std::os::unix::net::UnixListener::bind(&host.path).expect("binds");
    assert!(is_unavailable(), "a socket");
    drop(socket);
    fs::remove_file(&host.path).expect("removes");
    symlink("/dev/zero", &host.path).expect("links");
    assert!(is_unavailable(), "a link to a device");
    fs::remove_file(&host.path).expect("removes");
    fs::write(&host.path, "").expect("writes");
    assert!(is_unavailable(), "an empty file");
    fs::remove_file(&host.path).expect("removes");
    calls::make_fifo(&CString::new(host.path.as_os_str().as_bytes()).expect("no NUL"));
    assert!(is_unavailable(), "a FIFO, which must not be waited for");
    fs::remove_file(&host.path).expect("removes");
    let sparse = fs::File::create(&host.path).expect("creates");
    sparse.set_len(1 << 40).expect("a sparse terabyte");
    assert!(is_unavailable(), "a terabyte");
    sparse.set_len(1 << 20).expect("a sparse megabyte");
    assert!(is_unavailable(), "a hole");
    fs::rename(&elsewhere, &host.path).expect("renames");
    assert!(!is_unavailable());
}

pub fn a_file_cut_anywhere_is_unavailable(host: &Host) {
    let (users, groups) = people(5, 1);
    let file = build(&users, &groups, 1).expect("builds");
    for len in 0..file.len() {
        host.write_anything(&file[..len]);
        assert!(is_unavailable(), "cut to {len}");
    }
    host.write_anything(&file);
    assert_eq!(getpwnam(b"user1", &mut [0; 1024]).0, SUCCESS);
}

pub fn a_file_of_another_kind_is_unavailable(host: &Host) {
    let (users, groups) = people(5, 1);
    let file = build(&users, &groups, 1).expect("builds");
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 9] = [
        ("a newer major", |file| file[PROLOGUE + 8] = 2),
        ("no major", |file| file[PROLOGUE + 8] = 0),
        ("a major of two bytes", |file| file[PROLOGUE + 9] = 1),
        ("a byte appended", |file| file.push(0)),
        ("itself appended", |file| file.extend_from_within(..)),
        ("a page appended", |file| file.resize(file.len() + 4096, 0)),
        ("another magic", |file| file[PROLOGUE] ^= 1),
        ("nothing but zeros", |file| file.fill(0)),
        ("text", |file| file.fill(b'x')),
    ];
    for (what, change) in changes {
        let mut changed = file.clone();
        change(&mut changed);
        host.write_anything(&changed);
        assert!(is_unavailable(), "{what}");
    }
    // A newer minor is what an older library must go on reading.
    let mut newer = file.clone();
    newer[PROLOGUE + 10] = 9;
    host.write_anything(&newer);
    assert_eq!(getpwnam(b"user1", &mut [0; 1024]).0, SUCCESS);
}

pub fn a_file_with_flipped_bits_gives_no_wrong_answer(host: &Host) {
    let (users, groups) = people(5, 1);
    let file = build(&users, &groups, 1).expect("builds");
    let mut buffer = [0; 4096];
    // A step without a common factor with 8 comes by every byte and, all in all, every bit.
    for at in (PROLOGUE * 8..file.len() * 8).step_by(11) {
        let mut flipped = file.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        // Every lookup maps it anew: what is superseded is not kept for the next.
        flipped[0] = 1;
        host.write_anything(&flipped);
        let by_name = getpwnam(b"user1", &mut buffer);
        let by_uid = getpwuid(100_001, &mut buffer);
        let group = getgrnam(b"everyone", &mut buffer);
        for (status, errno) in [(by_name.0, by_name.1), (by_uid.0, by_uid.1), (group.0, group.1)] {
            assert!(errno != libc::ERANGE || status == TRYAGAIN);
        }
        assert!(by_name.2.is_none_or(|user| user.name == "user1"), "bit {at}");
        assert!(by_uid.2.is_none_or(|user| user.uid == 100_001), "bit {at}");
        assert!(group.2.is_none_or(|group| group.name == "everyone"), "bit {at}");
        let mut last = 0;
        calls::rewind("setpwent");
        while let (SUCCESS, _, Some(user)) = calls::getpwent(&mut buffer) {
            assert!(user.uid > last, "an enumeration goes up and ends");
            last = user.uid;
        }
    }
}
