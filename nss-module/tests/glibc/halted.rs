//! A thread that stands still in the middle of a lookup, for as long as it likes, holds up nobody.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::calls::{self, SUCCESS, UNAVAIL, getpwnam};
use crate::host::{Host, mappings};

const ROUNDS: usize = 200;
/// The mapping in force, two that are being left (as many places as the module has), and the halted thread's own.
const MOST_MAPPINGS: usize = 4;

static STAND: AtomicBool = AtomicBool::new(false);
static STANDS: AtomicBool = AtomicBool::new(false);
/// Rounds in which the module's own code was interrupted, and not what it calls or what calls it.
static WITHIN: AtomicUsize = AtomicUsize::new(0);
static CODE: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

extern "C" fn stand_still(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: what the kernel passes to a handler set with SA_SIGINFO.
    let at =
        unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize;
    let [start, end] = [0, 1].map(|n: usize| CODE[n].load(Ordering::SeqCst));
    WITHIN.fetch_add(usize::from((start..end).contains(&at)), Ordering::SeqCst);
    STANDS.store(true, Ordering::SeqCst);
    while STAND.load(Ordering::SeqCst) {
        // SAFETY: no arguments.
        unsafe { libc::sched_yield() };
    }
    STANDS.store(false, Ordering::SeqCst);
}

/// The range of addresses that the module's code is mapped at.
fn code_of_the_module() -> [usize; 2] {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("reads");
    let line = maps
        .lines()
        .find(|line| line.contains("r-xp") && line.contains("libnss_hostward"))
        .expect("the module is mapped");
    let (start, rest) = line.split_once('-').expect("a range");
    let end = rest.split_once(' ').expect("a range").0;
    [start, end].map(|address| usize::from_str_radix(address, 16).expect("hexadecimal"))
}

fn set_handler() {
    // SAFETY: a handler of the right type.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = stand_still as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// While a thread asks without end, does `meanwhile`, which may have it stand still. Whether it was always answered.
fn while_another_asks(meanwhile: impl FnOnce(libc::pthread_t)) -> bool {
    let found = calls::uid_finder();
    for (to, from) in CODE.iter().zip(code_of_the_module()) {
        to.store(from, Ordering::SeqCst);
    }
    set_handler();
    let (done, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let reader = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            if !found(100_001) {
                failed.store(true, Ordering::SeqCst);
            }
            // SAFETY: no arguments.
            reader.store(unsafe { libc::pthread_self() } as usize, Ordering::SeqCst);
            while !done.load(Ordering::Relaxed) {
                if !found(100_001) {
                    failed.store(true, Ordering::SeqCst);
                }
            }
        });
        while reader.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        meanwhile(reader.load(Ordering::SeqCst) as libc::pthread_t);
        done.store(true, Ordering::Relaxed);
    });
    !failed.into_inner()
}

/// `thread` is in [`while_another_asks`].
fn halt(thread: libc::pthread_t) {
    STAND.store(true, Ordering::SeqCst);
    // SAFETY: the thread lives.
    assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR2) }, 0);
    while !STANDS.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

fn let_go() {
    STAND.store(false, Ordering::SeqCst);
    while STANDS.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

pub fn a_thread_that_stands_still_holds_up_nobody(host: &Host) {
    host.serve(50, 1);
    let answered = while_another_asks(|thread| {
        for round in 0..ROUNDS {
            // What it maps anew after the round before takes a while: it is met in different places of that.
            (0..round * 37 % 4096).for_each(|_| spin_loop());
            halt(thread);
            for replacement in 0..4 {
                let generation = (round * 4 + replacement + 2) as u64;
                host.serve(50, generation);
                let (status, errno, user) = getpwnam(b"user1", &mut [0; 1024]);
                assert_eq!((status, errno), (SUCCESS, -1), "round {round}");
                assert_eq!(
                    user.expect("is there").gecos,
                    format!("generation {generation}"),
                    "round {round}"
                );
                assert!(mappings() <= MOST_MAPPINGS, "round {round}: {} mappings", mappings());
            }
            let_go();
        }
    });
    assert!(answered, "the thread itself was always answered");
    let within = WITHIN.load(Ordering::SeqCst);
    println!("{within} of {ROUNDS} rounds stopped it within the module");
    assert!(within >= ROUNDS / 20, "{within} of {ROUNDS} rounds stopped it within the module");
    assert_eq!(getpwnam(b"user1", &mut [0; 1024]).0, SUCCESS);
    assert_eq!(mappings(), 1);
}

/// Where nothing was ever replaced, a child cannot tell such threads from its own: one mapping is what that costs it.
pub fn a_child_forked_before_any_replacement_keeps_one_mapping_at_most(host: &Host) {
    for round in 0..10 {
        host.serve(50, 1);
        // This process itself never asks, so that each of these asks for the first time.
        let status = calls::fork(|| {
            let mut sound = false;
            while_another_asks(|thread| {
                while WITHIN.load(Ordering::SeqCst) == 0 {
                    let_go();
                    halt(thread);
                }
                sound = calls::fork(|| replaced_alone(host, 1)) == 0;
                let_go();
            }) && sound
        });
        assert_eq!(status, 0, "round {round}");
    }
}

/// Where [`stand_at_the_buffer`] finds a lookup: in the middle of filling it.
static BUFFER: AtomicUsize = AtomicUsize::new(0);
const BUFFER_LEN: usize = 4096;

extern "C" fn stand_at_the_buffer(_: c_int) {
    STANDS.store(true, Ordering::SeqCst);
    while STAND.load(Ordering::SeqCst) {
        // SAFETY: no arguments.
        unsafe { libc::sched_yield() };
    }
    let buffer = std::ptr::with_exposed_provenance_mut(BUFFER.load(Ordering::SeqCst));
    // SAFETY: the page that `while_a_first_lookup_stands` mapped; what faulted is done again.
    unsafe { libc::mprotect(buffer, BUFFER_LEN, libc::PROT_READ | libc::PROT_WRITE) };
}

/// While the first lookup of this process stands still in its thread, does `meanwhile`. The lookup's status.
fn while_a_first_lookup_stands(meanwhile: impl FnOnce()) -> c_int {
    // SAFETY: a page nobody else has; a handler of the right type.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let buffer = libc::mmap(std::ptr::null_mut(), BUFFER_LEN, libc::PROT_NONE, flags, -1, 0);
        BUFFER.store(buffer.expose_provenance(), Ordering::SeqCst);
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = stand_at_the_buffer as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()), 0);
    }
    STAND.store(true, Ordering::SeqCst);
    STANDS.store(false, Ordering::SeqCst);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let buffer = std::ptr::with_exposed_provenance_mut::<u8>(BUFFER.load(Ordering::SeqCst));
            // SAFETY: nobody else's page, which can be written to once the handler has returned.
            unsafe { calls::getpwuid_into(100_001, buffer, BUFFER_LEN) }
        });
        while !STANDS.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        meanwhile();
        STAND.store(false, Ordering::SeqCst);
        first.join().expect("ends")
    })
}

pub fn a_first_lookup_that_stands_still_holds_up_nobody(host: &Host) {
    let gecos = || getpwnam(b"user1", &mut [0; 1024]).2.map(|user| user.gecos);
    host.serve(50, 1);
    let replaced = calls::fork(|| {
        let mut sound = false;
        let status = while_a_first_lookup_stands(|| {
            sound = (2..12).all(|generation| {
                let before = gecos().is_some();
                host.serve(50, generation);
                before && gecos() == Some(format!("generation {generation}")) && mappings() <= 2
            });
        });
        (status, sound, mappings()) == (SUCCESS, true, 1) && gecos() == Some("generation 11".to_owned())
    });
    assert_eq!(replaced, 0, "replaced meanwhile");
    let removed = calls::fork(|| {
        let mut sound = false;
        let status = while_a_first_lookup_stands(|| {
            host.remove();
            sound = getpwnam(b"user1", &mut [0; 1024]) == (UNAVAIL, libc::ENOENT, None) && mappings() == 1;
        });
        (status, sound, mappings()) == (SUCCESS, true, 0)
    });
    assert_eq!(removed, 0, "removed meanwhile");
    host.serve(50, 1);
    let forked = calls::fork(|| {
        let mut sound = false;
        let status = while_a_first_lookup_stands(|| sound = calls::fork(|| replaced_alone(host, 2)) == 0);
        (status, sound) == (SUCCESS, true)
    });
    assert_eq!(forked, 0, "forked meanwhile");
}

/// A child's own replacements, and those of a child of its own, which is left with `childs` mappings at most.
fn replaced_alone(host: &Host, childs: usize) -> bool {
    let seen = |generation: u64| {
        host.serve(50, generation);
        let user = getpwnam(b"user1", &mut [0; 1024]).2;
        user.is_some_and(|user| user.gecos == format!("generation {generation}"))
    };
    let sound = (2..8).all(seen) && mappings() <= 2;
    sound && calls::fork(|| (8..10).all(seen) && mappings() <= childs) == 0
}
