//! The types of events, and which OCSF class and activity each is.

use serde::{Deserialize, Serialize};

use crate::ocsf::{self, Activity, Class};

/// Whose room an event takes. A kind that has used up its room loses its own newest events and nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quota {
    /// Logins that were refused: anybody on the network can make them.
    Denials,
    /// Sessions, sudo, su: people with access make them.
    Sessions,
    /// What hostward itself did.
    Own,
}

impl Quota {
    /// All of them.
    pub const ALL: [Quota; 3] = [Quota::Denials, Quota::Sessions, Quota::Own];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Quota::Denials => "denials",
            Quota::Sessions => "sessions",
            Quota::Own => "own",
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// What a type of event is in OCSF.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The CloudEvents type.
    pub name: &'static str,
    /// The OCSF class.
    pub class: Class,
    /// The activity of that class.
    pub activity: Activity,
    /// Whose room it takes.
    pub quota: Quota,
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $name:literal, $class:ident, $activity:literal $caption:literal, $quota:ident;)+) => {
        /// A type of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$meta])* $kind,)+
        }

        impl Kind {
            /// All of them, those included that nothing makes yet.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)+];

            /// What it is.
            pub fn mapping(self) -> Mapping {
                match self {
                    $(Kind::$kind => Mapping {
                        name: concat!("hostward.", $name),
                        class: ocsf::$class,
                        activity: Activity { id: $activity, name: $caption },
                        quota: Quota::$quota,
                    },)+
                }
            }
        }
    };
}

kinds! {
    /// The agent runs.
    AgentStarted = "agent.started", APPLICATION_LIFECYCLE, 3 "Start", Own;
    /// The agent was told to end, and does.
    AgentStopped = "agent.stopped", APPLICATION_LIFECYCLE, 4 "Stop", Own;
    /// The host belongs to a project.
    HostEnrolled = "host.enrolled", ENTITY_MANAGEMENT, 6 "Enroll", Own;
    /// It no longer does.
    HostUnenrolled = "host.unenrolled", ENTITY_MANAGEMENT, 7 "Unenroll", Own;
    /// A token was of no use.
    EnrollmentRefused = "enrollment.refused", ENTITY_MANAGEMENT, 6 "Enroll", Own;
    /// Another version of the policy is in force.
    PolicyAdopted = "policy.adopted", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// A version was offered and not admitted.
    PolicyRefused = "policy.refused", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// A service account has a certificate.
    CertificateIssued = "certificate.issued", ENTITY_MANAGEMENT, 1 "Create", Own;
    /// It has none.
    CertificateRefused = "certificate.refused", ENTITY_MANAGEMENT, 1 "Create", Own;
    /// A managed user is new on the host.
    AccountAdded = "account.added", ACCOUNT_CHANGE, 1 "Create", Own;
    /// One is gone.
    AccountRemoved = "account.removed", ACCOUNT_CHANGE, 6 "Delete", Own;
    /// One differs.
    AccountChanged = "account.changed", ACCOUNT_CHANGE, 99 "Change", Own;
    /// A managed group is new on the host.
    GroupAdded = "group.added", ENTITY_MANAGEMENT, 1 "Create", Own;
    /// One is gone.
    GroupRemoved = "group.removed", ENTITY_MANAGEMENT, 4 "Delete", Own;
    /// One has other members, or another name.
    GroupChanged = "group.changed", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// The account database was replaced or removed, or could not be.
    AccountsChanged = "accounts.changed", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// Somebody has a grant on this host.
    GrantAdded = "grant.added", USER_ACCESS, 1 "Assign Privileges", Own;
    /// They no longer have.
    GrantRemoved = "grant.removed", USER_ACCESS, 2 "Revoke Privileges", Own;
    /// The sudo rules differ, or could not be replaced.
    SudoChanged = "sudo.changed", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// CAs or revocations differ, or could not be replaced.
    TrustChanged = "trust.changed", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// sshd's configuration differs, or could not be replaced.
    SshdChanged = "sshd.changed", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// Other local accounts stand for users, or what their ssh is told differs, or it could not be replaced.
    ServicesChanged = "services.changed", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// Another step of a pass.
    HostChanged = "host.changed", ENTITY_MANAGEMENT, 3 "Update", Own;
    /// hostward ended what somebody who lost access had running.
    SessionsEnded = "sessions.ended", AUTHENTICATION, 2 "Logoff", Own;
    /// The home of somebody who left was archived or deleted.
    HomeRemoved = "home.removed", ENTITY_MANAGEMENT, 4 "Delete", Own;
    /// Somebody changed what is hostward's, and it was put right.
    DriftRepaired = "drift.repaired", CONFIG_STATE_CHANGE, 1 "Log", Own;
    /// Somebody changed what is hostward's; not all of it could be put right.
    DriftFound = "drift.found", CONFIG_STATE_CHANGE, 1 "Log", Own;
    /// An entry of the policy is refused from now on.
    RefusalAppeared = "refusal.appeared", COMPLIANCE_FINDING, 1 "Create", Own;
    /// It no longer is.
    RefusalOver = "refusal.over", COMPLIANCE_FINDING, 3 "Close", Own;
    /// Somebody logged in.
    SessionOpened = "session.opened", AUTHENTICATION, 1 "Logon", Sessions;
    /// They logged out.
    SessionClosed = "session.closed", AUTHENTICATION, 2 "Logoff", Sessions;
    /// Somebody was not let in.
    LoginDenied = "login.denied", AUTHENTICATION, 1 "Logon", Denials;
    /// Somebody ran a command with sudo, or was refused it.
    SudoCommand = "sudo.command", PROCESS_ACTIVITY, 1 "Launch", Sessions;
    /// A command that somebody ran with sudo ended.
    SudoExited = "sudo.exited", PROCESS_ACTIVITY, 2 "Terminate", Sessions;
    /// Somebody became somebody else.
    Su = "su", AUTHENTICATION, 1 "Logon", Sessions;
    /// Events that this log does not have.
    EventsLost = "events.lost", EVENT_LOG, 99 "Lost", Own;
    /// The end of the log was damaged when it was opened, and cut.
    EventsRepaired = "events.repaired", EVENT_LOG, 99 "Repaired", Own;
}

impl Kind {
    /// The CloudEvents type: `hostward.agent.started`.
    pub fn name(self) -> &'static str {
        self.mapping().name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn the_page_has_each_type_with_its_class_and_activity() {
        let page = include_str!("../../../docs/events.md");
        for kind in Kind::ALL {
            let Mapping { name, class, activity, quota } = kind.mapping();
            let row = format!(
                "| `{name}` | {} ({}) | {} {} | {} |",
                class.name,
                class.uid,
                activity.id,
                activity.name,
                quota.name()
            );
            assert!(page.contains(&row), "docs/events.md lacks\n{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `hostward.")).count();
        assert_eq!(rows, Kind::ALL.len(), "docs/events.md has types that do not exist");
    }
}
