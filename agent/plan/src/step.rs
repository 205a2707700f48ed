//! The plan: ordered differences between desired state and facts, as data.

mod about;
mod json;
mod text;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use hostward_protocol::report::{AccountChange, Finding};

use crate::desired::KrlSpec;
use crate::facts::{Accounts, ManagedFile, OwnDirectory};
use crate::ledger::Ledger;

/// What is to be done, in this order.
///
/// Narrowing comes before widening: trust, sudo, accounts and sessions of people who lost access first, then
/// accounts, trust and sudo for those who gained it. A step that widens is skipped when a step that narrows failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<PlannedStep>,
    /// What was found changed behind hostward's back; the steps mend it.
    pub drift: Vec<Finding>,
    /// The ledger to write before the first step (new uids are known before they are served).
    pub ledger_before: Ledger,
    /// The next moment at which the same policy means something else.
    pub next_change: Option<DateTime<Utc>>,
    /// Uids that the steps take login from. A session of theirs may begin between observation and the step, so
    /// whoever executes the plan looks for them once more after the last narrowing step and ends what is there.
    pub leaving: BTreeSet<u32>,
    /// A managed user that is served once all steps are taken: with `sshd -T -C user=PROBE` and
    /// [`crate::sshd::ineffective`] whoever executes the plan sees whether the drop-in has effect. Absent where sshd
    /// can be asked about nobody.
    pub probe: Option<String>,
}

/// A step and what it does to access.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// Whether it takes access away or gives it.
    pub direction: Direction,
    /// What it changes, in a few words such as `+2 -1 rules`; often empty.
    pub detail: String,
}

/// What a step does to access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Takes away, or mends without giving: taken whatever else fails.
    Narrow,
    /// Gives: skipped when a narrowing step before it failed.
    Widen,
}

/// One idempotent effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Give a directory of root's state to root again, with its mode.
    RestoreDirectory {
        /// Which.
        directory: OwnDirectory,
    },
    /// Replace a managed file. Validation by its kind: sudoers by every visudo, before and after, with rollback;
    /// the sshd drop-in by `sshd -t` and `sshd -T -C user=probe`, with rollback; all others by nobody.
    WriteFile {
        /// Which.
        file: ManagedFile,
        /// Its whole content.
        content: Vec<u8>,
    },
    /// Compile the KRL and replace it; an empty specification makes an empty file.
    WriteKrl {
        /// What it is compiled from.
        spec: KrlSpec,
        /// The CAs that `spec.per_ca` is compiled for, one a line.
        user_ca: String,
    },
    /// Remove a managed file.
    RemoveFile {
        /// Which.
        file: ManagedFile,
    },
    /// Replace /etc/ssh/sshd_config: a marked block is put in, brought up to date or taken out. Validated as the drop-in is.
    EditSshdMain {
        /// The whole content.
        content: String,
    },
    /// Make sshd read its configuration again, if it runs.
    ReloadSshd,
    /// Replace the account database, then tell nscd if it runs.
    ReplaceAccounts {
        /// What it holds.
        accounts: Accounts,
        /// What changes, one by one.
        changes: Vec<AccountChange>,
        /// How many changes there are that are not named.
        more: usize,
    },
    /// Remove the account database.
    RemoveAccounts,
    /// End everything that runs under a uid: linger, sessions, processes.
    EndSessions {
        /// The uid.
        uid: u32,
        /// The name it had.
        name: String,
    },
    /// Pack a home into `/var/lib/hostward/archive/NAME-UID-TIME.tar`, 0600, then delete it.
    ArchiveHome {
        /// Whose.
        uid: u32,
        /// The name they had.
        name: String,
        /// The home.
        home: String,
    },
    /// Delete a home.
    DeleteHome {
        /// Whose.
        uid: u32,
        /// The name they had.
        name: String,
        /// The home.
        home: String,
    },
}
