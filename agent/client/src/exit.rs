//! Exit statuses, the same for every command, and where they are written down.

/// Something needs attention: what was printed says what. `status` would say 1 as well.
pub const ATTENTION: u8 = 1;
/// Wrong usage, or input that cannot be used.
pub const USAGE: u8 = 2;
/// hostward could not be asked.
pub const CANNOT_ASK: u8 = 3;
/// `unenroll` would end the session that it was called from. The package's prerm goes by it.
pub const OWN_SESSION: u8 = 4;

/// All of them, for man pages and `--help`.
pub const MEANINGS: [(u8, &str); 5] = [
    (0, "all is well"),
    (
        ATTENTION,
        "something needs attention, part of the policy that was refused included; what was printed says what",
    ),
    (
        USAGE,
        "wrong usage, or input that cannot be used: a malformed token, or `unenroll` without --yes where nobody can be asked",
    ),
    (
        CANNOT_ASK,
        "hostward could not be asked: it does not run, or the caller is not root (which service users need not be)",
    ),
    (OWN_SESSION, "`unenroll` was refused in the session of a managed user, which it would end"),
];

/// For `--help`.
pub const HELP: &str = "Exit status: 0 all is well, 1 something needs attention, 2 wrong usage or input that cannot be used, \
3 hostward could not be asked, 4 refused in a managed user's session (unenroll).";
