//! A host as facts: takes steps as the root process does, without any host.

use hostward_plan::facts::{DatabaseFact, Facts, FileFact, ManagedFile};
use hostward_plan::ledger::{DATABASE_PATH, WrittenFile};
use hostward_plan::sshd::{MAIN_PATH, has_block};
use hostward_plan::step::PlannedStep;
use hostward_plan::{Plan, Step};

pub fn take_all(plan: &Plan, facts: &mut Facts) {
    remember(plan, facts);
    plan.steps.iter().for_each(|planned| take(planned, facts));
}

/// Writes the ledger, as is done before the first step.
pub fn remember(plan: &Plan, facts: &mut Facts) {
    facts.ledger = plan.ledger_before.clone();
}

pub fn take(planned: &PlannedStep, facts: &mut Facts) {
    match &planned.step {
        Step::RestoreDirectory { directory } => {
            facts.loose_directories.remove(directory);
        }
        Step::WriteFile { file, content } => write(facts, *file, content.clone(), None),
        Step::WriteKrl { spec, user_ca } => {
            let source = spec.source_sha256(user_ca);
            write(facts, ManagedFile::Krl, format!("KRL of {source}").into(), Some(source));
        }
        Step::RemoveFile { file } => {
            facts.files.remove(file);
            facts.ledger.files.remove(file.path());
        }
        Step::EditSshdMain { content } => {
            if has_block(content) {
                facts.ledger.files.insert(MAIN_PATH.into(), WrittenFile::of(content.as_bytes()));
            } else {
                facts.ledger.files.remove(MAIN_PATH);
            }
            facts.sshd.as_mut().unwrap().main.clone_from(content);
        }
        Step::ReloadSshd => facts.ledger.sshd_reload_due = false,
        Step::ReplaceAccounts { accounts, .. } => {
            facts.ledger.files.insert(DATABASE_PATH.into(), WrittenFile::of(b"a database"));
            facts.database = DatabaseFact::Present(accounts.clone());
        }
        Step::RemoveAccounts => {
            facts.ledger.files.remove(DATABASE_PATH);
            facts.database = DatabaseFact::Absent;
        }
        Step::EndSessions { uid, .. } => {
            facts.running.remove(uid);
        }
        Step::ArchiveHome { uid, .. } | Step::DeleteHome { uid, .. } => {
            facts.homes.remove(uid);
            facts.ledger.people.get_mut(uid).unwrap().home_settled = true;
        }
    }
}

fn write(facts: &mut Facts, file: ManagedFile, content: Vec<u8>, source_sha256: Option<String>) {
    let written = WrittenFile { source_sha256, ..WrittenFile::of(&content) };
    facts.ledger.files.insert(file.path().into(), written);
    facts.files.insert(file, FileFact { content, attributes_ok: true });
}
