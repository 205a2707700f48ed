//! What holds for every policy and every host.

use std::collections::{BTreeMap, BTreeSet};

use hostward_plan::Step;
use hostward_plan::facts::{Accounts, DatabaseFact, Facts, LocalUser, ManagedFile, OfferedCertificates};
use hostward_plan::step::Direction;
use hostward_protocol::service::{BoundService, BoundServices};
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::{Value, json};

use crate::model;
use crate::world::{CA_1, CA_2, World, group, user};

/// A policy that differs from another one in everything that gives or takes.
#[derive(Clone, Debug)]
struct Variant {
    members: Vec<Vec<usize>>,
    grants: Vec<usize>,
    commands: Vec<usize>,
    cas: Vec<usize>,
    serials: Vec<u64>,
    principals: Vec<Vec<usize>>,
    renamed: Option<usize>,
    certificate_only: bool,
    manage_sshd: bool,
    /// Who stands for whom: none, or the n-th person, for each of two accounts.
    services: Vec<Option<usize>>,
}

const PEOPLE: usize = 5;

fn variant() -> impl Strategy<Value = Variant> {
    let all = |n: usize| subsequence((0..n).collect::<Vec<_>>(), 0..=n);
    (
        (proptest::collection::vec(all(PEOPLE), 3), all(6), all(4), all(2)),
        (
            proptest::collection::vec(0..5u64, 0..3),
            proptest::collection::vec(all(2), PEOPLE),
            proptest::option::of(0..PEOPLE),
            any::<bool>(),
            proptest::bool::weighted(0.9),
        ),
        proptest::collection::vec(proptest::option::of(0..PEOPLE), 2),
    )
        .prop_map(
            |(
                (members, grants, commands, cas),
                (serials, principals, renamed, certificate_only, manage_sshd),
                services,
            )| {
                Variant {
                    members,
                    grants,
                    commands,
                    cas,
                    serials,
                    principals,
                    renamed,
                    certificate_only,
                    manage_sshd,
                    services,
                }
            },
        )
}

impl Variant {
    /// The same host, with this policy.
    fn of(&self, facts: &Facts) -> World {
        let mut world = World::new();
        world.facts = facts.clone();
        world.settings = json!({"certificate_only": self.certificate_only});
        world.config.sshd.manage = self.manage_sshd;
        world.config.accounts.allow_local_groups = vec!["video".into()];
        world.users = (0..PEOPLE)
            .map(|n| {
                let name = if self.renamed == Some(n) { format!("new{n}") } else { format!("p{n}") };
                let mut entry = user(&format!("u{n}"), &name, 70_000 + n as u64);
                entry["gid"] = json!(70_100);
                entry["home"] = json!(format!("/home/p{n}"));
                entry["principals"] =
                    self.principals[n].iter().map(|k| json!(format!("p{n}-{k}"))).collect::<Value>();
                entry
            })
            .collect();
        world.groups = vec![group("all", "everybody", 70_100, &[])];
        for (n, members) in self.members.iter().enumerate() {
            let members: Vec<String> = members.iter().map(|member| format!("u{member}")).collect();
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            world.groups.push(group(&format!("g{n}"), &format!("team{n}"), 70_200 + n as u64, &members));
        }
        let grants = [
            json!({"id": "r0", "group": "g0", "login": true}),
            json!({"id": "r1", "group": "g1", "login": true, "entitlements": ["a"]}),
            json!({"id": "r2", "group": "g0", "entitlements": ["a", "b"]}),
            json!({"id": "r3", "group": "g2", "entitlements": ["b"], "local_groups": ["video"]}),
            json!({"id": "r4", "group": "g2", "login": true, "until": "2027-06-01T00:00:00Z"}),
            json!({"id": "r5", "group": "g1", "local_groups": ["video"]}),
        ];
        world.grants = self.grants.iter().map(|n| grants[*n].clone()).collect();
        let commands: Vec<Value> =
            self.commands.iter().map(|n| json!({"executable": format!("/opt/{n}")})).collect();
        world.entitlements = vec![
            json!({"name": "a", "commands": commands, "env_keep": ["LANG"]}),
            json!({"name": "b", "commands": [{"directory": "/opt/b/"}]}),
        ];
        let cas: Vec<&str> = self.cas.iter().map(|n| [CA_1, CA_2][*n]).collect();
        let serials: Vec<Value> = self.serials.iter().map(|n| json!(n + 1)).collect();
        world.ssh = json!({"schema": "hostward/ssh/1", "user_cas": cas, "revoked": {"serials": serials}});
        let service = |(n, user): (usize, &Option<usize>)| {
            user.map(|user| json!({"id": format!("s{n}"), "user": format!("u{user}"), "uid": 112 + n}))
        };
        world.services = self.services.iter().enumerate().filter_map(service).collect();
        world
    }
}

/// Who has what, each right as a word.
fn rights(facts: &Facts) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    let none = Accounts::default();
    let accounts = match &facts.database {
        DatabaseFact::Present(accounts) => accounts,
        _ => &none,
    };
    for user in &accounts.users {
        rights.insert(format!("user {}", user.uid));
        rights.extend(user.principals.iter().map(|p| format!("{} principal {p}", user.uid)));
        rights.extend(user.local_gids.iter().map(|gid| format!("{} gid {gid}", user.uid)));
        rights.extend(user.subids.iter().map(|range| format!("{} subordinate {}", user.uid, range.start)));
        let until = if user.valid_until == 0 { u64::MAX } else { user.valid_until };
        rights.extend(
            [1_811_808_000, u64::MAX]
                .iter()
                .filter(|t| **t <= until)
                .map(|t| format!("{} until {t}", user.uid)),
        );
    }
    for group in &accounts.groups {
        let uid = |member: &u32| accounts.users[*member as usize].uid;
        rights.extend(group.members.iter().map(|member| format!("{} gid {}", uid(member), group.gid)));
    }
    let mut lines = |file: ManagedFile, word: &str| {
        let content = facts.files.get(&file).map(|fact| String::from_utf8_lossy(&fact.content).into_owned());
        for line in
            content.unwrap_or_default().lines().filter(|line| !line.starts_with("# ") && !line.is_empty())
        {
            rights.insert(format!("{word} {line}"));
        }
    };
    lines(ManagedFile::UserCa, "ca");
    if let Some(fact) = facts.files.get(&ManagedFile::Services) {
        let bound: BoundServices = serde_json::from_slice(&fact.content).unwrap();
        for BoundService { uid, user, principals, issuer } in bound.services {
            let by = issuer.word();
            rights.extend(
                principals.iter().map(|principal| format!("{uid} for {user} as {principal} by {by}")),
            );
        }
    }
    rights.extend(sudo_rights(facts));
    rights
}

/// Who may run what as sudo reads the file: each rule for each uid in the aliases that it names, and whatever else
/// is in force for everybody.
fn sudo_rights(facts: &Facts) -> BTreeSet<String> {
    let content = facts.files.get(&ManagedFile::Sudoers).map(|fact| String::from_utf8_lossy(&fact.content));
    let content = content.unwrap_or_default();
    let mut people: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut rights = BTreeSet::new();
    for line in content.lines().filter(|line| !line.starts_with("# ") && !line.is_empty()) {
        if let Some((alias, uids)) = line.strip_prefix("User_Alias ").and_then(|rest| rest.split_once(" = "))
        {
            people.insert(alias, uids.split(", ").collect());
        } else if let Some((aliases, rule)) = line.split_once(" ALL=") {
            for uid in aliases.split(", ").flat_map(|alias| &people[alias]) {
                rights.insert(format!("sudo {uid} {rule}"));
            }
        } else {
            rights.insert(format!("sudo {line}"));
        }
    }
    rights
}

proptest! {
    /// From any policy to any other: narrowing steps come first and only take; after them nobody has what not both
    /// policies give; at the end everybody has what the new one gives; and then there is nothing to do.
    #[test]
    fn access_is_narrowed_before_it_is_widened(old in variant(), new in variant(), running: bool) {
        let mut world = old.of(&World::new().facts);
        world.settle();
        let before = rights(&world.facts);
        let mut world = new.of(&world.facts);
        if running {
            world.facts.running = (70_000..70_000 + PEOPLE as u32).collect();
        }
        let mut after = world.clone();
        after.settle();
        let wanted = rights(&after.facts);

        let plan = world.plan();
        prop_assert!(plan.steps.is_sorted_by_key(|planned| planned.direction == Direction::Widen));
        model::remember(&plan, &mut world.facts);
        let mut known = rights(&world.facts);
        prop_assert_eq!(&known, &before);
        for planned in &plan.steps {
            if planned.direction == Direction::Widen {
                let too_much: Vec<_> = known.difference(&wanted).collect();
                prop_assert!(too_much.is_empty(), "before {}: {:?}", planned, too_much);
            }
            model::take(planned, &mut world.facts);
            let now = rights(&world.facts);
            let legal: BTreeSet<String> = match planned.direction {
                Direction::Narrow => known.clone(),
                Direction::Widen => wanted.clone(),
            };
            let gained: Vec<_> = now.difference(&legal).collect();
            prop_assert!(gained.is_empty(), "{}: {:?}", planned, gained);
            known = now;
        }
        prop_assert_eq!(known, wanted);
        let again = world.plan();
        prop_assert_eq!(again.steps, vec![]);
        prop_assert_eq!(again.drift, vec![]);
    }

    /// What names a file is never there without it, and trust is never there without certificate-only login.
    #[test]
    fn sshd_never_misses_a_file(old in variant(), new in variant(), include: bool) {
        let mut base = World::new();
        base.facts.sshd.as_mut().unwrap().includes_directory = include;
        let mut world = old.of(&base.facts);
        world.settle();
        let mut world = new.of(&world.facts);
        let plan = world.plan();
        model::remember(&plan, &mut world.facts);
        for planned in &plan.steps {
            model::take(planned, &mut world.facts);
            let has = |file| world.facts.files.contains_key(&file);
            if has(ManagedFile::SshdDropIn) {
                prop_assert!(has(ManagedFile::Krl) && has(ManagedFile::UserCa), "after {}", planned);
            }
        }
        let changes = plan.steps.iter().rposition(|planned| {
            matches!(&planned.step, Step::EditSshdMain { .. } | Step::WriteFile { file: ManagedFile::SshdDropIn, .. }
                | Step::RemoveFile { file: ManagedFile::SshdDropIn })
        });
        let reload = plan.steps.iter().position(|planned| planned.step == Step::ReloadSshd);
        prop_assert_eq!(changes.is_some(), reload.is_some());
        prop_assert!(changes <= reload);
    }

    /// Whoever lost login has their sessions ended, after the accounts are gone; nobody else has.
    #[test]
    fn sessions_end_for_those_who_left(old in variant(), new in variant()) {
        let mut world = old.of(&World::new().facts);
        world.settle();
        let served = uids(&world.facts);
        let mut world = new.of(&world.facts);
        world.facts.running = (69_990..70_010).chain([0, 1000]).collect();
        let desired = world.desired();
        let plan = world.plan();
        let ended: BTreeSet<u32> = plan.steps.iter().filter_map(|planned| match planned.step {
            Step::EndSessions { uid, .. } => Some(uid),
            _ => None,
        }).collect();
        let left: BTreeSet<u32> = served.iter().copied().filter(|uid| !desired.admits(*uid)).collect();
        prop_assert_eq!(&ended, &left);
        prop_assert_eq!(&plan.leaving, &left);
        let gone = plan.steps.iter().position(|planned| matches!(planned.step, Step::ReplaceAccounts { .. }));
        let first = plan.steps.iter().position(|planned| matches!(planned.step, Step::EndSessions { .. }));
        prop_assert!(first.is_none() || gone < first);
    }

    /// Text of any kind in any place: never a panic, never a name or id that is not allowed, always presentable.
    #[test]
    fn arbitrary_text_is_judged(texts in proptest::collection::vec(text(), 24), numbers in proptest::collection::vec(any::<u64>(), 4)) {
        let mut world = World::new();
        let t = |n: usize| texts[n].as_str();
        world.users.push(json!({"id": "h1", "name": t(0), "uid": 70_800, "gid": 70_100, "gecos": t(1), "home": t(2),
            "shell": t(3), "principals": [t(4), t(5)]}));
        world.users.push(json!({"id": t(6), "name": t(7), "uid": numbers[0], "gid": numbers[1], "expires": t(8)}));
        world.users.push(json!({"id": "h2", "name": t(9), "uid": numbers[2] % 100_000, "gid": 70_100}));
        world.groups.push(json!({"id": "gh", "name": t(10), "gid": numbers[3] % 100_000, "members": ["h1", "h2", t(6), "u1"]}));
        world.grants.push(json!({"id": t(11), "group": "gh", "login": true, "entitlements": [t(12), "eh"], "local_groups": [t(13)]}));
        world.grants.push(json!({"id": "rh", "group": t(14), "hosts": t(15), "login": true}));
        world.entitlements.push(json!({"name": "eh", "run_as": {"user": t(16)}, "env_keep": [t(17)],
            "commands": [{"executable": t(18), "arguments": [t(19)]}, {"directory": t(20)}, {"raw": t(21)}]}));
        world.ssh["user_cas"] = json!([t(22)]);
        world.ssh["host_cas"] = json!([t(22)]);
        world.services.push(json!({"id": t(11), "user": t(6), "hosts": t(15), "uid": numbers[0]}));
        world.services.push(json!({"id": "sh", "user": "h1", "uid": 112}));
        world.facts.local_users.push(LocalUser { name: t(12).into(), uid: 112, gid: 112, home: t(2).into() });
        world.facts.offered_certificates = OfferedCertificates::Lines(vec![t(23).to_owned(), t(22).to_owned()]);
        world.ssh["revoked"] = json!({"key_ids": [t(23)], "keys": [t(22)]});
        world.settings = json!({"default_home": t(2), "default_shell": "/bin/sh"});
        world.config.sudo.allow_raw = true;
        let desired = world.desired();
        for user in &desired.accounts.users {
            prop_assert!(is_name(&user.name), "{:?}", user.name);
            prop_assert!(user.uid >= 1000 && user.gid >= 1000);
            prop_assert!(world.facts.local_users.iter().all(|local| local.name != user.name && local.uid != user.uid));
            let fields = [&user.gecos, &user.home, &user.shell];
            prop_assert!(fields.iter().all(|field| !field.contains([':', '\n', '\0'])));
            prop_assert!(user.principals.iter().all(|p| p.bytes().all(|b| b.is_ascii_graphic() && b != b',')));
        }
        for group in &desired.accounts.groups {
            prop_assert!(is_name(&group.name) && group.gid >= 1000);
            prop_assert!(world.facts.local_groups.iter().all(|local| local.name != group.name && local.gid != group.gid));
        }
        for finding in desired.refusals.iter().chain(&desired.warnings) {
            let all = [&finding.code, &finding.subject, &finding.message, &finding.mend];
            prop_assert!(all.iter().all(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b))), "{:?}", finding);
        }
        hostward_accounts::build(&desired.accounts.users, &desired.accounts.groups, 1)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        world.settle();
        for line in desired.sudoers.unwrap_or_default().lines() {
            let is_ours = ["HOSTWARD_G", "User_Alias HOSTWARD_G", "# ", "Cmnd_Alias HOSTWARD_", "Defaults!HOSTWARD_"].iter().any(|start| line.starts_with(start));
            prop_assert!(is_ours || line.is_empty(), "{:?}", line);
        }
        let explained = hostward_plan::explain(&world.policy(), &world.config, &world.facts, world.now, t(0));
        prop_assert!(explained.reasons.iter().all(|reason| !reason.contains('\n')));
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z_][a-z0-9_-]{0,40}",
        r##"[a-z/ ,:=#*?\[\]\\"!'()@%\n\t.-]{0,20}"##,
        "/[a-z./ -]{0,20}",
        "labels.[a-z]{1,3}(=|!=| in | notin )[a-z(),]{0,9}",
        Just("docker".to_owned()),
        Just("ALL".to_owned()),
        Just("/home/{name}".to_owned()),
        Just("olga".to_owned()),
        Just(CA_2.to_owned()),
    ]
}

fn is_name(name: &str) -> bool {
    let rest = name.strip_prefix(|c: char| c.is_ascii_lowercase() || c == '_');
    name.len() <= 32
        && rest.is_some_and(|rest| {
            rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        })
}

fn uids(facts: &Facts) -> BTreeSet<u32> {
    match &facts.database {
        DatabaseFact::Present(accounts) => accounts.users.iter().map(|user| user.uid).collect(),
        _ => BTreeSet::new(),
    }
}

/// Plans are the same for the same input: maps with random order decide nothing.
#[test]
fn plans_are_deterministic() {
    let mut world = World::new();
    for n in 0..200u64 {
        world.users.push(user(&format!("x{n}"), &format!("x{n}"), 71_000 + n));
        world.groups.push(group(&format!("y{n}"), &format!("x{n}"), 71_000 + n, &[&format!("x{}", n / 2)]));
        world.grants.push(
            json!({"id": format!("z{n}"), "group": format!("y{n}"), "login": true, "entitlements": ["web"]}),
        );
    }
    let plans: Vec<_> = (0..5).map(|_| (world.plan(), world.desired())).collect();
    assert!(plans.windows(2).all(|pair| pair[0] == pair[1]));
    let codes: BTreeMap<_, _> =
        plans[0].1.refusals.iter().map(|f| (f.code.clone(), f.subject.clone())).collect();
    assert_eq!(codes, BTreeMap::new());
}
