//! Whatever the host enforces against a signed policy: each row is one entry that is refused, while the rest of the
//! policy takes effect.

use hostward_plan::facts::SudoDialect;
use hostward_plan::ledger::Person;
use hostward_protocol::document::SubidRange;
use hostward_protocol::report::Finding;
use serde_json::{Value, json};

use crate::world::{CA_1, World, group, user};

/// A row: the entry, put into the world by its maker, and the code of the finding.
type Row = (Box<dyn Fn(&mut World)>, &'static str);

/// A user who has a group and a grant here.
fn with_user(entry: Value) -> Box<dyn Fn(&mut World)> {
    Box::new(move |world| {
        let id = entry["id"].as_str().unwrap_or("h").to_owned();
        world.users.push(entry.clone());
        world.groups.push(group("gh", "hostile", 70900, &[&id]));
        world.grants.push(json!({"id": "rh", "group": "gh", "login": true}));
    })
}

fn named(name: &str) -> Value {
    json!({"id": "h", "name": name, "uid": 70900, "gid": 70900, "principals": ["h"]})
}

fn numbered(uid: u64) -> Value {
    json!({"id": "h", "name": "heidi", "uid": uid, "gid": 70900, "principals": ["h"]})
}

fn having(member: &str, value: Value) -> Value {
    let mut entry = numbered(70900);
    entry[member] = value;
    entry
}

/// A group that has a member who is exposed, and that has sudo rules.
fn with_group(name: &str, gid: u64) -> Box<dyn Fn(&mut World)> {
    let entry = group("gh", name, gid, &["u1"]);
    Box::new(move |world| {
        world.groups.push(entry.clone());
        world.grants.push(json!({"id": "rh", "group": "gh", "entitlements": ["web"]}));
    })
}

fn with_grant(grant: Value) -> Box<dyn Fn(&mut World)> {
    Box::new(move |world| world.grants.push(grant.clone()))
}

/// An entitlement that alice has.
fn with_entitlement(members: Value) -> Box<dyn Fn(&mut World)> {
    Box::new(move |world| {
        let mut entry = json!({"name": "hostile", "commands": [{"executable": "/usr/bin/true"}]});
        for (key, value) in members.as_object().unwrap() {
            entry[key] = value.clone();
        }
        world.entitlements.push(entry);
        world.grants.push(json!({"id": "rh", "group": "g10", "entitlements": ["hostile"]}));
    })
}

fn with_command(command: Value) -> Box<dyn Fn(&mut World)> {
    with_entitlement(json!({"commands": [command]}))
}

fn with_ssh(member: &str, value: Value) -> Box<dyn Fn(&mut World)> {
    let member = member.to_owned();
    Box::new(move |world| {
        world.ssh["revoked"] = json!({"serials": [], "key_ids": [], "keys": []});
        let list = match member.as_str() {
            "user_cas" => &mut world.ssh["user_cas"],
            "host_cas" => {
                world.ssh["host_cas"] = json!([]);
                &mut world.ssh["host_cas"]
            }
            other => &mut world.ssh["revoked"][other],
        };
        list.as_array_mut().unwrap().push(value.clone());
    })
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut row = |entry: Box<dyn Fn(&mut World)>, code| rows.push((entry, code));

    // Names.
    for name in [
        "-rf",
        "a:b",
        "é",
        "a\nroot",
        "",
        "Alice",
        "..",
        "a/b",
        "a b",
        "$(id)",
        "a\u{0}b",
        "%sudo",
        "abcdefghijklmnopqrstuvwxyzabcdefg",
    ] {
        row(with_user(named(name)), "user-name-invalid");
    }
    for name in ["root", "daemon", "www-data", "nobody", "docker", "hostward", "hostward-users", "systemd-x"]
    {
        row(with_user(named(name)), "user-name-reserved");
    }
    row(with_user(named("olga")), "user-name-exists-locally");
    row(with_user(named("team")), "user-name-exists-locally");

    // Ids.
    for uid in
        [0, 1, 999, 60_100, 60_550, 60_600, 61_184, 65_519, 65_534, 65_535, 600_000, 4_294_967_295, 1 << 32]
    {
        row(with_user(numbered(uid)), "user-id-reserved");
    }
    row(with_user(numbered(70_500)), "user-id-exists-locally");
    row(with_user(numbered(100_001)), "user-id-subordinate");
    row(with_user(numbered(60_900)), "user-id-outside-ranges");
    row(with_user(numbered(69_999)), "user-id-was-another");
    for (start, count, code) in [
        (600_000_000, 0, "subids-empty"),
        (0, 65_536, "subids-reserved"),
        (65_535, 1, "subids-reserved"),
        (2_147_352_575, 2, "subids-reserved"),
        (4_294_967_295, 1, "subids-reserved"),
        (600_000_000, u64::MAX, "subids-reserved"),
        (u64::MAX, u64::MAX, "subids-reserved"),
        (70_500, 1, "subids-hold-local"),
        (70_550, 51, "subids-hold-local"),
        (70_001, 1, "subids-hold-id"),
        (70_090, 11, "subids-hold-id"),
        (66_000, 4_000, "subids-hold-id"),
        (165_535, 1, "subids-exist-locally"),
        (90_000, 65_536, "subids-exist-locally"),
        (700_065_535, 1, "subids-were-anothers"),
        (600_000_000, 200_000_000, "subids-were-anothers"),
    ] {
        row(with_user(having("subids", json!([{"start": start, "count": count}]))), code);
    }
    row(
        with_user(having(
            "subids",
            json!([{"start": 600_000_000, "count": 9}, {"start": 600_000_008, "count": 9}]),
        )),
        "subids-shared",
    );
    row(
        Box::new(|world| {
            let range = json!([{"start": 600_000_000, "count": 9}]);
            with_user(having("subids", range.clone()))(world);
            world.user_mut("u3")["subids"] = range;
        }),
        "subids-shared",
    );
    row(with_user(having("subids", json!([{"start": -1, "count": 1}]))), "user-malformed");
    row(with_user(having("uid", json!(-1))), "user-malformed");
    row(with_user(having("uid", json!("70900"))), "user-malformed");
    row(with_user(having("name", json!(["x"]))), "user-malformed");
    row(with_user(json!(17)), "user-malformed");
    row(with_user(having("gid", json!(0))), "user-primary-group-unknown");
    row(with_user(having("gid", json!(994))), "user-primary-group-unknown");
    row(
        Box::new(|world| {
            with_user(having("gid", json!(27)))(world);
            world.groups.push(group("gs", "powers", 27, &[]));
        }),
        "user-primary-group-refused",
    );
    for (id, name, uid, code) in [
        ("x", "heidi", 70_901, "user-name-duplicate"),
        ("x", "other", 70_900, "user-uid-duplicate"),
        ("h", "other", 70_901, "user-id-duplicate"),
    ] {
        row(
            Box::new(move |world| {
                with_user(numbered(70_900))(world);
                world.users.push(user(id, name, uid));
            }),
            code,
        );
    }

    // Homes, shells, comments, principals.
    for home in [
        "/",
        "/etc",
        "/home/../root",
        "/home",
        "//home/x",
        "/home/h:x",
        "/home/h\nx",
        "",
        "h",
        "/root",
        "/home/.ssh",
    ] {
        row(with_user(having("home", json!(home))), "user-home-invalid");
    }
    row(with_user(having("home", json!("/srv/h"))), "user-home-outside-parents");
    row(with_user(having("home", json!("/home/olga"))), "user-home-exists-locally");
    row(
        Box::new(|world| {
            with_user(having("home", json!("/home/shared")))(world);
            let mut other = user("x", "other", 70_901);
            other["gid"] = json!(70_900);
            other["home"] = json!("/home/shared/");
            world.users.push(other);
            world.groups.last_mut().unwrap()["members"] = json!(["h", "x"]);
        }),
        "user-home-shared",
    );
    for shell in ["/bin/nosuch", "", "bash", "/bin/bash\n", "/bin/bash:x"] {
        row(with_user(having("shell", json!(shell))), "user-shell-not-listed");
    }
    for gecos in ["a:b", "a\nroot::0:0::/:/bin/sh", "\u{1b}]0;x\u{7}", "\u{202e}x"] {
        row(with_user(having("gecos", json!(gecos))), "user-gecos-invalid");
    }
    for principal in ["a b", "command=\"id\" x", "", "#x", "a\nroot", "a,b"] {
        row(with_user(having("principals", json!([principal]))), "principal-invalid");
    }
    row(
        Box::new(|world| {
            with_user(numbered(70_900))(world);
            world
                .users
                .push(json!({"id": "x", "name": "x", "uid": 70901, "gid": 70901, "principals": ["h"]}));
        }),
        "principal-shared",
    );

    // Groups.
    for name in
        ["sudo", "docker", "wheel", "lxd", "hostward-users", "hostward-principals", "root", "shadow", "disk"]
    {
        row(with_group(name, 70_901), "group-name-reserved");
    }
    row(with_group("team", 70_901), "group-name-exists-locally");
    row(with_group("olga", 70_901), "group-name-exists-locally");
    row(with_group("a:b", 70_901), "group-name-invalid");
    row(with_group("powers", 27), "group-id-reserved");
    row(with_group("powers", 994), "group-id-reserved");
    row(with_group("powers", 70_600), "group-id-exists-locally");
    row(with_group("powers", 1500), "group-id-exists-locally");
    row(with_group("powers", 100_001), "group-id-subordinate");
    row(with_group("powers", 0), "group-id-reserved");
    row(with_group("docker", 70_901), "grant-group-refused");
    for (name, gid, code) in
        [("gx", 70_900, "group-gid-duplicate"), ("hostile", 70_901, "group-name-duplicate")]
    {
        row(
            Box::new(move |world| {
                with_user(numbered(70_900))(world);
                world.groups.push(group("gx", name, gid, &[]));
            }),
            code,
        );
    }
    row(
        Box::new(|world| world.groups.push(json!({"id": "gh", "name": "x", "gid": "70"}))),
        "group-malformed",
    );

    // Grants.
    let grant = |members: Value| {
        let mut grant = json!({"id": "rh", "group": "g10", "login": true});
        for (key, value) in members.as_object().unwrap() {
            grant[key] = value.clone();
        }
        with_grant(grant)
    };
    for hosts in ["role!=db", "labels.role=(", "labels.role=web;", "labels.a in", "cloud.provider!=aws"] {
        row(grant(json!({"hosts": hosts})), "grant-selector-invalid");
    }
    row(grant(json!({"group": "nobody"})), "grant-group-unknown");
    row(grant(json!({"local_groups": ["sudo"]})), "local-group-not-allowed");
    row(grant(json!({"local_groups": ["docker\n"]})), "local-group-not-allowed");
    row(grant(json!({"local_groups": ["hostward"]})), "local-group-reserved");
    row(grant(json!({"local_groups": ["root"]})), "local-group-root");
    row(grant(json!({"entitlements": ["nosuch"]})), "grant-entitlement-unknown");
    row(
        grant(json!({"from": "2030-01-01T00:00:00Z", "until": "2029-01-01T00:00:00Z"})),
        "grant-window-empty",
    );
    row(grant(json!({"from": "soon"})), "grant-malformed");
    row(
        Box::new(|world| {
            with_grant(json!({"id": "rh", "group": "g10"}))(world);
            with_grant(json!({"id": "rh", "group": "g11", "login": true}))(world);
        }),
        "grant-id-duplicate",
    );

    // Entitlements.
    let long = "x".repeat(100_000);
    for (command, code) in [
        (json!({"executable": "ALL"}), "command-path-invalid"),
        (json!({"executable": "systemctl"}), "command-path-invalid"),
        (json!({"executable": "/bin/a\nALL ALL=(ALL) ALL"}), "command-path-invalid"),
        (json!({"executable": "/bin/a, /bin/sh"}), "command-path-invalid"),
        (json!({"executable": "/bin/*"}), "command-path-invalid"),
        (json!({"executable": "/bin/a\\"}), "command-path-invalid"),
        (json!({"executable": "!/bin/a"}), "command-path-invalid"),
        (json!({"executable": "/bin/../bin/sh"}), "command-path-invalid"),
        (json!({"directory": "/opt/tools"}), "command-path-invalid"),
        (json!({"directory": "/"}), "command-path-invalid"),
        (json!({"executable": long}), "command-too-long"),
        (json!({"executable": "/bin/a", "arguments": [long]}), "command-too-long"),
        (json!({"executable": "/bin/a", "arguments": ["a b"]}), "command-argument-blank"),
        (json!({"executable": "/bin/a", "arguments": ["a\nALL"]}), "command-argument-control"),
        (json!({"executable": "/bin/a", "arguments": ["\\"]}), "command-argument-backslash"),
        (json!({"executable": "/bin/a", "arguments": ["*"]}), "command-argument-pattern"),
        (json!({"executable": "/bin/a", "arguments": ["^.*$"]}), "command-argument-pattern"),
        (json!({"executable": "/bin/a", "arguments": [""]}), "command-argument-empty"),
        (json!({"executable": "/bin/a", "arguments": ["\""]}), "command-argument-quote"),
        (json!({"executable": "/bin/a", "arguments": "every"}), "command-malformed"),
        (json!({"raw": "ALL"}), "command-raw-not-allowed"),
        (json!("ALL"), "command-malformed"),
    ] {
        row(with_command(command), code);
    }
    row(with_entitlement(json!({"run_as": {"user": "ALL"}})), "entitlement-run-as-invalid");
    row(with_entitlement(json!({"run_as": {"group": "a) ALL"}})), "entitlement-run-as-invalid");
    row(with_entitlement(json!({"env_keep": ["LD_PRELOAD"]})), "entitlement-variable-harmful");
    row(with_entitlement(json!({"env_keep": ["PATH"]})), "entitlement-variable-harmful");
    row(with_entitlement(json!({"env_keep": ["BASH_FUNC_x"]})), "entitlement-variable-harmful");
    row(with_entitlement(json!({"env_keep": ["A\" , !authenticate"]})), "entitlement-variable-invalid");
    row(with_entitlement(json!({"env_delete": ["*"]})), "entitlement-variable-invalid");
    row(with_entitlement(json!({"commands": "all"})), "entitlement-malformed");
    row(
        Box::new(|world| {
            with_entitlement(json!({}))(world);
            world.entitlements.push(json!({"name": "hostile", "commands": [{"executable": "/bin/sh"}]}));
        }),
        "grant-entitlement-ambiguous",
    );
    row(
        Box::new(|world| {
            world.facts.sudo = vec![SudoDialect::Sudo, SudoDialect::SudoRs];
            with_entitlement(json!({"no_exec": true}))(world);
        }),
        "entitlement-no-exec-unsupported",
    );

    // ssh.
    for ca in ["", "no key", "ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAIQ==", "-----BEGIN"] {
        row(with_ssh("user_cas", json!(ca)), "user-ca-invalid");
    }
    row(with_ssh("user_cas", json!(format!("command=\"id\" {CA_1}"))), "user-ca-invalid");
    row(with_ssh("user_cas", json!(format!("{CA_1}\n{CA_1}"))), "user-ca-invalid");
    row(with_ssh("user_cas", json!(7)), "user-ca-malformed");
    for ca in ["", "no key", "ssh-ed25519 AAAA"] {
        row(with_ssh("host_cas", json!(ca)), "host-ca-invalid");
    }
    row(with_ssh("host_cas", json!(7)), "host-ca-malformed");
    row(with_ssh("serials", json!(0)), "revoked-serial-invalid");
    row(with_ssh("serials", json!("7\nserial: 1-9")), "revoked-serial-invalid");
    row(with_ssh("key_ids", json!("a\nid: b")), "revoked-key-id-invalid");
    row(with_ssh("key_ids", json!("a#b")), "revoked-key-id-invalid");
    row(with_ssh("keys", json!("nonsense")), "revoked-key-invalid");

    // Services.
    let service = |member: &str, value: Value| {
        let mut service = json!({"id": "sh", "user": "u1", "uid": 112});
        service[member] = value;
        with_services(vec![service])
    };
    for uid in [0, 995, 61_184, 65_519, 65_534, 65_535, 4_294_967_295_u64, 1 << 32, u64::MAX] {
        row(service("uid", json!(uid)), "service-uid-reserved");
    }
    row(service("uid", json!(100_001)), "service-uid-subordinate");
    row(
        Box::new(|world| {
            world.user_mut("u3")["subids"] = json!([{"start": 200_000, "count": 65_536}]);
            world.services = vec![json!({"id": "sh", "user": "u1", "uid": 265_535})];
        }),
        "service-uid-subordinate",
    );
    row(service("uid", json!(70_001)), "service-uid-managed");
    row(service("uid", json!(69_999)), "service-uid-managed");
    row(service("uid", json!(-1)), "service-malformed");
    row(service("hosts", json!("role=web")), "service-selector-invalid");
    row(service("user", json!("nobody")), "service-user-unknown");
    row(
        with_services(vec![
            json!({"id": "sh", "user": "u1", "uid": 112}),
            json!({"id": "si", "user": "u2", "uid": 112}),
        ]),
        "service-uid-duplicate",
    );
    row(
        with_services(vec![
            json!({"id": "sh", "user": "u1", "uid": 112}),
            json!({"id": "sh", "user": "u1", "uid": 113}),
        ]),
        "service-id-duplicate",
    );
    for (members, code) in [
        (json!({"name": "root"}), "service-user-refused"),
        (json!({"principals": []}), "service-user-without-principals"),
        (json!({"principals": ["a b"]}), "principal-invalid"),
        (json!({"principals": ["carol", "bot"]}), "principal-shared"),
    ] {
        row(
            Box::new(move |world| {
                let mut bot = user("ub", "bot", 70_009);
                for (key, value) in members.as_object().unwrap() {
                    bot[key] = value.clone();
                }
                world.users.push(bot);
                world.services = vec![json!({"id": "sh", "user": "ub", "uid": 112})];
            }),
            code,
        );
    }
    rows
}

fn with_services(services: Vec<Value>) -> Box<dyn Fn(&mut World)> {
    Box::new(move |world| {
        world.services = services.clone();
    })
}

fn base() -> World {
    let mut world = World::new();
    world.config.accounts.allow_local_groups = vec!["hostward".into(), "root".into()];
    let former = Person {
        id: "gone".into(),
        name: "gone".into(),
        home: "/home/gone".into(),
        left: None,
        subids: vec![SubidRange { start: 700_000_000, count: 65_536 }],
        home_settled: true,
    };
    world.facts.ledger.people.insert(69_999, former);
    world
}

#[test]
fn each_is_refused_and_the_rest_applied() {
    let before = base().desired();
    assert_eq!(before.refusals, []);
    let rows = rows();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    for (number, (put, code)) in rows.iter().enumerate() {
        let mut world = base();
        put(&mut world);
        let desired = world.desired();
        let what = format!("row {number}, {code}: {:#?}", desired.refusals);
        let finding = desired.refusals.iter().find(|finding| finding.code == *code);
        let finding = finding.unwrap_or_else(|| panic!("not refused: {what}"));
        is_presentable(finding);
        desired.refusals.iter().chain(&desired.warnings).for_each(is_presentable);

        for user in &before.accounts.users {
            assert!(desired.accounts.users.contains(user), "lost {}: {what}", user.name);
        }
        for group in &before.accounts.groups {
            let found = desired.accounts.groups.iter().find(|found| found.gid == group.gid);
            assert_eq!(found.map(|found| &found.name), Some(&group.name), "{what}");
        }
        let rules = desired.sudoers.unwrap_or_default();
        for line in before.sudoers.as_deref().unwrap_or_default().lines().filter(|line| line.starts_with('%'))
        {
            assert!(rules.lines().any(|found| found == line), "lost `{line}`: {what}");
        }
        assert_eq!(desired.user_ca, before.user_ca, "{what}");
        if code.starts_with("user-") && !code.starts_with("user-ca") {
            assert_eq!(desired.accounts.users, before.accounts.users, "{what}");
        }
    }
}

/// One line of printable ASCII, with something to do.
fn is_presentable(finding: &Finding) {
    for text in [&finding.subject, &finding.message, &finding.mend] {
        assert!(!text.is_empty() && text.len() < 1000, "{finding:#?}");
        assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{finding:#?}");
    }
}

#[test]
fn a_refusal_does_not_depend_on_order() {
    for (put, code) in rows() {
        let mut world = base();
        put(&mut world);
        let forwards = world.desired();
        for list in [
            &mut world.users,
            &mut world.groups,
            &mut world.grants,
            &mut world.entitlements,
            &mut world.services,
        ] {
            list.reverse();
        }
        let backwards = world.desired();
        assert_eq!(forwards, backwards, "{code}");
    }
}

#[test]
fn raw_stays_one_command() {
    for raw in
        ["/bin/a, ALL", "/bin/a\nALL", "NOPASSWD: ALL", "(ALL) ALL", "/bin/a \\", "/bin/a #", "@include /x"]
    {
        let mut world = base();
        world.config.sudo.allow_raw = true;
        with_command(json!({"raw": raw}))(&mut world);
        let desired = world.desired();
        assert!(desired.refusals.iter().any(|f| f.code == "command-raw-invalid"), "{raw}");
        assert!(!desired.sudoers.unwrap().contains("hostile"), "{raw}");
    }
}

#[test]
fn an_empty_project_must_be_meant() {
    let mut world = base();
    world.users.clear();
    assert!(world.read().is_err());
    world.settings = json!({"empty": true});
    assert_eq!(world.desired().accounts.users, []);
}
