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
