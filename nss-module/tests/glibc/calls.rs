//! The C side: glibc's functions, the module's own, and what a scenario needs of the kernel.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::mem::{MaybeUninit, transmute_copy, zeroed};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

pub const SUCCESS: c_int = 1;
pub const NOTFOUND: c_int = 0;
pub const UNAVAIL: c_int = -1;
pub const TRYAGAIN: c_int = -2;

/// An answer: status, errno as the module set it (-1 if it did not), and the entry.
pub type Answer<T> = (c_int, c_int, Option<T>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passwd {
    pub name: String,
    pub password: String,
    pub uid: u32,
    pub gid: u32,
    pub gecos: String,
    pub home: String,
    pub shell: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub password: String,
    pub gid: u32,
    pub members: Vec<String>,
}

pub fn leave_the_machine() {
    let (root, misc, tmpfs) = (c"/", c"/var/lib/misc", c"tmpfs");
    // SAFETY: C strings and flags, as the calls want them.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0, "a mount namespace: run these tests as root");
        let private = libc::mount(null(), root.as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null());
        assert_eq!(private, 0, "private mounts");
        let mounted = libc::mount(tmpfs.as_ptr(), misc.as_ptr(), tmpfs.as_ptr(), 0, null());
        assert_eq!(mounted, 0, "a tmpfs on /var/lib/misc");
    }
}

pub fn configure_glibc() {
    configure(c"hostward");
}

/// Has glibc ask `service` alone, from the first lookup of this process on.
pub fn configure(service: &CStr) {
    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, line: *const c_char) -> c_int;
    }
    for database in [c"passwd", c"group", c"shadow", c"initgroups"] {
        // SAFETY: two C strings.
        assert_eq!(unsafe { __nss_configure_lookup(database.as_ptr(), service.as_ptr()) }, 0);
    }
}

/// Puts a file of this process's own in the place of one of the machine's, which nobody else sees.
pub fn cover(path: &str) {
    let own = format!("/var/lib/misc/{}", path.replace('/', "-"));
    std::fs::write(&own, "").expect("writes");
    let (own, path) = (CString::new(own).expect("no NUL"), CString::new(path).expect("no NUL"));
    // SAFETY: C strings and flags.
    let bound = unsafe { libc::mount(own.as_ptr(), path.as_ptr(), null(), libc::MS_BIND, null()) };
    assert_eq!(bound, 0, "{path:?} is covered");
}

pub fn end_after_seconds(seconds: u32) {
    // SAFETY: no arguments to go wrong.
    unsafe { libc::alarm(seconds) };
}

fn module() -> *mut c_void {
    static MODULE: OnceLock<usize> = OnceLock::new();
    let module = MODULE.get_or_init(|| {
        // SAFETY: a C string; the library's constructors are empty.
        let module = unsafe { libc::dlopen(c"libnss_hostward.so.2".as_ptr(), libc::RTLD_NOW) };
        assert!(!module.is_null(), "the library is on LD_LIBRARY_PATH");
        module as usize
    });
    *module as *mut c_void
}

/// # Safety
/// `F` is the type of the module's function of that name.
unsafe fn function<F>(name: &str) -> F {
    let name = CString::new(format!("_nss_hostward_{name}")).expect("no NUL");
    // SAFETY: an open library and a C string.
    let address = unsafe { libc::dlsym(module(), name.as_ptr()) };
    assert!(!address.is_null(), "{name:?} is exported");
    // SAFETY: the caller's promise.
    unsafe { transmute_copy(&address) }
}

fn text(pointer: *const c_char, buffer: &[u8]) -> String {
    let at = pointer as usize - buffer.as_ptr() as usize;
    let bytes = buffer.get(at..).expect("lies within the caller's buffer");
    let text = CStr::from_bytes_until_nul(bytes).expect("ends within the buffer");
    text.to_string_lossy().into_owned()
}

pub(super) fn passwd(entry: &libc::passwd, buffer: &[u8]) -> Passwd {
    Passwd {
        name: text(entry.pw_name, buffer),
        password: text(entry.pw_passwd, buffer),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        gecos: text(entry.pw_gecos, buffer),
        home: text(entry.pw_dir, buffer),
        shell: text(entry.pw_shell, buffer),
    }
}

pub(super) fn group(entry: &libc::group, buffer: &[u8]) -> Group {
    let mut members = Vec::new();
    let mut at = entry.gr_mem;
    assert!(at.is_aligned(), "gr_mem is aligned");
    loop {
        let offset = at as usize - buffer.as_ptr() as usize;
        assert!(offset + 8 <= buffer.len(), "gr_mem lies within the buffer");
        // SAFETY: within the buffer and aligned, as just checked.
        let member = unsafe { at.read() };
        if member.is_null() {
            break;
        }
        members.push(text(member, buffer));
        // SAFETY: the next is checked before it is read.
        at = unsafe { at.add(1) };
    }
    Group {
        name: text(entry.gr_name, buffer),
        password: text(entry.gr_passwd, buffer),
        gid: entry.gr_gid,
        members,
    }
}

type ByName<T> = unsafe extern "C" fn(*const c_char, *mut T, *mut c_char, usize, *mut c_int) -> c_int;
type ById<T> = unsafe extern "C" fn(u32, *mut T, *mut c_char, usize, *mut c_int) -> c_int;
type InitgroupsDyn = unsafe extern "C" fn(
    *const c_char,
    u32,
    *mut c_long,
    *mut c_long,
    *mut *mut u32,
    c_long,
    *mut c_int,
) -> c_int;
type Next<T> = unsafe extern "C" fn(*mut T, *mut c_char, usize, *mut c_int) -> c_int;

/// Calls the module itself, and reads the result if it is there.
fn ask<C, T>(
    buffer: &mut [u8],
    call: impl FnOnce(*mut C, *mut c_char, usize, *mut c_int) -> c_int,
    read: impl FnOnce(&C, &[u8]) -> T,
) -> Answer<T> {
    let mut result = MaybeUninit::<C>::uninit();
    let mut errno = -1;
    let status = call(result.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut errno);
    let entry = (status == SUCCESS).then(|| {
        // SAFETY: the module says that it filled it.
        read(unsafe { result.assume_init_ref() }, buffer)
    });
    (status, errno, entry)
}

pub fn getpwnam(name: &[u8], buffer: &mut [u8]) -> Answer<Passwd> {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: the function's type; a C string, and what `ask` passes.
    ask(
        buffer,
        |r, b, l, e| unsafe { function::<ByName<libc::passwd>>("getpwnam_r")(name.as_ptr(), r, b, l, e) },
        passwd,
    )
}

pub fn getpwuid(uid: u32, buffer: &mut [u8]) -> Answer<Passwd> {
    // SAFETY: the function's type, and what `ask` passes.
    ask(buffer, |r, b, l, e| unsafe { function::<ById<libc::passwd>>("getpwuid_r")(uid, r, b, l, e) }, passwd)
}

/// Status and errno of `getpwuid_r`, by code that takes no lock of libc's and allocates nothing: a signal may come anywhere.
pub fn uid_asker() -> impl Fn(u32) -> (c_int, c_int) + Sync {
    // SAFETY: the function's type.
    let getpwuid_r = unsafe { function::<ById<libc::passwd>>("getpwuid_r") };
    move |uid| {
        let mut buffer = [0_u8; 1024];
        let (mut result, mut errno) = (MaybeUninit::uninit(), 0);
        // SAFETY: a result, a buffer and its length, an errno.
        let status = unsafe {
            getpwuid_r(uid, result.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut errno)
        };
        (status, errno)
    }
}

/// The status of `getpwuid_r` into memory that may not be there yet.
///
/// # Safety
/// `len` bytes at `buffer` are nobody else's.
pub unsafe fn getpwuid_into(uid: u32, buffer: *mut u8, len: usize) -> c_int {
    let (mut result, mut errno) = (MaybeUninit::uninit(), 0);
    // SAFETY: the function's type; a result, a buffer and its length, an errno.
    unsafe {
        function::<ById<libc::passwd>>("getpwuid_r")(
            uid,
            result.as_mut_ptr(),
            buffer.cast(),
            len,
            &raw mut errno,
        )
    }
}

/// Whether a uid is found, as [`uid_asker`] asks.
pub fn uid_finder() -> impl Fn(u32) -> bool + Sync {
    let ask = uid_asker();
    move |uid| ask(uid).0 == SUCCESS
}

/// A lookup that says whether it succeeded, by name.
pub type Finder = (&'static str, Box<dyn FnMut() -> bool>);

/// Lookups whose callers take the same stack, after one that does nothing.
pub fn finders(user: &'static CStr, uid: u32, group: &'static CStr, gid: u32) -> Vec<Finder> {
    fn with<T: 'static>(
        name: &'static str,
        mut call: impl FnMut(*mut T, *mut c_char, usize, *mut c_int) -> c_int + 'static,
    ) -> Finder {
        let mut result = Box::new(MaybeUninit::<T>::uninit());
        let (mut buffer, mut errno) = (vec![0_u8; 65_536], Box::new(0));
        let found = move || {
            call(result.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut *errno) == SUCCESS
        };
        (name, Box::new(found))
    }
    extern "C" fn nothing(_: *mut u8, _: *mut c_char, _: usize, _: *mut c_int) -> c_int {
        SUCCESS
    }
    fn by_name<T: 'static>(function_name: &'static str, key: &'static CStr) -> Finder {
        // SAFETY: the function's type.
        let call = unsafe { function::<ByName<T>>(function_name) };
        // SAFETY: a C string, a result, a buffer and its length, an errno.
        with(function_name, move |r, b, l, e| unsafe { call(key.as_ptr(), r, b, l, e) })
    }
    fn by_id<T: 'static>(function_name: &'static str, key: u32) -> Finder {
        // SAFETY: the function's type.
        let call = unsafe { function::<ById<T>>(function_name) };
        // SAFETY: a result, a buffer and its length, an errno.
        with(function_name, move |r, b, l, e| unsafe { call(key, r, b, l, e) })
    }
    fn next<T: 'static>(function_name: &'static str) -> Finder {
        // SAFETY: the function's type.
        let call = unsafe { function::<Next<T>>(function_name) };
        // SAFETY: a result, a buffer and its length, an errno.
        with(function_name, move |r, b, l, e| unsafe { call(r, b, l, e) })
    }
    // SAFETY: the function's type.
    let initgroups = unsafe { function::<InitgroupsDyn>("initgroups_dyn") };
    // SAFETY: never freed, and large enough not to be grown.
    let mut gids: *mut u32 = unsafe { libc::malloc(400).cast() };
    vec![
        with("nothing", move |r, b, l, e| nothing(r, b, l, e)),
        by_name::<libc::passwd>("getpwnam_r", user),
        by_id::<libc::passwd>("getpwuid_r", uid),
        by_name::<libc::group>("getgrnam_r", group),
        by_id::<libc::group>("getgrgid_r", gid),
        by_name::<libc::spwd>("getspnam_r", user),
        next::<libc::passwd>("getpwent_r"),
        next::<libc::group>("getgrent_r"),
        next::<libc::spwd>("getspent_r"),
        with("initgroups_dyn", move |_: *mut u8, _, _, e| {
            let (mut start, mut size) = (0, 100);
            // SAFETY: a C string, and a list from malloc with its sizes.
            unsafe { initgroups(user.as_ptr(), 1, &raw mut start, &raw mut size, &raw mut gids, -1, e) }
        }),
    ]
}

/// glibc's own `getpwnam_r`, which asks the module, in the same way.
pub fn finder_of_glibc(user: &'static CStr) -> impl FnMut() -> bool {
    let mut result = Box::new(MaybeUninit::<libc::passwd>::uninit());
    let (mut buffer, mut found) = (vec![0_u8; 65_536], Box::new(null_mut()));
    move || {
        // SAFETY: a C string, a result, a buffer and its length, a place for a pointer.
        let code = unsafe {
            libc::getpwnam_r(
                user.as_ptr(),
                result.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut *found,
            )
        };
        code == 0 && !found.is_null()
    }
}

pub fn getpwent(buffer: &mut [u8]) -> Answer<Passwd> {
    // SAFETY: the function's type, and what `ask` passes.
    ask(buffer, |r, b, l, e| unsafe { function::<Next<libc::passwd>>("getpwent_r")(r, b, l, e) }, passwd)
}

pub fn getgrnam(name: &[u8], buffer: &mut [u8]) -> Answer<Group> {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: the function's type; a C string, and what `ask` passes.
    ask(
        buffer,
        |r, b, l, e| unsafe { function::<ByName<libc::group>>("getgrnam_r")(name.as_ptr(), r, b, l, e) },
        group,
    )
}

pub fn getgrgid(gid: u32, buffer: &mut [u8]) -> Answer<Group> {
    // SAFETY: the function's type, and what `ask` passes.
    ask(buffer, |r, b, l, e| unsafe { function::<ById<libc::group>>("getgrgid_r")(gid, r, b, l, e) }, group)
}

pub fn getgrent(buffer: &mut [u8]) -> Answer<Group> {
    // SAFETY: the function's type, and what `ask` passes.
    ask(buffer, |r, b, l, e| unsafe { function::<Next<libc::group>>("getgrent_r")(r, b, l, e) }, group)
}

/// Name, password, and the seven numbers.
pub type Shadow = (String, String, [c_long; 7]);

pub(super) fn shadow(entry: &libc::spwd, buffer: &[u8]) -> Shadow {
    let numbers = [
        entry.sp_lstchg,
        entry.sp_min,
        entry.sp_max,
        entry.sp_warn,
        entry.sp_inact,
        entry.sp_expire,
        entry.sp_flag as c_long,
    ];
    (text(entry.sp_namp, buffer), text(entry.sp_pwdp, buffer), numbers)
}

pub fn getspnam(name: &[u8], buffer: &mut [u8]) -> Answer<Shadow> {
    let name = CString::new(name).expect("no NUL");
    // SAFETY: the function's type; a C string, and what `ask` passes.
    ask(
        buffer,
        |r, b, l, e| unsafe { function::<ByName<libc::spwd>>("getspnam_r")(name.as_ptr(), r, b, l, e) },
        shadow,
    )
}

pub fn getspent(buffer: &mut [u8]) -> Answer<Shadow> {
    // SAFETY: the function's type, and what `ask` passes.
    ask(buffer, |r, b, l, e| unsafe { function::<Next<libc::spwd>>("getspent_r")(r, b, l, e) }, shadow)
}

/// `setpwent`, `endgrent` and so on.
pub fn rewind(name: &str) -> c_int {
    // SAFETY: all of them take an int or nothing, which is the same to the caller.
    unsafe { function::<unsafe extern "C" fn(c_int) -> c_int>(name)(0) }
}

/// `initgroups_dyn` with a list that starts as `list` in an allocation of `size`: status, errno, the list, its size.
pub fn initgroups(
    user: &str,
    primary: u32,
    list: &[u32],
    size: usize,
    limit: c_long,
) -> (c_int, c_int, Vec<u32>, c_long) {
    let user = CString::new(user).expect("no NUL");
    let (mut start, mut grown, mut errno) = (list.len() as c_long, size as c_long, -1);
    // SAFETY: a list from malloc, as the function wants it; `start` of it are filled when it returns.
    unsafe {
        let mut gids: *mut u32 = libc::malloc(size.max(1) * 4).cast();
        gids.copy_from_nonoverlapping(list.as_ptr(), list.len());
        let call: InitgroupsDyn = function("initgroups_dyn");
        let status = call(
            user.as_ptr(),
            primary,
            &raw mut start,
            &raw mut grown,
            &raw mut gids,
            limit,
            &raw mut errno,
        );
        let all = std::slice::from_raw_parts(gids, start as usize).to_vec();
        libc::free(gids.cast());
        (status, errno, all, grown)
    }
}

pub fn errno() -> c_int {
    // SAFETY: always valid for the calling thread.
    unsafe { *libc::__errno_location() }
}

pub fn set_errno(errno: c_int) {
    // SAFETY: always valid for the calling thread.
    unsafe { *libc::__errno_location() = errno };
}

/// Runs `child` in a forked process, which then is gone without exit handlers; its exit status.
pub fn fork(child: impl FnOnce() -> bool) -> c_int {
    wait(start(child))
}

/// As [`fork`], without waiting for it: its pid.
pub fn start(child: impl FnOnce() -> bool) -> c_int {
    // SAFETY: the child calls what the scenario wants called after a fork of a process with threads.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "forks");
    if pid == 0 {
        end_after_seconds(20);
        let code = c_int::from(!child());
        // SAFETY: does not return.
        unsafe { libc::_exit(code) };
    }
    pid
}

pub fn wait(pid: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: `status` is writable.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid, "waits for its child");
    status
}

/// `fork` as a signal handler may call it: the pid, 0 in the child.
pub fn raw_fork() -> c_int {
    // SAFETY: no arguments.
    unsafe { libc::fork() }
}

pub fn exit_now(code: c_int) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// Has `handler` called at each tick of a timer that runs as often as it can.
pub fn tick(handler: extern "C" fn(c_int)) {
    let often = libc::timeval { tv_sec: 0, tv_usec: 50 };
    let timer = libc::itimerval { it_interval: often, it_value: often };
    // SAFETY: a handler of the right type, and a timer's setting.
    unsafe {
        libc::signal(libc::SIGVTALRM, handler as *const () as usize);
        assert_eq!(libc::setitimer(libc::ITIMER_VIRTUAL, &raw const timer, null_mut()), 0);
    }
}

pub fn stop_ticking() {
    // SAFETY: all zeros is a timer that does not run.
    unsafe {
        let never = zeroed::<libc::itimerval>();
        libc::setitimer(libc::ITIMER_VIRTUAL, &raw const never, null_mut());
    }
}

pub fn close_everything() {
    for fd in 0..1024 {
        // SAFETY: whatever it was, nobody here uses it again.
        unsafe { libc::close(fd) };
    }
}

/// The number the next descriptor gets.
pub fn next_descriptor() -> c_int {
    // SAFETY: a C string; the descriptor is closed at once.
    unsafe {
        let fd = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
        libc::close(fd);
        fd
    }
}

/// Sets the soft limit, to the hard one at most.
pub fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit to write to, and then to read from.
    unsafe {
        assert_eq!(libc::getrlimit(resource, &raw mut limit), 0);
        limit.rlim_cur = to.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(resource, &raw const limit), 0);
    }
}

pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: a handler of the right type.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
}

/// From here on, any system call but read, write and exit kills the process.
pub fn no_more_system_calls() {
    // SAFETY: numbers only.
    let sealed = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
    assert_eq!(sealed, 0, "strict seccomp");
}

/// Ends the thread by the one exit that strict seccomp allows.
pub fn exit_sealed(code: c_int) -> ! {
    // SAFETY: does not return.
    unsafe { libc::syscall(libc::SYS_exit, code) };
    unreachable!("exit does not return")
}

pub fn make_fifo(path: &CStr) {
    // SAFETY: a C string and a mode.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o644) }, 0);
}
