//! Which local accounts the operator's configuration binds to a step-ca, with a policy and without.

use chrono::TimeDelta;
use hostward_plan::facts::ManagedFile;
use hostward_plan::{Desired, Plan, Step, plan_without_policy, resolve_without_policy, unenroll};
use hostward_protocol::report::Responsible;
use hostward_protocol::service::{BoundService, ServiceIssuer};
use serde_json::json;

use crate::model;
use crate::world::World;

const FILES: [ManagedFile; 3] = [ManagedFile::Services, ManagedFile::KnownHosts, ManagedFile::ClientConfig];

/// With these entries of `[[step_ca.services]]`.
fn configured(services: &str) -> World {
    let mut world = World::new().with_service();
    world.services.clear();
    configure(&mut world, services);
    world
}

fn configure(world: &mut World, services: &str) {
    let fingerprint = "ab".repeat(32);
    let text = format!(
        "labels.role = \"web\"\n[step_ca]\nurl = \"https://ca.example\"\nroot_fingerprint = \"{fingerprint}\"\n\
         provisioner = \"ci\"\n{services}"
    );
    world.config = hostward_config::parse("hostward.toml".as_ref(), &text).unwrap();
}

fn entry(account: &str, user: &str) -> String {
    format!("[[step_ca.services]]\n{account}\nuser = \"{user}\"\nhosts = [\"web?\"]\n")
}

fn bound(desired: &Desired) -> Vec<(u32, &str, &str)> {
    let bound = desired.services.iter().flat_map(|services| &services.bound);
    bound.map(|service| (service.uid, service.user.as_str(), service.issuer.word())).collect()
}

fn codes(desired: &Desired) -> Vec<&str> {
    desired.refusals.iter().chain(&desired.warnings).map(|finding| finding.code.as_str()).collect()
}

fn alone(world: &World) -> (Desired, Plan) {
    let desired = resolve_without_policy(&world.config, &world.facts);
    let plan = plan_without_policy(&desired, &world.config, &world.facts, world.now);
    (desired, plan)
}

#[test]
fn a_host_without_a_policy_is_told_of_them_and_of_nothing_else() {
    let mut world = configured(&(entry("account = \"jenkins\"", "deploy") + &entry("uid = 1500", "backup")));
    let (desired, plan) = alone(&world);
    assert_eq!(bound(&desired), [(112, "deploy", "step-ca"), (1500, "backup", "step-ca")]);
    assert_eq!(codes(&desired), [""; 0]);
    let written: Vec<_> = plan
        .steps
        .iter()
        .map(|planned| match &planned.step {
            Step::WriteFile { file, .. } => *file,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        written,
        [ManagedFile::KnownHosts, ManagedFile::ClientConfig, ManagedFile::Services],
        "{plan}"
    );
    let services = desired.services.unwrap();
    let expected = "Match localuser jenkins exec \"/usr/bin/hostward resolve -q -- '%h'\"\n    User deploy\n";
    assert!(services.client_config.contains(expected), "{}", services.client_config);
    let both = "UserKnownHostsFile /var/lib/hostward/ssh/known_hosts /var/lib/hostward-step-ca/known_hosts\n";
    assert!(services.client_config.contains(both), "{}", services.client_config);

    model::take_all(&plan, &mut world.facts);
    let (_, again) = alone(&world);
    assert_eq!((again.steps, again.drift), (vec![], vec![]));
    world.facts.files.remove(&ManagedFile::ClientConfig);
    let (_, again) = alone(&world);
    assert_eq!(again.drift.len(), 1, "it is repaired, and said");

    configure(&mut world, "");
    let (_, plan) = alone(&world);
    let gone: Vec<_> = plan.steps.iter().map(|planned| planned.step.clone()).collect();
    assert!(gone.contains(&Step::RemoveFile { file: ManagedFile::Services }), "{plan}");
}

#[test]
fn uids_that_are_nobodys_in_particular_are_refused() {
    for (account, code) in [
        ("account = \"root\"", "service-uid-reserved"),
        ("account = \"nobody\"", "service-uid-reserved"),
        ("account = \"hostward\"", "service-uid-reserved"),
        ("uid = 995", "service-uid-reserved"),
        ("uid = 61184", "service-uid-reserved"),
        ("uid = 100112", "service-uid-subordinate"),
        ("account = \"nosuch\"", "service-account-unknown"),
    ] {
        let world = configured(&entry(account, "deploy"));
        let (desired, plan) = alone(&world);
        assert_eq!((codes(&desired), bound(&desired)), (vec![code], vec![]), "{account}");
        assert_eq!(desired.refusals[0].responsible, Responsible::Operator);
        assert!(desired.refusals[0].mend.contains("hostward.toml") || code == "service-uid-subordinate");
        assert_eq!(plan.steps, []);
        assert_eq!(codes(&world.desired()), [code], "with a policy too: {account}");
    }
    let twice = configured(&(entry("account = \"jenkins\"", "deploy") + &entry("uid = 112", "backup")));
    let (desired, _) = alone(&twice);
    assert_eq!((codes(&desired), bound(&desired)), (vec!["service-uid-duplicate"; 2], vec![]));
}

#[test]
fn people_of_the_policy_and_their_containers_are_refused_too() {
    let mut world = configured(&(entry("uid = 70001", "deploy") + &entry("uid = 600010", "deploy")));
    world.user_mut("u3")["subids"] = json!([{"start": 600_000, "count": 65_536}]);
    let desired = world.desired();
    assert_eq!(codes(&desired), ["service-uid-managed", "service-uid-subordinate"]);
    world.settle();
    assert_eq!(codes(&alone(&world).0), ["service-uid-managed"], "alice is remembered");
}

#[test]
fn the_operator_comes_before_the_policy() {
    let mut world = World::new().with_service().settled();
    assert_eq!(bound(&world.desired()), [(112, "deploy-bot", "backend")]);
    world.services.push(json!({"id": "s2", "user": "u9", "uid": 113}));
    configure(&mut world, &entry("account = \"jenkins\"", "deploy"));
    let desired = world.desired();
    assert_eq!(bound(&desired), [(112, "deploy", "step-ca"), (113, "deploy-bot", "backend")]);
    assert_eq!(codes(&desired), ["service-uid-taken"]);
    world.settle();
    let config = world.desired().services.unwrap().client_config;
    assert_eq!(config.matches("/var/lib/hostward-step-ca").count(), 1, "only for its own account: {config}");
}

/// The same uid and user of another issuer is another binding: the old one ends before the new one begins.
#[test]
fn a_change_of_issuer_is_no_change_of_a_name() {
    let mut world = World::new().with_service().settled();
    configure(&mut world, &entry("account = \"jenkins\"\nprincipals = [\"deploy-bot\"]", "deploy-bot"));
    let contents: Vec<_> = world
        .plan()
        .steps
        .into_iter()
        .filter_map(|planned| match planned.step {
            Step::WriteFile { file: ManagedFile::Services, content } => {
                Some(String::from_utf8(content).unwrap())
            }
            _ => None,
        })
        .collect();
    assert_eq!(contents.len(), 2);
    assert!(!contents[0].contains("112") && contents[1].contains("step-ca"), "{contents:?}");
}

#[test]
fn what_the_operator_bound_holds_without_the_backend() {
    let mut world = World::new().with_service();
    world.services.push(json!({"id": "s2", "user": "u9", "uid": 113}));
    configure(&mut world, &entry("account = \"jenkins\"", "deploy"));
    world.config.policy.on_stale = hostward_config::OnStale::Lock;
    world.settle();
    world.pass(TimeDelta::days(32));
    assert_eq!(bound(&world.desired()), [(112, "deploy", "step-ca")], "locked");

    let stays = resolve_without_policy(&world.config, &world.facts);
    let plan = unenroll(&stays, &world.facts, world.now);
    model::take_all(&plan, &mut world.facts);
    assert_eq!(world.facts.files.keys().copied().collect::<Vec<_>>(), FILES, "left the project");
    let (_, plan) = alone(&world);
    assert_eq!(plan.steps, []);
}

#[test]
fn the_file_of_an_earlier_version_is_the_backends() {
    let read: BoundService =
        serde_json::from_value(json!({"uid": 112, "user": "deploy", "principals": ["deploy"]})).unwrap();
    assert_eq!(read.issuer, ServiceIssuer::Backend);
    assert!(!serde_json::to_string(&read).unwrap().contains("issuer"), "and is not written anew for it");
}
