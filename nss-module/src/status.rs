//! What a lookup came to, and how glibc wants to hear it.

use core::ffi::c_int;

use hostward_accounts::map::MapError;

/// What a lookup came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    Success,
    /// The database proves that there is no such entry.
    NotFound,
    /// The enumeration is over. `errno` stays as it is: callers tell the end from an error by it.
    End,
    /// The caller's buffer is too small, and a larger one will do.
    TooSmall,
    /// Nothing can be said, with the reason.
    Unavailable(c_int),
}

impl Outcome {
    /// A damaged record.
    pub(crate) const CORRUPT: Self = Self::Unavailable(libc::EIO);

    /// `enum nss_status`, and what belongs into `errno`, if anything.
    pub(crate) fn for_glibc(self) -> (c_int, Option<c_int>) {
        match self {
            Self::Success => (1, None),
            Self::NotFound => (0, Some(libc::ENOENT)),
            Self::End => (0, None),
            Self::TooSmall => (-2, Some(libc::ERANGE)),
            // To glibc ERANGE means "try a larger buffer", whatever the status.
            Self::Unavailable(libc::ERANGE) => (-1, Some(libc::EIO)),
            Self::Unavailable(errno) => (-1, Some(errno)),
        }
    }
}

impl From<MapError> for Outcome {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Os(errno) => Self::Unavailable(errno),
            MapError::NotTrusted => Self::Unavailable(libc::EPERM),
            _ => Self::CORRUPT,
        }
    }
}
