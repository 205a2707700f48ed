//! The account database: which users and groups this host knows through hostward.
//!
//! One immutable file, specified in `docs/account-database.md`. The reader is `no_std`, allocates nothing,
//! has no reachable panic, and believes nothing it has not checked: it runs inside every process of the host.
//! It must never answer with a record whose key is not the one asked for, and never say "no such entry"
//! unless the index proves it.
//!
//! | feature | adds |
//! |---|---|
//! | (none) | [`Database`] and [`Subids`]: lookups on a byte slice; [`SubidLine`] |
//! | `map`  | [`map::Mapping`]: opens, checks and maps the file |
//! | `std`  | [`fn@build`], [`replace()`], [`remove`], [`decode_all`]: what the root process does with it |

#![no_std]
#![warn(missing_docs)]

#[cfg(any(feature = "std", test))]
extern crate std;

mod ahead;
mod format;
mod group;
mod lookup;
mod read;
mod subid_file;
mod subids;
mod user;

#[cfg(feature = "map")]
pub mod map;
#[cfg(feature = "map")]
pub mod system;

#[cfg(feature = "std")]
mod build;
#[cfg(feature = "std")]
mod decode;
#[cfg(feature = "std")]
mod replace;

pub use format::{MAX_NAME, PROLOGUE, body, is_reserved};
pub use group::{GroupRecord, Members, Starts};
pub use lookup::{Database, HeaderError, Lookup};
pub use subid_file::{SUBID_LINE_LIMIT, SubidLine};
pub use subids::{SubidRange, Subids};
pub use user::{Principals, UserRecord};

#[cfg(feature = "std")]
pub use build::{BuildError, Group, User, build};
#[cfg(feature = "std")]
pub use decode::{DecodeError, decode_all};
#[cfg(feature = "std")]
pub use replace::{ReplaceError, finish_interrupted, remove, replace};

/// Where the database is, in every release and on every host.
///
/// Confined programs may read it here: AppArmor's nameservice abstraction allows `/var/lib/misc/*.db`.
pub const PATH: &core::ffi::CStr = c"/var/lib/misc/hostward.db";
