//! What unusual callers need of the kernel and of the C library.

#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::mem::{size_of, transmute, zeroed};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::calls;

/// Opens `/dev/null`; its number.
pub fn open_null() -> c_int {
    // SAFETY: a C string.
    unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) }
}

/// Whether that number is `/dev/null` still.
pub fn is_null(fd: c_int) -> bool {
    // SAFETY: all zeros is a stat; it is writable.
    let status = unsafe {
        let mut status = zeroed::<libc::stat>();
        (libc::fstat(fd, &raw mut status) == 0).then_some(status)
    };
    status.is_some_and(|s| s.st_mode & libc::S_IFMT == libc::S_IFCHR && s.st_rdev == libc::makedev(1, 3))
}

pub fn change_root(to: &Path) {
    let to = CString::new(to.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: C strings.
    unsafe {
        assert_eq!(libc::chroot(to.as_ptr()), 0);
        assert_eq!(libc::chdir(c"/".as_ptr()), 0);
    }
}

/// Has `destructor` called when this thread ends.
pub fn at_thread_end(destructor: extern "C" fn(*mut c_void)) {
    let mut key = 0;
    // SAFETY: a destructor of the right type, and a value that is not null, so that it is called.
    unsafe {
        assert_eq!(libc::pthread_key_create(&raw mut key, Some(destructor)), 0);
        assert_eq!(libc::pthread_setspecific(key, (&raw const OPENINGS).cast()), 0);
    }
}

/// What the program's own destructor calls, as the address of a function; 0 for nothing.
static AT_DESTRUCTION: AtomicUsize = AtomicUsize::new(0);

extern "C" fn destroy() {
    let act = AT_DESTRUCTION.load(Ordering::SeqCst) as *const ();
    if !act.is_null() {
        // SAFETY: `at_destruction` stored a function of this type.
        unsafe { transmute::<*const (), extern "C" fn()>(act)() };
    }
}

// SAFETY: a pointer to a function without arguments, as the section holds them.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = destroy;

/// Has `act` called by a destructor of the program itself.
pub fn at_destruction(act: extern "C" fn()) {
    AT_DESTRUCTION.store(act as *const () as usize, Ordering::SeqCst);
}

/// A process that stays outside of what this one is about to enter.
pub struct Outside {
    pid: c_int,
    pipe: c_int,
}

impl Outside {
    /// Forks it. It does `act` when it is told to.
    pub fn prepare(act: impl FnOnce()) -> Self {
        let mut pipe = [0; 2];
        // SAFETY: room for two descriptors; the child ends without coming back.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let pid = libc::fork();
            assert!(pid >= 0, "forks");
            if pid == 0 {
                calls::end_after_seconds(20);
                let mut byte = 0_u8;
                if libc::read(pipe[0], (&raw mut byte).cast(), 1) == 1 {
                    act();
                }
                libc::_exit(0);
            }
            Self { pid, pipe: pipe[1] }
        }
    }

    /// Tells it to, and waits until it has.
    pub fn act(self) {
        // SAFETY: one byte to read from.
        assert_eq!(unsafe { libc::write(self.pipe, (&raw const OPENINGS).cast(), 1) }, 1);
        assert_eq!(calls::wait(self.pid), 0);
    }
}

/// The calls that open a file.
static OPENINGS: [i64; 3] = [libc::SYS_open, libc::SYS_openat, libc::SYS_openat2];

/// From here on, whatever would open a file fails with EPERM.
pub fn open_nothing_any_more() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jt| libc::sock_filter { code, jt, jf: 0, k };
    let mut steps = vec![step(LOAD, 0, 0)];
    for (left, call) in OPENINGS.iter().rev().enumerate().map(|(n, c)| (OPENINGS.len() - n, c)) {
        let to_denial = u8::try_from(left).expect("few");
        steps.push(step(IF_EQUAL, u32::try_from(*call).expect("small"), to_denial));
    }
    steps.push(step(ANSWER, libc::SECCOMP_RET_ALLOW, 0));
    steps.push(step(ANSWER, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0));
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: a filter program that outlives the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
    assert_eq!(open_null(), -1, "nothing is opened");
}

/// What runs on the painted stack, as a pointer to a `&mut dyn FnMut()`; 0 for nothing.
static ON_STACK: AtomicUsize = AtomicUsize::new(0);

extern "C" fn run_on_stack(_: c_int) {
    let act = ON_STACK.load(Ordering::SeqCst) as *mut &mut dyn FnMut();
    // SAFETY: null, or what `stack_taken` borrows while it raises the signal.
    if let Some(act) = unsafe { act.as_mut() } {
        act();
    }
}

/// How many bytes of stack `act` takes.
pub fn stack_taken(mut act: impl FnMut()) -> usize {
    let mut act: &mut dyn FnMut() = &mut act;
    let deepest = |act: usize| {
        const PAINT: u8 = 0xa5;
        let mut stack = vec![PAINT; 256 << 10];
        let place = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
        ON_STACK.store(act, Ordering::SeqCst);
        // SAFETY: a stack that stays until another is set; a handler of the right type.
        unsafe {
            let mut action = zeroed::<libc::sigaction>();
            action.sa_sigaction = run_on_stack as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaltstack(&raw const place, null_mut()), 0);
            assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, null_mut()), 0);
            assert_eq!(libc::raise(libc::SIGUSR1), 0);
            let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            assert_eq!(libc::sigaltstack(&raw const none, null_mut()), 0);
        }
        // SAFETY: the kernel and the handler wrote there behind the compiler's back.
        let painted =
            (0..stack.len()).take_while(|at| unsafe { stack.as_ptr().add(*at).read_volatile() } == PAINT);
        stack.len() - painted.count()
    };
    let with = deepest((&raw mut act) as usize);
    let without = deepest(null::<u8>() as usize);
    assert_eq!(size_of::<&mut dyn FnMut()>(), 16);
    with.saturating_sub(without)
}
