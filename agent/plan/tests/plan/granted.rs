//! What is said for the record of who has which grant.

use chrono::TimeDelta;
use serde_json::json;

use crate::world::World;

fn granted(world: &World) -> Vec<(String, Vec<String>, Vec<String>)> {
    let groups = world.desired().grants.groups;
    let of = |users: Vec<(u32, String)>| users.into_iter().map(|(_, name)| name).collect();
    groups.into_iter().map(|group| (group.group, group.privileges, of(group.users))).collect()
}

fn one(group: &str, privileges: &[&str], users: &[&str]) -> (String, Vec<String>, Vec<String>) {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    (group.to_owned(), texts(privileges), texts(users))
}

#[test]
fn grants_that_hold_here_and_now_for_those_who_may_log_in() {
    let mut world = World::new();
    assert_eq!(granted(&world), [one("ops", &["login", "sudo:web"], &["alice", "bob"])]);
    world.grants.push(json!({"id": "r3", "group": "g11", "hosts": "", "login": true, "until": world.now + TimeDelta::hours(1)}));
    world.user_mut("u2")["status"] = json!("suspended");
    assert_eq!(
        granted(&world),
        [one("db", &["login"], &["carol"]), one("ops", &["login", "sudo:web"], &["alice"])]
    );
    world.pass(TimeDelta::hours(1));
    assert_eq!(granted(&world), [one("ops", &["login", "sudo:web"], &["alice"])]);
}
