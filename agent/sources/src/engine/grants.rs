//! Who has which grant, compared with what was told before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hostward_events::{Event, Grant, Input, Source, digest};
use hostward_protocol::grants::Grants;

use super::Engine;

/// How many are named in one go; how many more there are is said in one.
const MOST: usize = 200;

/// A user and a group, and what they have through it.
type Held<'a> = BTreeMap<(&'a str, &'a str), (u32, &'a [String])>;

impl Engine {
    /// Root says who has which grant.
    pub fn granted(&mut self, before: &Grants, after: &Grants, now: DateTime<Utc>) {
        let (had, have) = (held(before), held(after));
        let version = digest(&after.json())[..16].to_owned();
        let gone = had.iter().filter(|(key, value)| have.get(*key) != Some(*value));
        let new = have.iter().filter(|(key, value)| had.get(*key) != Some(*value));
        let changes: Vec<_> =
            gone.map(|change| (change, false)).chain(new.map(|change| (change, true))).collect();
        for (((user, group), (uid, privileges)), is_new) in changes.iter().take(MOST) {
            let grant = Grant {
                user: (*user).to_owned(),
                uid: Some(*uid),
                group: (*group).to_owned(),
                privileges: privileges.to_vec(),
            };
            self.grant(&grant, *is_new, &version, now);
        }
        for is_new in [false, true] {
            let more = changes.iter().skip(MOST).filter(|(_, found)| *found == is_new).count();
            if more > 0 {
                let grant = Grant {
                    user: format!("({more} others)"),
                    uid: None,
                    group: "(various)".into(),
                    privileges: vec!["(various)".into()],
                };
                self.grant(&grant, is_new, &version, now);
            }
        }
    }

    fn grant(&mut self, grant: &Grant, is_new: bool, version: &str, now: DateTime<Utc>) {
        let id = format!("{version}:{}:{}:{}", if is_new { "+" } else { "-" }, grant.group, grant.user);
        if self.told.has(Source::Grants, &id) {
            return;
        }
        let event = if is_new { Event::grant_added(now, grant) } else { Event::grant_removed(now, grant) };
        self.events.push(event.made_of(Input { source: Source::Grants, id, from: None }));
    }
}

fn held(grants: &Grants) -> Held<'_> {
    let mut held = Held::new();
    for group in &grants.groups {
        for (uid, name) in &group.users {
            held.insert((name, &group.group), (*uid, &group.privileges));
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use hostward_protocol::grants::{GRANTS_SCHEMA, GroupGrant};

    use super::*;
    use crate::engine::{Host, Position};
    use crate::told::Told;

    struct Nobody;

    impl Host for Nobody {
        fn name_of(&self, _uid: u32) -> Option<String> {
            None
        }

        fn grants_of(&self, _user: &str) -> Vec<String> {
            Vec::new()
        }
    }

    fn grants(groups: &[(&str, &[&str], std::ops::Range<u32>)]) -> Grants {
        let groups = groups.iter().map(|(group, privileges, users)| GroupGrant {
            group: (*group).into(),
            privileges: privileges.iter().map(|privilege| (*privilege).to_owned()).collect(),
            users: users.clone().map(|uid| (uid, format!("u{uid}"))).collect(),
        });
        Grants { schema: GRANTS_SCHEMA.into(), groups: groups.collect() }
    }

    fn told(before: &Grants, after: &Grants) -> Vec<String> {
        let mut engine = Engine::resume(Position::default(), Told::default(), Box::new(Nobody));
        engine.granted(before, after, DateTime::UNIX_EPOCH);
        engine.take().iter().map(|event| format!("{} {}", event.kind().name(), event.subject())).collect()
    }

    #[test]
    fn what_changes_is_told_and_what_goes_comes_first() {
        let before = grants(&[("admins", &["login", "sudo:look"], 1..2), ("people", &["login"], 1..4)]);
        assert_eq!(told(&before, &before), [""; 0]);
        let after = grants(&[("admins", &["login"], 1..2), ("people", &["login"], 2..5)]);
        assert_eq!(
            told(&before, &after),
            [
                "hostward.grant.removed u1",
                "hostward.grant.removed u1",
                "hostward.grant.added u1",
                "hostward.grant.added u4"
            ]
        );
        assert_eq!(told(&after, &Grants::default()).len(), 4);
    }

    #[test]
    fn many_are_counted() {
        let many = grants(&[("people", &["login"], 0..10_000)]);
        let told = told(&Grants::default(), &many);
        assert_eq!(told.len(), MOST + 1);
        assert_eq!(told[MOST], "hostward.grant.added (9800 others)");
    }
}
