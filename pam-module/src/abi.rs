//! The entry points as PAM calls them (pam(3), pam_sm_open_session(3)), and PAM as the rest of the module sees it.
//!
//! A panic ends here. It is answered `PAM_IGNORE`, with which the stack decides as it would without the module: whoever is
//! not admitted is in no database that sshd or NSS answers from, and nobody is locked out by a defect.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Once;

use crate::entry::{self, Answer, Item, Kept, Transaction};
use crate::host::Host;

// security/_pam_types.h, the same in Linux-PAM since 1.0.
const PAM_SUCCESS: c_int = 0;
const PAM_PERM_DENIED: c_int = 6;
const PAM_ACCT_EXPIRED: c_int = 13;
const PAM_SESSION_ERR: c_int = 14;
const PAM_IGNORE: c_int = 25;
const PAM_SERVICE: c_int = 1;
const PAM_USER: c_int = 2;
const PAM_TTY: c_int = 3;
const PAM_RHOST: c_int = 4;
const PAM_CONV: c_int = 5;
const PAM_RUSER: c_int = 8;
const PAM_SILENT: c_int = 0x8000;
const PAM_ERROR_MSG: c_int = 3;

/// The name under which a session is remembered in the transaction.
const KEPT: &CStr = c"hostward_session";
/// Longer texts are no items.
const MAX_TEXT: usize = 64 << 10;

/// PAM's own, never looked into.
#[repr(C)]
pub struct PamHandle {
    _opaque: [u8; 0],
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct Conversation {
    talk: Option<unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int>,
    data: *mut c_void,
}

type Cleanup = unsafe extern "C" fn(*mut PamHandle, *mut c_void, c_int);

unsafe extern "C" {
    fn pam_get_item(pam: *const PamHandle, kind: c_int, item: *mut *const c_void) -> c_int;
    fn pam_getenv(pam: *mut PamHandle, name: *const c_char) -> *const c_char;
    fn pam_set_data(
        pam: *mut PamHandle,
        name: *const c_char,
        data: *mut c_void,
        cleanup: Option<Cleanup>,
    ) -> c_int;
    fn pam_get_data(pam: *const PamHandle, name: *const c_char, data: *mut *const c_void) -> c_int;
}

/// A transaction that PAM handed over, for the length of a call.
struct Pam(*mut PamHandle);

impl Pam {
    fn raw(&self, kind: c_int) -> *const c_void {
        let mut item = ptr::null();
        // SAFETY: the handle is PAM's own and in use for this call; `item` is writable.
        match unsafe { pam_get_item(self.0, kind, &raw mut item) } {
            PAM_SUCCESS => item,
            _ => ptr::null(),
        }
    }
}

/// A text of PAM's, which may be nothing.
///
/// # Safety
/// `text` is null or a C string that lives while this runs.
unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    (bytes.len() <= MAX_TEXT).then(|| String::from_utf8_lossy(bytes).into_owned())
}

impl Transaction for Pam {
    fn item(&self, item: Item) -> Option<String> {
        let kind = match item {
            Item::Service => PAM_SERVICE,
            Item::User => PAM_USER,
            Item::Tty => PAM_TTY,
            Item::RemoteHost => PAM_RHOST,
            Item::RemoteUser => PAM_RUSER,
        };
        // SAFETY: these items are C strings (pam_get_item(3)), which live until they are set anew.
        unsafe { text(self.raw(kind).cast()) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        let name = CString::new(name).ok()?;
        // SAFETY: the handle is in use for this call; what comes is null or a C string of PAM's, copied at once.
        unsafe { text(pam_getenv(self.0, name.as_ptr())) }
    }

    fn tell(&self, text: &str) {
        let conversation: *const Conversation = self.raw(PAM_CONV).cast();
        let Ok(text) = CString::new(text) else { return };
        // SAFETY: null, or the application's `struct pam_conv`, which lives as long as the transaction.
        let Some(Conversation { talk: Some(talk), data }) = (unsafe { conversation.as_ref() }) else {
            return;
        };
        let message = Message { style: PAM_ERROR_MSG, text: text.as_ptr() };
        let mut first: *const Message = &raw const message;
        let mut responses: *mut Response = ptr::null_mut();
        // SAFETY: one message, which lives over the call, as pam_conv(3) has it.
        unsafe { talk(1, &raw mut first, &raw mut responses, *data) };
        if !responses.is_null() {
            // SAFETY: one response, which is ours to free, as is its text (pam_conv(3)).
            unsafe {
                libc::free((*responses).text.cast());
                libc::free(responses.cast());
            }
        }
    }

    fn keep(&self, session: Kept) {
        let data = Box::into_raw(Box::new(session));
        // SAFETY: the handle is in use; the data is PAM's from here on, and `forget` takes it back.
        let kept = unsafe { pam_set_data(self.0, KEPT.as_ptr(), data.cast(), Some(forget)) };
        if kept != PAM_SUCCESS {
            // SAFETY: PAM did not take it.
            drop(unsafe { Box::from_raw(data) });
        }
    }

    fn kept(&self) -> Option<Kept> {
        let mut data = ptr::null();
        // SAFETY: the handle is in use and `data` is writable.
        if unsafe { pam_get_data(self.0, KEPT.as_ptr(), &raw mut data) } != PAM_SUCCESS {
            return None;
        }
        // SAFETY: null, or what `keep` gave under this name, which nobody else uses.
        unsafe { data.cast::<Kept>().as_ref() }.copied()
    }
}

/// Takes back what [`Transaction::keep`] gave to PAM.
///
/// # Safety
/// `data` comes from there, and is not used again.
unsafe extern "C" fn forget(_: *mut PamHandle, data: *mut c_void, _: c_int) {
    if !data.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(data.cast::<Kept>()) });
    }
}

/// Does it as root, and for nobody else: whoever is not root can neither record nor make a home.
fn guarded(pam: *mut PamHandle, act: impl FnOnce(&Pam, &Host) -> Answer) -> c_int {
    if pam.is_null() || !rustix::process::geteuid().is_root() {
        return PAM_IGNORE;
    }
    match caught(|| act(&Pam(pam), &Host::here())) {
        Answer::Ignore => PAM_IGNORE,
        Answer::Success => PAM_SUCCESS,
        Answer::SessionFailed => PAM_SESSION_ERR,
        Answer::Denied => PAM_PERM_DENIED,
        Answer::Expired => PAM_ACCT_EXPIRED,
    }
}

/// A panic is no answer, and says nothing on whatever the process has open as its standard error.
pub(crate) fn caught(act: impl FnOnce() -> Answer) -> Answer {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(Answer::Ignore)
}

/// Whether the line of the PAM configuration has this word after the module.
///
/// # Safety
/// `argv` has `argc` C strings.
unsafe fn has_argument(argc: c_int, argv: *const *const c_char, word: &CStr) -> bool {
    let count = usize::try_from(argc).unwrap_or(0);
    if argv.is_null() {
        return false;
    }
    (0..count).any(|number| {
        // SAFETY: the caller's promise.
        let argument = unsafe { *argv.add(number) };
        // SAFETY: as above.
        !argument.is_null() && unsafe { CStr::from_ptr(argument) } == word
    })
}

/// Whether the user may come in now (pam_sm_acct_mgmt(3)).
///
/// # Safety
/// Called by PAM, with its handle and arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_acct_mgmt(
    pam: *mut PamHandle,
    flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    guarded(pam, |pam, host| entry::account(pam, host, flags & PAM_SILENT != 0))
}

/// Makes the home with the argument `home`, records the session with `record` (pam_sm_open_session(3)).
///
/// # Safety
/// Called by PAM, with its handle and arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_open_session(
    pam: *mut PamHandle,
    flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: PAM's arguments.
    let [home, record] = [c"home", c"record"].map(|word| unsafe { has_argument(argc, argv, word) });
    guarded(pam, |pam, host| {
        if record {
            entry::opened(pam, host);
        }
        if home { entry::make_home(pam, host, flags & PAM_SILENT != 0) } else { Answer::Ignore }
    })
}

/// Records the end of the session with `record` (pam_sm_close_session(3)).
///
/// # Safety
/// Called by PAM, with its handle and arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_close_session(
    pam: *mut PamHandle,
    _flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: PAM's arguments.
    let record = unsafe { has_argument(argc, argv, c"record") };
    guarded(pam, |pam, host| if record { entry::closed(pam, host) } else { Answer::Ignore })
}

macro_rules! not_ours {
    ($($(#[$meta:meta])* $name:ident;)+) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        /// Called by PAM; looks at nothing.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            _pam: *mut PamHandle,
            _flags: c_int,
            _argc: c_int,
            _argv: *const *const c_char,
        ) -> c_int {
            PAM_IGNORE
        }
    )+};
}

not_ours! {
    /// Nobody is authenticated here.
    pam_sm_authenticate;
    /// There are no credentials.
    pam_sm_setcred;
    /// There is no password to change.
    pam_sm_chauthtok;
}
