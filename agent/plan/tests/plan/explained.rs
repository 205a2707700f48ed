//! Why somebody can or cannot log in.

use chrono::TimeDelta;
use hostward_plan::explain::{Explanation, explain};
use serde_json::json;

use crate::world::{World, group, user};

fn explained(world: &World, name: &str) -> Explanation {
    explain(&world.policy(), &world.config, &world.facts, world.now, name)
}

fn reasons(world: &World, name: &str) -> (bool, String) {
    let explanation = explained(world, name);
    (explanation.login, explanation.reasons.join("; "))
}

#[test]
fn somebody_who_may_log_in() {
    let explanation = explained(&World::new(), "alice");
    assert!(explanation.login);
    assert_eq!(explanation.reasons, ["grant `r1` (group `ops`) gives login"]);
    let command = &explanation.commands[0];
    assert_eq!(command.command, "(root) NOPASSWD: /usr/bin/systemctl restart nginx");
    assert_eq!(
        (command.entitlement.as_str(), command.grant.as_str(), command.group.as_str()),
        ("web", "r1", "ops")
    );
    assert_eq!(explanation.commands.len(), 2);
}

#[test]
fn somebody_who_may_not() {
    let mut world = World::new();
    assert_eq!(
        reasons(&world, "carol"),
        (
            false,
            "no grant gives this user login on this host now; grant `r2` (group `db`) is for other hosts: `labels.role=db`"
                .into()
        )
    );
    assert_eq!(reasons(&world, "zoe"), (false, "the policy (version 1) has no user of this name".into()));
    assert_eq!(
        reasons(&world, "olga"),
        (false, "a local user of this host: hostward neither serves nor changes it".into())
    );
    world.user_mut("u1")["status"] = json!("suspended");
    assert!(reasons(&world, "alice").1.starts_with("suspended"));
    world.user_mut("u2")["expires"] = json!("2020-01-01T00:00:00Z");
    assert!(reasons(&world, "bob").1.starts_with("expired"));
    world.users.push(user("u9", "deploy", 70009));
    world.groups.push(group("g9", "deploy9", 70009, &["u9"]));
    world.grants.push(json!({"id": "r9", "group": "g9", "login": true}));
    let (login, why) = reasons(&world, "deploy");
    assert!(!login && why.contains("refused on this host: this host has a local user `deploy`"), "{why}");
}

#[test]
fn what_holds_for_everybody() {
    let mut world = World::new();
    world.user_mut("u2")["principals"] = json!([]);
    assert!(!reasons(&world, "bob").0);
    world.config.policy.on_stale = hostward_config::OnStale::Lock;
    world.pass(TimeDelta::days(40));
    let explanation = explained(&world, "alice");
    assert!(!explanation.login && explanation.reasons[0].starts_with("locked"));
    assert_eq!(explanation.commands, []);
    let mut world = World::new();
    world.facts.hostward_users = None;
    assert!(!explained(&world, "alice").login);
}
