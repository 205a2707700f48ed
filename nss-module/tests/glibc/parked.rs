//! A thread that stands still in each system call of mapping a file anew, and of letting the old one go, holds up nobody.
//!
//! A filter of that thread's own turns its system calls into signals; the handler stands still, and then does the call.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::calls::{self, SUCCESS, getpwnam};
use crate::host::{Host, mappings};

/// A call with this for its last argument, which none of them has, passes the filter.
const PASS: u32 = 0x4857_4442;
const CALLS: [c_long; 3] = [libc::SYS_openat, libc::SYS_close, libc::SYS_munmap];
/// For a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the thread is met in a system call.
const STANDS: usize = 120;

static STAND: AtomicBool = AtomicBool::new(true);
/// The call in which the thread stands; 0 for none.
static STANDS_IN: AtomicI64 = AtomicI64::new(0);

extern "C" fn stand_still(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: what the kernel passes to a handler set with SA_SIGINFO, nobody else's while the handler runs.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let [call, a, b, c, d, e] =
        [libc::REG_RAX, libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8]
            .map(|register| registers[register as usize]);
    if STAND.load(Ordering::SeqCst) {
        STANDS_IN.store(call, Ordering::SeqCst);
        while STANDS_IN.load(Ordering::SeqCst) != 0 {
            thread::yield_now();
        }
    }
    // SAFETY: the call that the thread was about to make. A raw one, whose result the caller wants as the kernel gives it.
    registers[libc::REG_RAX as usize] = unsafe {
        match libc::syscall(call, a, b, c, d, e, c_long::from(PASS)) {
            -1 => -i64::from(*libc::__errno_location()),
            result => result,
        }
    };
}

/// From here on, each of `CALLS` that this thread makes is a signal.
fn make_calls_signals() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const LAST_ARGUMENT: u32 = 16 + 5 * 8;
    let step = |code, k, jt| libc::sock_filter { code, jt, jf: 0, k };
    let mut steps = vec![step(LOAD, 0, 0)];
    for (n, call) in CALLS.iter().enumerate() {
        steps.push(step(IF_EQUAL, u32::try_from(*call).expect("small"), (CALLS.len() - n) as u8));
    }
    steps.push(step(ANSWER, libc::SECCOMP_RET_ALLOW, 0));
    steps.push(step(LOAD, LAST_ARGUMENT, 0));
    steps.push(step(IF_EQUAL, PASS, 1));
    steps.push(step(ANSWER, libc::SECCOMP_RET_TRAP, 0));
    steps.push(step(ANSWER, libc::SECCOMP_RET_ALLOW, 0));
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: a handler of the right type; a filter program that outlives the call.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = stand_still as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        assert_eq!(libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()), 0);
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

pub fn a_thread_that_stands_still_in_a_system_call_holds_up_nobody(host: &Host) {
    let status = calls::fork(|| {
        calls::end_after_seconds(100);
        host.serve(50, 1);
        let found = calls::uid_finder();
        // Ends with the process, not before: its end would be full of the calls that are signals to it.
        let _reader = thread::spawn(move || {
            make_calls_signals();
            while found(100_001) {}
            eprintln!("the thread that stood still was not answered");
            calls::exit_now(2);
        });
        let mut generation = 1;
        let mut stood_in = Vec::new();
        while stood_in.len() < STANDS {
            // The thread goes on for as long as it has the file in force.
            if STANDS_IN.load(Ordering::SeqCst) == 0 {
                generation += 1;
                host.serve(50, generation);
                let mut rounds = 0;
                while STANDS_IN.load(Ordering::SeqCst) == 0 && rounds < 1000 {
                    thread::yield_now();
                    rounds += 1;
                }
                continue;
            }
            stood_in.push(STANDS_IN.load(Ordering::SeqCst));
            for _ in 0..3 {
                generation += 1;
                host.serve(50, generation);
                let (status, errno, user) = getpwnam(b"user1", &mut [0; 1024]);
                assert_eq!((status, errno), (SUCCESS, -1), "{stood_in:?}");
                assert_eq!(user.expect("is there").gecos, format!("generation {generation}"), "{stood_in:?}");
                assert!(mappings() <= 4, "{} mappings, {stood_in:?}", mappings());
            }
            STANDS_IN.store(0, Ordering::SeqCst);
        }
        STAND.store(false, Ordering::SeqCst);
        STANDS_IN.store(0, Ordering::SeqCst);
        let count = |call| stood_in.iter().filter(|stood| **stood == call).count();
        println!("stood in openat, close, munmap: {:?}", CALLS.map(count));
        assert!(CALLS.iter().all(|call| count(*call) >= 5), "{:?}", CALLS.map(count));
        // What the thread left is let go of by whoever comes by.
        let end = Instant::now() + PATIENCE;
        while mappings() != 1 && Instant::now() < end {
            // It may have been about to stand still when it was told not to.
            STANDS_IN.store(0, Ordering::SeqCst);
            assert_eq!(getpwnam(b"user1", &mut [0; 1024]).0, SUCCESS);
            thread::yield_now();
        }
        assert_eq!(mappings(), 1, "stood last in {:?}", stood_in.last());
        true
    });
    assert_eq!(status, 0);
}
