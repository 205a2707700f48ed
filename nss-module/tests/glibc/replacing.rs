//! The file is replaced, removed and made anew under processes that read it, with threads and forks in between.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::calls::{self, SUCCESS, UNAVAIL, getgrnam, getpwnam, getpwuid};
use crate::host::{Host, descriptors, mappings};

fn gecos(name: &str) -> Option<String> {
    let mut buffer = [0; 1024];
    getpwnam(name.as_bytes(), &mut buffer).2.map(|user| user.gecos)
}

pub fn a_replacement_is_seen_and_the_old_file_let_go(host: &Host) {
    host.serve(10, 1);
    let before = descriptors();
    for generation in 2..50 {
        assert_eq!(gecos("user1"), Some(format!("generation {}", generation - 1)));
        assert_eq!(mappings(), 1);
        host.serve(10, generation);
    }
    assert_eq!(gecos("user1"), Some("generation 49".into()));
    assert_eq!((mappings(), descriptors()), (1, before));
}

pub fn a_removal_is_seen_and_so_is_a_new_file(host: &Host) {
    let mut buffer = [0; 1024];
    for generation in 1..5 {
        assert_eq!(getpwnam(b"user1", &mut buffer), (UNAVAIL, libc::ENOENT, None));
        assert_eq!(getpwuid(1, &mut buffer), (UNAVAIL, libc::ENOENT, None));
        assert_eq!(getgrnam(b"everyone", &mut buffer), (UNAVAIL, libc::ENOENT, None));
        assert_eq!(calls::getpwent(&mut buffer), (UNAVAIL, libc::ENOENT, None));
        assert_eq!(calls::initgroups("user1", 1, &[], 1, 0), (UNAVAIL, libc::ENOENT, vec![], 1));
        assert_eq!(mappings(), 0, "what was removed is let go");
        host.serve(10, generation);
        assert_eq!(gecos("user1"), Some(format!("generation {generation}")));
        host.remove();
    }
}

pub fn an_enumeration_survives_a_replacement(host: &Host) {
    host.serve(100, 1);
    let mut buffer = [0; 4096];
    let mut seen = Vec::new();
    for generation in 2.. {
        match calls::getpwent(&mut buffer).2 {
            Some(user) => seen.push(user.uid),
            None => break,
        }
        // Half of them come and go; user 0 and the even ones stay.
        let (mut users, _) = crate::host::people(100, generation);
        users.retain(|user| generation % 2 == 0 || user.uid % 2 == 0);
        host.write(&hostward_accounts::build(&users, &[], generation).expect("builds"));
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "nobody twice: {seen:?}");
    let stayed = (100_000..100_100).filter(|uid| uid % 2 == 0);
    assert!(stayed.clone().all(|uid| seen.contains(&uid)), "nobody who stayed is skipped: {seen:?}");
}

const READERS: usize = 4;

/// The generation that the last replacement to be over has put in force.
static IN_FORCE: AtomicU64 = AtomicU64::new(1);

fn replace_by(host: &Host, generation: u64) {
    host.serve(300, generation);
    IN_FORCE.store(generation, Ordering::SeqCst);
}

/// Asks without end for users and groups, and checks each answer against itself.
fn read_until(done: &AtomicBool, asked: &AtomicU64) {
    let mut buffer = vec![0; 65_536];
    while !done.load(Ordering::Relaxed) {
        for n in 0..10 {
            let name = format!("user{n}");
            let in_force = IN_FORCE.load(Ordering::SeqCst);
            let (status, errno, user) = getpwnam(name.as_bytes(), &mut buffer);
            assert_eq!((status, errno), (SUCCESS, -1));
            let user = user.expect("is there");
            assert_eq!(
                (user.name, user.uid, user.home),
                (name.clone(), 100_000 + n, format!("/home/{name}"))
            );
            let generation: u64 = user.gecos.trim_start_matches("generation ").parse().expect("a number");
            assert!(generation >= in_force, "{generation} is served when {in_force} is in force");
            let (status, _, group) = getgrnam(b"everyone", &mut buffer);
            assert_eq!((status, group.map(|group| group.members.len())), (SUCCESS, Some(300)));
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub fn threads_read_while_the_file_is_replaced(host: &Host) {
    const REPLACEMENTS: u64 = 150;
    host.serve(300, 1);
    let before = descriptors();
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| read_until(&done, &asked));
        }
        for generation in 2..=REPLACEMENTS {
            replace_by(host, generation);
            // Enough for every thread to come by, and for some to be in the middle of it.
            let target = asked.load(Ordering::Relaxed) + 20;
            while asked.load(Ordering::Relaxed) < target {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(gecos("user1"), Some(format!("generation {REPLACEMENTS}")));
    assert_eq!((mappings(), descriptors()), (1, before));
}

/// The file comes and goes, and descriptors for opening it are short: some threads map it while others find nothing to map.
pub fn threads_read_while_the_file_comes_and_goes(host: &Host) {
    const SECONDS: u64 = 3;
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let readers = calls::start(|| {
        let done = AtomicBool::new(false);
        let (found, missing) = (AtomicU64::new(0), AtomicU64::new(0));
        // Loaded, and resolved, while there are descriptors.
        let found_by = calls::uid_asker();
        calls::limit(libc::RLIMIT_NOFILE, calls::next_descriptor() as u64 + 1);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        match found_by(100_001) {
                            (SUCCESS, _) => found.fetch_add(1, Ordering::Relaxed),
                            (UNAVAIL, libc::ENOENT | libc::EMFILE) => missing.fetch_add(1, Ordering::Relaxed),
                            other => panic!("{other:?}"),
                        };
                    }
                });
            }
            while Instant::now() < end {
                thread::sleep(Duration::from_millis(10));
            }
            done.store(true, Ordering::Relaxed);
        });
        found.into_inner() > 1000 && missing.into_inner() > 1000
    });
    let mut generation = 0;
    while Instant::now() < end {
        generation += 1;
        host.serve(20, generation);
        thread::yield_now();
        if generation % 3 != 0 {
            host.remove();
        }
    }
    assert_eq!(calls::wait(readers), 0, "after {generation} files");
}

/// A replacement every 10 ms, for as many seconds as `REPLACING_SECONDS` says.
pub fn eight_threads_and_a_replacement_every_10_ms(host: &Host) {
    let seconds = std::env::var("REPLACING_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(5);
    calls::end_after_seconds(seconds + 60);
    host.serve(300, 1);
    let before = descriptors();
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut memory = Vec::new();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| read_until(&done, &asked));
        }
        let end = Instant::now() + Duration::from_secs(seconds.into());
        for generation in 2.. {
            replace_by(host, generation);
            thread::sleep(Duration::from_millis(10));
            if generation.is_multiple_of(10) {
                memory.push((mappings(), resident_kib()));
            }
            if Instant::now() > end {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{} rounds of lookups; mappings and resident KiB: {memory:?}", asked.into_inner());
    let (first, last) = (memory.first().expect("ten"), memory.last().expect("ten"));
    // The one in force, one that is being left, and one of each thread's own at the most.
    assert!(memory.iter().all(|(mappings, _)| *mappings <= 2 + 8), "{memory:?}");
    assert!(last.1 < first.1 + 1024, "{memory:?}");
    assert!(getpwuid(100_001, &mut [0; 1024]).0 == SUCCESS);
    assert_eq!((mappings(), descriptors()), (1, before));
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("reads");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

pub fn forks_during_lookups_and_replacements(host: &Host) {
    host.serve(300, 1);
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| read_until(&done, &asked));
        }
        for round in 1..=100_u64 {
            let target = asked.load(Ordering::Relaxed) + 5;
            while asked.load(Ordering::Relaxed) < target {
                thread::yield_now();
            }
            let status = calls::fork(|| {
                // Nothing that allocates: the other threads' locks may be taken for ever.
                let mut buffer = [0; 1024];
                let found = (0..50).all(|_| found_by_uid(&mut buffer));
                found && found_after_own_replacement(round)
            });
            assert_eq!(status, 0, "the child of round {round}");
            replace_by(host, round + 1);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(gecos("user1"), Some("generation 101".into()));
    assert_eq!(mappings(), 1, "the parent is not left with mappings that children read");
}

fn found_by_uid(buffer: &mut [u8]) -> bool {
    getpwuid(100_001, buffer).0 == SUCCESS
}

/// In the child, every other round: the database is replaced, and the mapping inherited is let go.
fn found_after_own_replacement(round: u64) -> bool {
    if round.is_multiple_of(2) {
        return true;
    }
    let host = Host { path: hostward_accounts::PATH.to_str().expect("UTF-8").into() };
    let mut buffer = [0; 1024];
    for _ in 0..5 {
        host.serve(300, round);
        if !found_by_uid(&mut buffer) {
            return false;
        }
    }
    // One may be left from each thread that was mapping in the very moment of the fork.
    mappings() <= 1 + READERS
}

pub fn a_child_keeps_no_mapping_for_threads_it_does_not_have(host: &Host) {
    host.serve(300, 0);
    assert!(found_by_uid(&mut [0; 1024]));
    host.serve(300, 1);
    let done = AtomicBool::new(false);
    let asked = [const { AtomicU64::new(0) }; READERS];
    thread::scope(|scope| {
        for asked in &asked {
            let done = &done;
            scope.spawn(move || read_until(done, asked));
        }
        for round in 1..=60_u64 {
            // Each thread is through with mapping the file of the round before, and in some later lookup.
            for asked in &asked {
                let target = asked.load(Ordering::Relaxed) + 3;
                while asked.load(Ordering::Relaxed) < target {
                    thread::yield_now();
                }
            }
            let status = calls::fork(|| {
                host.serve(300, round + 1);
                found_by_uid(&mut [0; 1024]) && mappings() == 1
            });
            assert_eq!(status, 0, "the child of round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

static CHILDREN: AtomicI32 = AtomicI32::new(0);
static FAILED: AtomicI32 = AtomicI32::new(0);

/// Forks wherever the lookup happens to be. The child goes on with that lookup.
extern "C" fn fork_here(_: c_int) {
    if CHILDREN.load(Ordering::SeqCst) < 0 {
        return;
    }
    match calls::raw_fork() {
        0 => CHILDREN.store(-1, Ordering::SeqCst),
        pid => {
            CHILDREN.fetch_add(1, Ordering::SeqCst);
            if calls::wait(pid) != 0 {
                FAILED.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

pub fn a_fork_in_a_signal_handler_during_a_lookup(host: &Host) {
    host.serve(300, 1);
    let found = calls::uid_finder();
    assert!(found(100_001));
    calls::tick(fork_here);
    while (0..200).contains(&CHILDREN.load(Ordering::SeqCst)) {
        assert!(found(100_001));
    }
    if CHILDREN.load(Ordering::SeqCst) < 0 {
        // The child: the counter of the lookup it came out of must not keep the mapping for ever.
        calls::end_after_seconds(20);
        let mut sound = true;
        for _ in 0..2 {
            host.write(&hostward_accounts::build(&crate::host::people(2, 9).0, &[], 9).expect("builds"));
            sound &= found(100_001);
        }
        calls::exit_now(c_int::from(!(sound && mappings() == 1)));
    }
    calls::stop_ticking();
    assert_eq!(FAILED.load(Ordering::SeqCst), 0, "children that failed");
}
