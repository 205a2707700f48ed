//! Steps for the managed files.

use std::collections::HashSet;

use hostward_records::Denied;

use super::target::Target;
use super::{Steps, main_edit};
use crate::desired::KrlSpec;
use crate::facts::{Facts, FileFact, HostKeyKind, ManagedFile};
use crate::ledger::sha256_hex;
use crate::sshd::Authentication;
use crate::step::Step;
use crate::sudoers::{changes, narrowed};

pub(super) fn write(file: ManagedFile, content: &str) -> Step {
    Step::WriteFile { file, content: content.as_bytes().to_vec() }
}

pub(super) fn is_as_wanted(fact: Option<&FileFact>, content: &str) -> bool {
    fact.is_some_and(|fact| fact.attributes_ok && fact.content == content.as_bytes())
}

/// CAs: those no longer trusted go first; new ones are trusted last.
pub(super) fn user_ca(target: &Target<'_>, facts: &Facts, steps: &mut Steps) {
    const FILE: ManagedFile = ManagedFile::UserCa;
    let Some(wanted) = target.user_ca else { return };
    let fact = facts.files.get(&FILE);
    if is_as_wanted(fact, wanted) {
        return;
    }
    let Some(fact) = fact else {
        // The drop-in names the file, so it is there first, trusting nobody.
        steps.narrow(write(FILE, ""), "no CA is trusted yet");
        if !wanted.is_empty() {
            steps.widen(write(FILE, wanted), ca_changes(0, wanted.lines().count()));
        }
        return;
    };
    let present = String::from_utf8_lossy(&fact.content);
    let old: HashSet<&str> = present.lines().collect();
    let new: HashSet<&str> = wanted.lines().collect();
    let kept: String =
        wanted.lines().filter(|line| old.contains(line)).map(|line| format!("{line}\n")).collect();
    let (gone, added) = (old.difference(&new).count(), new.difference(&old).count());
    if added == 0 {
        steps.narrow(write(FILE, wanted), ca_changes(gone, 0));
        return;
    }
    if gone > 0 {
        steps.narrow(write(FILE, &kept), ca_changes(gone, 0));
    }
    steps.widen(write(FILE, wanted), ca_changes(0, added));
}

fn ca_changes(gone: usize, added: usize) -> String {
    match (gone, added) {
        (0, 0) => String::new(),
        (0, added) => format!("+{added} CA"),
        (gone, _) => format!("-{gone} CA"),
    }
}

/// The KRL is written before any CA is trusted that it is compiled for. What an older one revoked is not known, so
/// that writing it counts as taking away even where something is revoked no more.
pub(super) fn krl(target: &Target<'_>, facts: &Facts, steps: &mut Steps) {
    let Some(sshd) = &target.sshd else { return };
    let user_ca = target.user_ca.unwrap_or_default();
    let written = facts.ledger.files.get(ManagedFile::Krl.path());
    let source = sshd.krl.source_sha256(user_ca);
    let is_whole = facts.files.get(&ManagedFile::Krl).zip(written).is_some_and(|(fact, written)| {
        fact.attributes_ok
            && written.source_sha256.as_ref() == Some(&source)
            && written.sha256 == sha256_hex(&fact.content)
    });
    if !is_whole {
        let step = Step::WriteKrl { spec: sshd.krl.clone(), user_ca: user_ca.to_owned() };
        steps.narrow(step, revocations(sshd.krl));
    }
}

fn revocations(spec: &KrlSpec) -> String {
    match spec.per_ca.lines().count() + spec.keys.lines().count() {
        0 => "nothing is revoked".into(),
        1 => "1 revocation".into(),
        n => format!("{n} revocations"),
    }
}

/// The drop-in, the main file's block, and the reload. They concern managed users only. Certificate-only login takes
/// ways in away, and is in force before anybody is exposed.
pub(super) fn sshd(target: &Target<'_>, facts: &Facts, steps: &mut Steps) {
    let Some(sshd) = &target.sshd else {
        remove_sshd(facts, steps);
        if target.user_ca.is_none() {
            steps.remove(ManagedFile::UserCa, facts);
        }
        return;
    };
    // Certificates are there before anything names them; sshd reads them when it reads its configuration.
    let mut changes: Vec<(Step, &str)> = Vec::new();
    for (kind, line) in sshd.host_certificates {
        let file = ManagedFile::HostCertificate(*kind);
        if !is_as_wanted(facts.files.get(&file), line) {
            changes.push((write(file, line), ""));
        }
    }
    if !is_as_wanted(facts.files.get(&ManagedFile::SshdDropIn), &sshd.drop_in) {
        changes.push((write(ManagedFile::SshdDropIn, &sshd.drop_in), ""));
    }
    if let Some(content) = main_edit(facts, sshd.wants_block) {
        let detail = match sshd.wants_block {
            true => "put the include of hostward's file at its start",
            false => "take hostward's block out",
        };
        changes.push((Step::EditSshdMain { content }, detail));
    }
    if !changes.is_empty() || facts.ledger.sshd_reload_due {
        changes.push((Step::ReloadSshd, ""));
    }
    for kind in HostKeyKind::ALL.into_iter().filter(|kind| !sshd.host_certificates.contains_key(kind)) {
        let file = ManagedFile::HostCertificate(kind);
        if facts.files.contains_key(&file) {
            changes.push((Step::RemoveFile { file }, ""));
        }
    }
    for (step, detail) in changes {
        match sshd.authentication {
            Authentication::CertificateOnly => steps.narrow(step, detail),
            Authentication::CertificateToo => steps.widen(step, detail),
        }
    }
}

/// Takes everything of sshd's away but the user CAs: first what names the files, then the files.
pub(super) fn remove_sshd(facts: &Facts, steps: &mut Steps) {
    let main = main_edit(facts, false);
    let had_drop_in = facts.files.contains_key(&ManagedFile::SshdDropIn);
    let changes = main.is_some() || had_drop_in;
    if let Some(content) = main {
        steps.narrow(Step::EditSshdMain { content }, "take hostward's block out");
    }
    steps.remove(ManagedFile::SshdDropIn, facts);
    if facts.sshd.is_some() && (changes || facts.ledger.sshd_reload_due) {
        steps.narrow(Step::ReloadSshd, "");
    }
    steps.remove(ManagedFile::Krl, facts);
    for kind in HostKeyKind::ALL {
        steps.remove(ManagedFile::HostCertificate(kind), facts);
    }
}

/// Who is refused, and why. Where root was the one that let nobody in, that ends with what is given.
pub(super) fn denied(target: &Target<'_>, facts: &Facts, steps: &mut Steps) {
    const FILE: ManagedFile = ManagedFile::Denied;
    let fact = facts.files.get(&FILE);
    let was_stale = fact.and_then(|fact| Denied::parse(&fact.content)).is_some_and(|denied| denied.stale);
    let Some(wanted) = target.denied else {
        match fact {
            Some(_) if was_stale => steps.widen(Step::RemoveFile { file: FILE }, ""),
            _ => steps.remove(FILE, facts),
        }
        return;
    };
    let content = wanted.json();
    if is_as_wanted(fact, &content) {
        return;
    }
    let detail = match (wanted.stale, wanted.people.len()) {
        (true, _) => "nobody is let in".into(),
        (false, 1) => "1 user".into(),
        (false, count) => format!("{count} users"),
    };
    match was_stale && !wanted.stale {
        true => steps.widen(write(FILE, &content), detail),
        false => steps.narrow(write(FILE, &content), detail),
    }
}

/// Rules: those no longer given go first; new ones come last.
pub(super) fn sudoers(target: &Target<'_>, facts: &Facts, steps: &mut Steps) {
    const FILE: ManagedFile = ManagedFile::Sudoers;
    let Some(wanted) = target.sudoers else {
        steps.remove(FILE, facts);
        return;
    };
    let fact = facts.files.get(&FILE);
    if is_as_wanted(fact, wanted) {
        return;
    }
    let present = fact.map(|fact| String::from_utf8_lossy(&fact.content)).unwrap_or_default();
    match changes(&present, wanted) {
        (0, 0) => steps.narrow(write(FILE, wanted), "same rules"),
        (0, gone) => steps.narrow(write(FILE, wanted), rule_changes(0, gone)),
        (added, 0) => steps.widen(write(FILE, wanted), rule_changes(added, 0)),
        (added, gone) => {
            steps.narrow(write(FILE, &narrowed(&present, wanted)), rule_changes(0, gone));
            steps.widen(write(FILE, wanted), rule_changes(added, 0));
        }
    }
}

fn rule_changes(added: usize, gone: usize) -> String {
    let (sign, count) = if gone > 0 { ('-', gone) } else { ('+', added) };
    format!(
        "{sign}{count} {}",
        if count == 1 { "member, rule or setting" } else { "members, rules and settings" }
    )
}
