//! Who is granted what on this host.

use chrono::{DateTime, Utc};

use crate::event::Event;
use crate::kind::Kind;
use crate::ocsf::{self, Severity, Status};
use crate::session::{Account, account};

/// What somebody has through a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub user: String,
    /// Their uid; `None` where it is several users.
    pub uid: Option<u32>,
    /// The group that has it.
    pub group: String,
    /// What it is: `login`, `sudo:NAME`, `group:NAME`.
    pub privileges: Vec<String>,
}

impl Event {
    /// Somebody has a grant from now on.
    pub fn grant_added(at: DateTime<Utc>, grant: &Grant) -> Self {
        about(Kind::GrantAdded, at, grant, "has")
    }

    /// They no longer have it.
    pub fn grant_removed(at: DateTime<Utc>, grant: &Grant) -> Self {
        about(Kind::GrantRemoved, at, grant, "no longer has")
    }
}

fn about(kind: Kind, at: DateTime<Utc>, grant: &Grant, has: &str) -> Event {
    let Grant { user, group, .. } = grant;
    let message = format!("`{user}` {has} {} through the group `{group}`", grant.privileges.join(", "));
    let privileges: Vec<String> = grant.privileges.iter().map(|privilege| ocsf::text(privilege)).collect();
    Event::new(kind, at, Severity::Low, user, &message)
        .with("user", account(&Account { name: user.clone(), uid: grant.uid }))
        .with("privileges", privileges)
        .outcome(Status::Success, None)
        .unmapped("group", ocsf::text(group))
}
