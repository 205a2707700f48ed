//! A process that is stopped after each of its system calls.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::null_mut;

use crate::calls;

/// A child that stands still until it is let go on.
pub struct Traced {
    pid: c_int,
    over: bool,
}

impl Traced {
    /// Forks it. It does `act` and ends, one system call at a time.
    pub fn start(act: impl FnOnce()) -> Self {
        // SAFETY: the child ends without coming back.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "forks");
        if pid == 0 {
            // SAFETY: no memory is passed.
            unsafe {
                libc::ptrace(libc::PTRACE_TRACEME, 0, null_mut::<u8>(), null_mut::<u8>());
                libc::raise(libc::SIGSTOP);
            }
            act();
            calls::exit_now(0);
        }
        let stopped = calls::wait(pid);
        assert!(libc::WIFSTOPPED(stopped), "{stopped}");
        // SAFETY: the options are a number in the place of a pointer.
        let set = unsafe {
            libc::ptrace(libc::PTRACE_SETOPTIONS, pid, null_mut::<u8>(), libc::PTRACE_O_EXITKILL as *mut u8)
        };
        assert_eq!(set, 0);
        Self { pid, over: false }
    }

    /// Lets it do one system call. Whether it is still there.
    pub fn one_call(&mut self) -> bool {
        // Once up to the call, once through it.
        for _ in 0..2 {
            if self.over {
                return false;
            }
            // SAFETY: no memory is passed.
            let went =
                unsafe { libc::ptrace(libc::PTRACE_SYSCALL, self.pid, null_mut::<u8>(), null_mut::<u8>()) };
            assert_eq!(went, 0, "goes on");
            let status = calls::wait(self.pid);
            if libc::WIFEXITED(status) {
                assert_eq!(libc::WEXITSTATUS(status), 0, "did what it was to do");
                self.over = true;
            } else {
                assert_eq!(libc::WSTOPSIG(status), libc::SIGTRAP, "nothing but a system call stops it");
            }
        }
        !self.over
    }

    /// Kills it where it stands.
    pub fn kill(mut self) {
        self.over = true;
        // SAFETY: our own child, which was not waited for.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
        assert!(libc::WIFSIGNALED(calls::wait(self.pid)));
    }
}
