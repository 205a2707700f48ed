use hostward_protocol::document::{Arguments, Command, Grant, Group, HomeRemoval, User};

use super::*;

const HEAD: &str = "[project]\nid = \"acme\"\n";

fn parse(text: &str) -> Policy {
    Policy::parse(&format!("{HEAD}{text}")).unwrap()
}

fn error(text: &str) -> String {
    Policy::parse(&format!("{HEAD}{text}")).unwrap_err().to_string()
}

fn read<T: serde::de::DeserializeOwned>(items: &[Item]) -> Vec<T> {
    items.iter().map(|item| serde_json::from_str(&item.json).unwrap()).collect()
}

#[test]
fn the_example_means_what_its_comments_say() {
    let policy = Policy::parse(include_str!("../../examples/team.toml")).unwrap();
    assert_eq!(policy.settings, document::Settings::default());
    let users: Vec<User> = read(&policy.users);
    let users: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.uid, user.gid)).collect();
    assert_eq!(users, [("alice", 70001, 70001), ("bob", 70002, 70002), ("carol", 70003, 70003)]);
    let entitlement: document::Entitlement = serde_json::from_str(&policy.entitlements[0].json).unwrap();
    let arguments: Vec<_> = entitlement
        .commands
        .iter()
        .map(|command| match command.shaped() {
            Some(Command::Executable { arguments, .. }) => arguments.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(arguments, [Arguments::Any, Arguments::None]);
}

#[test]
fn absent_members_have_defaults_and_present_ones_count() {
    let policy = parse(
        r#"
        [settings]
        default_shell = "/bin/sh"
        report_interval = "5m"
        removal = { homes = "archive", grace = "0s" }
        empty = true
        [users.alice]
        uid = 70001
        [users.bob]
        id = "u1"
        uid = 70002
        gid = 71001
        principals = ["b", "bob@example"]
        expires = 2031-01-01T02:00:00+02:00
        "#,
    );
    let settings = &policy.settings;
    assert_eq!((settings.report_interval, settings.empty), (300, true));
    assert_eq!((settings.removal.homes, settings.removal.grace), (HomeRemoval::Archive, 0));
    assert_eq!((settings.default_shell.as_str(), settings.certificate_only), ("/bin/sh", true));
    let users: Vec<User> = read(&policy.users);
    assert_eq!(users[0].principals, ["alice"]);
    assert_eq!((users[1].id.as_str(), users[1].gid), ("u1", 71001));
    assert_eq!(users[1].principals, ["b", "bob@example"]);
    assert_eq!(users[1].expires.unwrap().to_rfc3339(), "2031-01-01T00:00:00+00:00");
    assert_eq!(policy.principals["bob"], users[1].principals);
}

#[test]
fn a_user_without_a_primary_group_gets_one() {
    let policy = parse(
        r#"
        [users.own]
        uid = 70001
        [users.given]
        uid = 70002
        gid = 71001
        [users.taken]
        uid = 70003
        [groups.number]
        gid = 70003
        [users.named]
        uid = 70004
        [groups.named]
        gid = 79999
        "#,
    );
    let groups: Vec<Group> = read(&policy.groups);
    let groups: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.gid)).collect();
    assert_eq!(groups, [("own", 70001), ("named", 79999), ("number", 70003)]);
}

#[test]
fn ids_stay_when_everything_else_changes() {
    let before = parse("[users.alice]\nuid = 70001\n[groups.admins]\ngid = 71001\nmembers = [\"alice\"]");
    let after =
        parse("[users.aaron]\nuid = 1\n[users.alice]\nuid = 80000\ngecos = \"x\"\n[groups.admins]\ngid = 5");
    let alice = |policy: &Policy| read::<User>(&policy.users).into_iter().find(|u| u.name == "alice");
    assert_eq!(alice(&before).unwrap().id, alice(&after).unwrap().id);
    let admins = |policy: &Policy| read::<Group>(&policy.groups).into_iter().find(|g| g.name == "admins");
    assert_eq!(admins(&before).unwrap().id, admins(&after).unwrap().id);
    assert_eq!(admins(&before).unwrap().members, [alice(&before).unwrap().id]);
}

#[test]
fn equal_grants_have_ids_of_their_own() {
    let grant = "[[grants]]\ngroup = \"admins\"\nlogin = true\n";
    let policy = parse(&format!("[groups.admins]\ngid = 71001\n{grant}{grant}{grant}"));
    let mut ids: Vec<String> = read::<Grant>(&policy.grants).into_iter().map(|grant| grant.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, line, expected) in [
        ("\n[[grants]]\ngroup = \"ops\"", 5, "there is no [groups.ops]"),
        (
            "[groups.a]\ngid = 1\n[[grants]]\ngroup = \"a\"\nentitlements = [\"x\"]",
            7,
            "there is no [entitlements.x]",
        ),
        ("[groups.a]\ngid = 1\nmembers = [\n\"x\",\n]", 6, "there is no [users.x]"),
        ("[entitlements.e]\ncommands = [{}]", 4, "exactly one of `executable`"),
        ("[entitlements.e]\ncommands = [{ raw = \"a\", arguments = \"any\" }]", 4, "exactly one of"),
        ("[entitlements.e]\ncommands = [{ raw = \"a\", directory = \"/b/\" }]", 4, "exactly one of"),
        ("[raw]\nusers = ['{\"a\":']", 4, "a raw entry must be JSON"),
    ] {
        let error = error(text);
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(expected), "{error}");
    }
    for (text, expected) in [
        ("[users.a]\nuid = -1", "line 4"),
        ("[users.a]\nuid = 1\nexpires = 2030-01-01", "not a date and time with a zone"),
        ("[settings]\nreport_interval = \"often\"", "line 4"),
        ("[entitlements.e]\ncommands = [{ executable = \"/a\", argument = \"none\" }]", "`argument`"),
    ] {
        let error = error(text);
        assert!(error.contains(expected), "{error}");
    }
    let error = Policy::parse("[project]\nid = \"a/b\"").unwrap_err().to_string();
    assert!(error.starts_with("line 2: the project id"), "{error}");
}
