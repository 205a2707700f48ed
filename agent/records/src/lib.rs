//! What the PAM module says and hears: records of sessions, one JSON line each, which the agent makes events of; and the
//! file in which root says why somebody may not come in ([`Denied`]).
//!
//! Both ends use these types. Nothing here reads or writes a file: the module does that without waiting for anybody, and
//! whoever reads takes each line as something that a crash may have cut. The page `docs/local-formats.md` has the format.

mod denied;
mod id;
mod line;
mod record;

pub use denied::{DENIED_BOUND, DENIED_PATH, DENIED_SCHEMA, Denied, DeniedPerson};
pub use id::{Id, IdError};
pub use line::{ParseError, VERSION};
pub use record::{Process, Reason, Record, What};

/// Root's, and readable to the agent: nobody else writes there, so that nobody forges a record.
pub const DIRECTORY: &str = "/var/lib/hostward/records";
/// Within [`DIRECTORY`]: what is appended to.
pub const CURRENT: &str = "current";
/// For what the disk did not take; gone with the boot.
pub const SPILL_DIRECTORY: &str = "/run/hostward/records";
/// Within [`SPILL_DIRECTORY`]: what is appended to then.
pub const SPILL: &str = "spill";
/// Within [`SPILL_DIRECTORY`]: how many records neither file took, a `u64` of the machine's byte order at the file's start.
pub const LOST: &str = "lost";
/// The size that [`LOST`] has from the start: with less nobody maps it.
pub const LOST_BYTES: u64 = 4096;

/// What stands in [`Record::command_line`] for the middle of one that is too long.
pub const CUT: &str = " […] ";

/// A line with its newline, in bytes: one `write(2)` appends it whole.
pub const MAX_LINE: usize = 4096;
/// From here on [`CURRENT`] takes no denials, which anybody with an account can make.
pub const DENIALS_BOUND: u64 = 32 << 20;
/// From here on it takes nothing.
pub const CURRENT_BOUND: u64 = 64 << 20;
/// From here on [`SPILL`] takes nothing.
pub const SPILL_BOUND: u64 = 4 << 20;
/// From here on [`CURRENT`] is renamed and begun anew.
pub const ROTATE_AT: u64 = 16 << 20;
/// What all files of [`DIRECTORY`] may have together, in bytes.
pub const TOTAL_BOUND: u64 = 128 << 20;
