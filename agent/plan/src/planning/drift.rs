//! What was changed behind hostward's back.
//!
//! The ledger says what was written; a first installation, and a change of policy, are no drift. Nor is what is as it is
//! to be: a kill between a rename and the ledger leaves it so.

use hostward_protocol::report::{Finding, Responsible};

use super::target::Target;
use crate::facts::{DatabaseFact, Facts, ManagedFile, OwnDirectory};
use crate::ledger::{DATABASE_PATH, sha256_hex};
use crate::sshd::{self, MAIN_PATH};
use crate::step::Step;

/// What there is to do about drift, and what there is where repairing it failed.
const REPAIRED: &str = "nothing, it is put right; find out who or what changed it";
const NOT_REPAIRED: &str = "what keeps hostward from putting it right is named where the step failed; find out who or what changed it";

/// Says of what was found changed that `step`, which would have put it right, did not succeed.
pub fn not_repaired(drift: &mut [Finding], step: &Step) {
    let subject = match step {
        Step::WriteFile { file, .. } | Step::RemoveFile { file } => file.path(),
        Step::WriteKrl { .. } => ManagedFile::Krl.path(),
        Step::EditSshdMain { .. } => MAIN_PATH,
        Step::ReplaceAccounts { .. } | Step::RemoveAccounts => DATABASE_PATH,
        Step::RestoreDirectory { directory } => directory.path(),
        Step::ReloadSshd | Step::EndSessions { .. } | Step::ArchiveHome { .. } | Step::DeleteHome { .. } => {
            return;
        }
    };
    for finding in drift.iter_mut().filter(|finding| finding.subject == subject) {
        finding.mend = NOT_REPAIRED.to_owned();
    }
}

pub(super) fn find(target: &Target<'_>, facts: &Facts) -> Vec<Finding> {
    let of_directory = |directory: &OwnDirectory| {
        finding("directory-attributes", directory.path(), "its owner or mode was changed")
    };
    let mut drift: Vec<Finding> = facts.loose_directories.iter().map(of_directory).collect();
    drift.extend(ManagedFile::ALL.into_iter().filter_map(|file| of_file(file, target, facts)));
    drift.extend(of_main(target, facts));
    drift.extend(of_database(facts));
    drift
}

fn of_file(file: ManagedFile, target: &Target<'_>, facts: &Facts) -> Option<Finding> {
    let written = facts.ledger.files.get(file.path())?;
    let (code, message) = match facts.files.get(&file) {
        Some(fact) if target.is_met(file, fact) => return None,
        None => ("managed-file-removed", "it was removed"),
        Some(fact) if sha256_hex(&fact.content) != written.sha256 => {
            ("managed-file-changed", "its content was changed")
        }
        Some(fact) if !fact.attributes_ok => {
            ("managed-file-attributes", "its owner, mode, or number of links was changed")
        }
        Some(_) => return None,
    };
    Some(finding(code, file.path(), message))
}

fn of_main(target: &Target<'_>, facts: &Facts) -> Option<Finding> {
    let main = &facts.sshd.as_ref()?.main;
    let was_put_in = facts.ledger.files.contains_key(MAIN_PATH);
    let wants_block = target.sshd.as_ref().is_some_and(|sshd| sshd.wants_block);
    let is_whole = sshd::with_block(main) == *main;
    let code = "sshd-block-changed";
    if was_put_in && wants_block && !is_whole {
        Some(finding(code, MAIN_PATH, "hostward's block in it was changed or taken out"))
    } else if !was_put_in && !is_whole && sshd::has_block(main) {
        Some(finding(code, MAIN_PATH, "it has a part of a block of hostward's"))
    } else {
        None
    }
}

fn of_database(facts: &Facts) -> Option<Finding> {
    match &facts.database {
        DatabaseFact::Damaged(what) => {
            Some(finding("account-database-damaged", DATABASE_PATH, &format!("it is damaged: {what}")))
        }
        DatabaseFact::Absent => facts
            .ledger
            .files
            .contains_key(DATABASE_PATH)
            .then(|| finding("account-database-removed", DATABASE_PATH, "it was removed")),
        DatabaseFact::Present(_) => None,
    }
}

fn finding(code: &str, subject: &str, message: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        subject: subject.to_owned(),
        message: message.to_owned(),
        responsible: Responsible::Operator,
        mend: REPAIRED.to_owned(),
    }
}
