//! A plan as a program reads it.

use serde_json::{Value, json};

use super::{Plan, PlannedStep, Step};
use crate::facts::ManagedFile;
use crate::sshd::MAIN_PATH;

impl Plan {
    /// The steps in order, each with `direction` (`narrow` or `widen`), `text` as a person reads it, and `step`, an
    /// object whose `kind` says which members it has; drift; and the next moment of change.
    pub fn to_json(&self) -> Value {
        json!({
            "schema": "hostward/plan/1",
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "drift": self.drift,
            "next_change": self.next_change,
        })
    }
}

fn step(planned: &PlannedStep) -> Value {
    json!({
        "direction": planned.direction.to_string(),
        "text": planned.to_string(),
        "step": members(&planned.step),
    })
}

fn members(step: &Step) -> Value {
    match step {
        Step::RestoreDirectory { directory } => json!({
            "kind": "restore-directory",
            "path": directory.path(),
            "mode": format!("{:04o}", directory.mode()),
        }),
        Step::WriteFile { file, content } => json!({
            "kind": "write-file",
            "path": file.path(),
            "mode": format!("{:04o}", file.mode()),
            "content": String::from_utf8_lossy(content),
        }),
        Step::WriteKrl { spec, user_ca } => json!({
            "kind": "write-krl",
            "path": ManagedFile::Krl.path(),
            "per_ca": spec.per_ca,
            "keys": spec.keys,
            "user_ca": user_ca,
        }),
        Step::RemoveFile { file } => json!({ "kind": "remove-file", "path": file.path() }),
        Step::EditSshdMain { content } => {
            json!({ "kind": "edit-sshd-main", "path": MAIN_PATH, "content": content })
        }
        Step::ReloadSshd => json!({ "kind": "reload-sshd" }),
        Step::ReplaceAccounts { accounts, changes, more } => json!({
            "kind": "replace-accounts",
            "users": accounts.users.len(),
            "groups": accounts.groups.len(),
            "changes": changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "further_changes": more,
        }),
        Step::RemoveAccounts => json!({ "kind": "remove-accounts" }),
        Step::EndSessions { uid, name } => json!({ "kind": "end-sessions", "uid": uid, "name": name }),
        Step::ArchiveHome { uid, name, home } => {
            json!({ "kind": "archive-home", "uid": uid, "name": name, "home": home })
        }
        Step::DeleteHome { uid, name, home } => {
            json!({ "kind": "delete-home", "uid": uid, "name": name, "home": home })
        }
    }
}
