//! What happened on a host: events, and the log that keeps them.
//!
//! An event is one line: CloudEvents 1.0 in JSON, its `data` an object of an OCSF class. The lines are numbered and each
//! carries the hash of the one before, over all files of the log and over restarts. The page `docs/events.md` has the
//! format and every type.
//!
//! Only one process writes ([`Log`], mostly behind a [`Recorder`]); everybody who may read the files can follow
//! ([`Reader`]) and check ([`verify()`]) them meanwhile. Nothing here trusts what a file holds.

mod about;
mod certificate;
mod denial;
mod event;
mod files;
mod grant;
mod input;
mod kind;
mod lifecycle;
mod line;
mod log;
mod loss;
mod ocsf;
mod origin;
mod reader;
mod recorder;
mod report;
mod session;
mod sudo;
mod verify;

pub use certificate::{Caller, Certificate, Issued};
pub use denial::{Denial, DenialReason};
pub use event::Event;
pub use files::{FilesError, Head, acknowledged};
pub use grant::Grant;
pub use input::{Input, Source};
pub use kind::{Kind, Mapping, Quota};
pub use lifecycle::Enrollment;
pub use line::{GENESIS, Record, digest};
pub use log::{Limits, Log, LogError, Opened};
pub use loss::{Cause, Losses, Missing};
pub use origin::{Origin, host_source};
pub use reader::{Batch, Reader};
pub use recorder::{Progress, Recorder, Store};
pub use report::{Known, of_report};
pub use session::{Account, Authentication, Closed, Process, Remote, Session};
pub use sudo::{Sudo, SudoExited, SudoOutcome};
pub use verify::{Difference, Verdict, What, verify, verify_against};

/// Where the log is.
pub const DIRECTORY: &str = "/var/log/hostward";
