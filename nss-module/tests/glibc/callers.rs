//! Callers that glibc's manual does not think of.

use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use crate::calls::{self, NOTFOUND, SUCCESS, UNAVAIL, getgrnam, getpwnam, getpwuid, getspnam};
use crate::host::Host;
use crate::kernel::{self, Outside};
use crate::through;

/// The module keeps no descriptor, so that the numbers are the caller's to give to something else.
pub fn a_caller_that_gives_every_descriptor_to_something_else(host: &Host) {
    host.serve(10, 1);
    let status = calls::fork(|| {
        let mut buffer = [0; 1024];
        let warm = getpwnam(b"user1", &mut buffer).0;
        calls::close_everything();
        let own: Vec<_> = (0..64).map(|_| kernel::open_null()).collect();
        let mut found = vec![warm];
        for generation in 2..10 {
            found.push(getpwnam(b"user2", &mut buffer).0);
            host.serve(10, generation);
            found.push(getpwuid(100_003, &mut buffer).0);
        }
        own == Vec::from_iter(0..64)
            && own.iter().all(|fd| kernel::is_null(*fd))
            && found.iter().all(|s| *s == SUCCESS)
    });
    assert_eq!(status, 0);
}

static IN_DESTRUCTOR: AtomicI32 = AtomicI32::new(0);

extern "C" fn look_up_at_the_threads_end(_: *mut std::ffi::c_void) {
    IN_DESTRUCTOR.store(getpwnam(b"user1", &mut [0; 1024]).0, Ordering::SeqCst);
}

struct LooksUpWhenDropped;

impl Drop for LooksUpWhenDropped {
    fn drop(&mut self) {
        look_up_at_the_threads_end(std::ptr::null_mut());
    }
}

thread_local! {
    static LOCAL: LooksUpWhenDropped = const { LooksUpWhenDropped };
}

/// When a thread ends, what is thread-local is already being destroyed: by the C++ way first, by that of POSIX then.
pub fn a_lookup_in_a_threads_destructor(host: &Host) {
    host.serve(10, 1);
    let ways: [fn(); 2] = [|| kernel::at_thread_end(look_up_at_the_threads_end), || LOCAL.with(|_| ())];
    for (generation, way) in (2..).zip(ways.into_iter().cycle().take(4)) {
        IN_DESTRUCTOR.store(0, Ordering::SeqCst);
        thread::spawn(way).join().expect("ends");
        assert_eq!(IN_DESTRUCTOR.load(Ordering::SeqCst), SUCCESS);
        host.serve(10, generation);
    }
}

/// The cursor is the process's, as glibc has it: two threads share one enumeration and nobody is given out twice.
pub fn two_threads_share_an_enumeration(host: &Host) {
    // Enough that neither is through before the other has begun.
    const USERS: u32 = 40_000;
    host.serve(USERS, 1);
    through::rewind_users();
    let together = Barrier::new(2);
    let ask = || {
        together.wait();
        std::iter::from_fn(through::next_user).map(|user| user.uid).collect::<Vec<_>>()
    };
    let shares = thread::scope(|scope| {
        let threads = [scope.spawn(ask), scope.spawn(ask)];
        threads.map(|thread| thread.join().expect("no panic"))
    });
    println!("one got {}, the other {}", shares[0].len(), shares[1].len());
    assert!(shares.iter().all(|share| !share.is_empty() && share.is_sorted()));
    let mut seen = shares.concat();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(100_000..100_000 + USERS), "everybody once");
}

pub fn names_of_every_byte(host: &Host) {
    host.serve(10, 1);
    let mut buffer = [0; 1024];
    for byte in 1..=u8::MAX {
        for name in [vec![byte], vec![b'u', b's', b'e', b'r', byte, b'x'], vec![byte; 32]] {
            let absent = (NOTFOUND, libc::ENOENT, None);
            assert_eq!(getpwnam(&name, &mut buffer), absent, "{name:?}");
            assert_eq!(getspnam(&name, &mut buffer).0, NOTFOUND, "{name:?}");
            assert_eq!(getgrnam(&name, &mut buffer).0, NOTFOUND, "{name:?}");
        }
    }
    assert_eq!(getpwnam(b"user1", &mut buffer).0, SUCCESS);
}

/// In a root without the file a process goes on with what it has mapped, until that is superseded.
pub fn a_root_without_the_file(host: &Host) {
    host.serve(10, 1);
    let empty = host.path.with_extension("root");
    std::fs::create_dir(&empty).expect("creates");
    let mut buffer = [0; 1024];
    let cold = calls::fork(|| {
        calls::rewind("endpwent");
        kernel::change_root(&empty);
        getpwnam(b"user1", &mut [0; 1024]) == (UNAVAIL, libc::ENOENT, None)
    });
    assert_eq!(cold, 0);
    assert_eq!(getpwnam(b"user1", &mut buffer).0, SUCCESS);
    let warm = calls::fork(|| {
        let outside = Outside::prepare(|| host.serve(10, 2));
        kernel::change_root(&empty);
        let mapped = getpwnam(b"user1", &mut [0; 1024]).0;
        outside.act();
        let superseded = getpwnam(b"user1", &mut [0; 1024]);
        mapped == SUCCESS && superseded == (UNAVAIL, libc::ENOENT, None)
    });
    assert_eq!(warm, 0);
}

/// A sandbox entered after the first lookup: nothing can be opened any more.
pub fn a_sandbox_that_opens_nothing(host: &Host) {
    host.serve(10, 1);
    let status = calls::fork(|| {
        let mut buffer = [0; 1024];
        let first = getpwnam(b"user1", &mut buffer).0;
        let outside = Outside::prepare(|| host.serve(10, 2));
        kernel::open_nothing_any_more();
        let warm = getpwnam(b"user2", &mut buffer).0;
        outside.act();
        // What is no longer in force is not told: nobody would know whether it still holds.
        let superseded = getpwnam(b"user2", &mut buffer);
        (first, warm) == (SUCCESS, SUCCESS) && superseded == (UNAVAIL, libc::EPERM, None)
    });
    assert_eq!(status, 0);
}

/// Threads with the smallest stacks call here too. What the module takes itself must be next to nothing: warm, and where it
/// maps the file anew.
pub fn a_stack_with_little_left(host: &Host) {
    const MOST_WARM: usize = 800;
    const MOST_COLD: usize = 2048;
    host.serve(1000, 1);
    let (mut callers, mut deepest) = (None, [0, 0]);
    let mut found = calls::finders(c"user77", 100_077, c"alternate", 200_002);
    for (generation, (name, look_up)) in (2..).zip(&mut found) {
        assert!(look_up(), "{name}, which maps the file");
        let mut own = || {
            let mut sound = true;
            let used = kernel::stack_taken(|| sound = look_up());
            assert!(sound, "{name}");
            used.saturating_sub(*callers.get_or_insert(used))
        };
        let warm = own();
        host.serve(1000, generation);
        let cold = own();
        println!("{name}: {warm} bytes of stack, {cold} where it maps the file");
        deepest = [deepest[0].max(warm), deepest[1].max(cold)];
        assert!(warm <= MOST_WARM && cold <= MOST_COLD, "{name} takes {warm} and {cold} bytes of stack");
    }
    assert!(deepest[0] > 100 && deepest[1] > deepest[0], "something is measured: {deepest:?}");
    let mut look_up = calls::finder_of_glibc(c"user77");
    assert!(look_up());
    let used = kernel::stack_taken(|| assert!(look_up()));
    println!("getpwnam_r of glibc, with the module: {}", used.saturating_sub(callers.unwrap_or_default()));
}
