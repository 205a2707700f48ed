//! Who has which grant on this host: root says so for the record, and the agent reads it.

use serde::{Deserialize, Serialize};

/// Where it is: root:hostward, 0640. Who may do what with sudo is not for everybody to know.
pub const GRANTS_FILE: &str = "/var/lib/hostward/grants.json";
/// Its schema.
pub const GRANTS_SCHEMA: &str = "hostward/grants/1";

/// The grants that hold on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// [`GRANTS_SCHEMA`]
    pub schema: String,
    /// Groups that have any, by name, each name once.
    pub groups: Vec<GroupGrant>,
}

/// What a group has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupGrant {
    /// The group's name in the policy.
    pub group: String,
    /// `login`, `sudo:ENTITLEMENT`, `group:LOCAL GROUP`; ascending.
    pub privileges: Vec<String>,
    /// Its members who may log in here: uid and name, ascending.
    pub users: Vec<(u32, String)>,
}

impl Grants {
    /// As it is written.
    pub fn json(&self) -> Vec<u8> {
        // Strings and numbers: there is nothing in it that JSON cannot say.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Of what was written; `None` of anything else.
    pub fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(json).ok().filter(|grants| grants.schema == GRANTS_SCHEMA)
    }

    /// The groups through which somebody may log in here.
    pub fn logins_of(&self, user: &str) -> Vec<String> {
        let gives_login = |group: &&GroupGrant| group.privileges.iter().any(|privilege| privilege == "login");
        let has = |group: &&GroupGrant| group.users.iter().any(|(_, name)| name == user);
        self.groups.iter().filter(gives_login).filter(has).map(|group| group.group.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_log_in_through_which_group() {
        let group = |name: &str, privileges: &[&str], users: &[&str]| GroupGrant {
            group: name.into(),
            privileges: privileges.iter().map(|privilege| (*privilege).to_owned()).collect(),
            users: users.iter().map(|user| (1, (*user).to_owned())).collect(),
        };
        let groups = vec![
            group("admins", &["login", "sudo:look"], &["alice"]),
            group("lookers", &["sudo:look"], &["alice"]),
            group("people", &["login"], &["alice", "bob"]),
        ];
        let grants = Grants { schema: GRANTS_SCHEMA.into(), groups };
        assert_eq!(Grants::parse(&grants.json()), Some(grants.clone()));
        assert_eq!(grants.logins_of("alice"), ["admins", "people"]);
        assert_eq!(grants.logins_of("bob"), ["people"]);
        assert!(grants.logins_of("mallory").is_empty());
        assert_eq!(Grants::parse(br#"{"schema":"hostward/grants/2","groups":[]}"#), None);
    }
}
