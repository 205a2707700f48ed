//! What a lookup came to, and how glibc wants to hear it.

use core::ffi::c_int;

use hostward_accounts::map::MapError;

/// What a lookup came to: `enum nss_status`, and what belongs into `errno`, or 0 to leave that alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Outcome {
    pub(crate) status: c_int,
    pub(crate) errno: c_int,
}

impl Outcome {
    pub(crate) const SUCCESS: Self = Self { status: 1, errno: 0 };
    /// The database proves that there is no such entry.
    pub(crate) const NOT_FOUND: Self = Self { status: 0, errno: libc::ENOENT };
    /// The enumeration is over. `errno` stays as it is: callers tell the end from an error by it.
    pub(crate) const END: Self = Self { status: 0, errno: 0 };
    /// The caller's buffer is too small, and a larger one will do.
    pub(crate) const TOO_SMALL: Self = Self { status: -2, errno: libc::ERANGE };
    /// A damaged record.
    pub(crate) const CORRUPT: Self = Self::unavailable(libc::EIO);

    /// Nothing can be said, for this reason.
    pub(crate) const fn unavailable(errno: c_int) -> Self {
        match errno {
            // To glibc ERANGE means "try a larger buffer", whatever the status.
            0 | libc::ERANGE => Self { status: -1, errno: libc::EIO },
            errno => Self { status: -1, errno },
        }
    }
}

impl From<MapError> for Outcome {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Os(errno) => Self::unavailable(errno),
            MapError::NotTrusted => Self::unavailable(libc::EPERM),
            _ => Self::CORRUPT,
        }
    }
}
