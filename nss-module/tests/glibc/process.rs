//! Processes that are unusual, but not unheard of.

use std::ffi::c_int;

use crate::calls::{self, SUCCESS, TRYAGAIN, UNAVAIL, getgrgid, getgrnam, getpwnam, getpwuid, getspnam};
use crate::host::{Host, mappings};
use crate::kernel::{self, Outside};

/// A sandbox may be shut right behind the first lookup.
pub fn a_second_lookup_makes_no_system_call(host: &Host) {
    host.serve(1000, 1);
    let status = calls::fork(|| {
        let found = calls::uid_finder();
        let first = found(100_001);
        calls::no_more_system_calls();
        let sealed = (100_000..100_500).all(found);
        calls::exit_sealed(c_int::from(!(first && sealed)))
    });
    assert_eq!(status, 0, "9 is the kernel's answer to a system call");
}

pub fn a_warm_lookup_makes_no_system_call(host: &Host) {
    host.serve(1000, 1);
    let status = calls::fork(|| {
        let mut buffer = [0; 65_536];
        let _ = calls::initgroups("user1", 1, &[], 100, 0);
        let mut all = |n: u32| {
            getpwnam(b"user77", &mut buffer).0 == SUCCESS
                && getpwuid(100_000 + n, &mut buffer).0 == SUCCESS
                && getpwnam(b"nobody", &mut buffer).0 == 0
                && getpwuid(5, &mut buffer).0 == 0
                && getgrnam(b"everyone", &mut buffer).0 == SUCCESS
                && getgrgid(200_002, &mut buffer).0 == SUCCESS
                && getspnam(b"user77", &mut buffer).0 == SUCCESS
                && getgrnam(b"nobody", &mut buffer).0 == 0
                && getgrgid(5, &mut buffer).0 == 0
                && getgrnam(b"everyone", &mut buffer[..100]).0 == TRYAGAIN
                && getpwnam(b"user77", &mut buffer[..10]).0 == TRYAGAIN
                && calls::getpwent(&mut buffer).0 == SUCCESS
                && calls::getgrent(&mut buffer).0 != UNAVAIL
                && calls::getspent(&mut buffer).0 == SUCCESS
                && calls::initgroups("user77", 1, &[], 100, 0).0 == SUCCESS
        };
        // Twice unsealed, so that what the test itself allocates is there.
        let warm = all(1) && all(2);
        calls::no_more_system_calls();
        let sealed = (0..500).all(all);
        calls::exit_sealed(c_int::from(!(warm && sealed)))
    });
    assert_eq!(status, 0, "9 is the kernel's answer to a system call");
}

pub fn a_caller_may_close_all_descriptors(host: &Host) {
    host.serve(10, 1);
    let status = calls::fork(|| {
        let mut buffer = [0; 1024];
        let warm = getpwnam(b"user1", &mut buffer).0;
        calls::close_everything();
        let closed = getpwnam(b"user2", &mut buffer).0;
        let next = calls::next_descriptor();
        host.serve(10, 2);
        let replaced = getpwnam(b"user3", &mut buffer).0;
        let none_kept = calls::next_descriptor();
        (warm, closed, replaced, next, none_kept) == (SUCCESS, SUCCESS, SUCCESS, 0, 0)
    });
    assert_eq!(status, 0);
}

pub fn a_process_without_descriptors_to_spare(host: &Host) {
    host.serve(10, 1);
    let status = calls::fork(|| {
        let mut buffer = [0; 1024];
        // Loads the library, which takes a descriptor too.
        calls::rewind("endpwent");
        calls::limit(libc::RLIMIT_NOFILE, 0);
        let cold = getpwnam(b"user1", &mut buffer);
        calls::limit(libc::RLIMIT_NOFILE, 1024);
        let then = getpwnam(b"user1", &mut buffer).0;
        calls::limit(libc::RLIMIT_NOFILE, 0);
        let warm = getpwnam(b"user1", &mut buffer).0;
        cold == (UNAVAIL, libc::EMFILE, None) && (then, warm) == (SUCCESS, SUCCESS)
    });
    assert_eq!(status, 0);
}

extern "C" fn look_up_and_leave() {
    let mut buffer = [0; 1024];
    let found = getpwnam(b"user1", &mut buffer).0 == SUCCESS;
    calls::exit_now(if found { 42 } else { 43 });
}

pub fn a_lookup_at_exit(host: &Host) {
    host.serve(10, 1);
    for warm in [false, true] {
        let status = calls::fork(|| {
            if warm {
                let _ = getpwnam(b"user2", &mut [0; 1024]);
            }
            calls::at_exit(look_up_and_leave);
            std::process::exit(1)
        });
        assert_eq!(status, 42 << 8, "warm: {warm}");
    }
}

/// When the C library takes a program down, the program's own destructors are called after all that was registered.
pub fn a_lookup_after_everything_at_exit(host: &Host) {
    host.serve(10, 1);
    for warm in [false, true] {
        let status = calls::fork(|| {
            if warm {
                let _ = getpwnam(b"user2", &mut [0; 1024]);
            }
            kernel::at_destruction(look_up_and_leave);
            std::process::exit(1)
        });
        assert_eq!(status, 42 << 8, "warm: {warm}");
    }
}

/// Bytes of address space that this process has taken.
fn address_space() -> u64 {
    let used = std::fs::read_to_string("/proc/self/statm").expect("reads");
    let pages: u64 = used.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

pub fn little_address_space(host: &Host) {
    // Threads that build it leave much address space taken, an eighth of which would be room enough.
    let served = calls::fork(|| {
        host.serve(20_000, 1);
        true
    });
    assert_eq!(served, 0);
    let status = calls::fork(|| {
        let mut buffer = [0; 1024];
        let taken = address_space();
        let file = std::fs::metadata(&host.path).expect("metadata").len();
        calls::limit(libc::RLIMIT_AS, taken + file + (1 << 20));
        let found = (0..100).all(|n| getpwuid(100_000 + n, &mut buffer).0 == SUCCESS);
        let not_kept = mappings() == 0;
        // Not even room to map it once: no answer is better than a wrong one.
        calls::limit(libc::RLIMIT_AS, taken + file / 2);
        let (status, errno, _) = getpwuid(100_000, &mut buffer);
        calls::limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
        let again = getpwuid(100_000, &mut buffer).0 == SUCCESS && mappings() == 1;
        found && not_kept && (status, errno) == (UNAVAIL, libc::ENOMEM) && again
    });
    assert_eq!(status, 0);
}

/// A file that is kept however little there is, replaced where both have no room: the old one makes way.
pub fn a_replacement_in_little_address_space(host: &Host) {
    let served = calls::fork(|| {
        host.serve(4000, 1);
        true
    });
    assert_eq!(served, 0);
    let status = calls::fork(|| {
        let mut buffer = [0; 1024];
        let kept = getpwuid(100_000, &mut buffer).0 == SUCCESS && mappings() == 1;
        let file = std::fs::metadata(&host.path).expect("metadata").len();
        let outside = Outside::prepare(|| host.serve(4000, 2));
        let taken = address_space();
        calls::limit(libc::RLIMIT_AS, taken + file / 2);
        outside.act();
        let (status, _, user) = getpwuid(100_000, &mut buffer);
        let is_new = user.is_some_and(|user| user.gecos == "generation 2");
        calls::limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
        (200 << 10..1 << 20).contains(&file) && kept && status == SUCCESS && is_new && mappings() == 1
    });
    assert_eq!(status, 0);
}

pub fn errno_is_left_alone(host: &Host) {
    let mut buffer = [0; 1024];
    let mut keeps = |what: &str, call: &mut dyn FnMut(&mut [u8])| {
        calls::set_errno(4711);
        call(&mut buffer);
        assert_eq!(calls::errno(), 4711, "{what}");
    };
    // The module sets the errno it is given, which the callers here keep elsewhere.
    keeps("without a database", &mut |buffer| assert_eq!(getpwnam(b"user1", buffer).0, UNAVAIL));
    host.serve(3, 1);
    keeps("cold", &mut |buffer| assert_eq!(getpwnam(b"user1", buffer).0, SUCCESS));
    keeps("warm", &mut |buffer| assert_eq!(getpwnam(b"user1", buffer).0, SUCCESS));
    host.serve(3, 2);
    keeps("replaced", &mut |buffer| assert_eq!(getpwnam(b"user1", buffer).0, SUCCESS));
    host.remove();
    keeps("removed", &mut |buffer| assert_eq!(getpwnam(b"user1", buffer).0, UNAVAIL));
    for name in ["setpwent", "endpwent", "setgrent", "endgrent", "setspent", "endspent"] {
        keeps(name, &mut |_| assert_eq!(calls::rewind(name), SUCCESS));
    }
}
