//! A small project and a host of it, to be changed by each test.

use chrono::{DateTime, TimeDelta, Utc};
use hostward_config::{Config, IdRange};
use hostward_plan::facts::{Facts, LocalGroup, LocalUser, SshdFacts, SudoDialect};
use hostward_plan::policy::{PolicyError, Versions};
use hostward_plan::{Desired, Plan, Policy, plan, resolve};
use serde_json::{Value, json};

use crate::certificates;

pub const CA_1: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNIIhm0F2SGChPWeu03FhwNRRGp5Gb7CGoPB2pnmgUx";
pub const CA_2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIHk3UFRKlz3Lg7dxXWKzFN7tXO3VYhZpfcKeCb8M5Ox";

/// The documents of a policy, and everything else that a plan depends on.
#[derive(Clone, Debug)]
pub struct World {
    pub settings: Value,
    pub users: Vec<Value>,
    pub groups: Vec<Value>,
    pub grants: Vec<Value>,
    pub entitlements: Vec<Value>,
    pub ssh: Value,
    pub services: Vec<Value>,
    pub config: Config,
    pub facts: Facts,
    pub now: DateTime<Utc>,
}

pub fn user(id: &str, name: &str, uid: u64) -> Value {
    json!({"id": id, "name": name, "uid": uid, "gid": uid, "principals": [name]})
}

pub fn group(id: &str, name: &str, gid: u64, members: &[&str]) -> Value {
    json!({"id": id, "name": name, "gid": gid, "members": members})
}

pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

impl World {
    /// alice and bob are in `ops`, which may log in and restart nginx; carol is in nothing that has a grant here.
    pub fn new() -> Self {
        World {
            settings: json!({}),
            users: vec![user("u1", "alice", 70001), user("u2", "bob", 70002), user("u3", "carol", 70003)],
            groups: vec![
                group("g1", "alice", 70001, &[]),
                group("g2", "bob", 70002, &[]),
                group("g3", "carol", 70003, &[]),
                group("g10", "ops", 70100, &["u1", "u2"]),
                group("g11", "db", 70101, &["u3"]),
            ],
            grants: vec![
                json!({"id": "r1", "group": "g10", "hosts": "labels.role=web", "login": true, "entitlements": ["web"]}),
                json!({"id": "r2", "group": "g11", "hosts": "labels.role=db", "login": true}),
            ],
            entitlements: vec![json!({"name": "web", "commands": [
                {"executable": "/usr/bin/systemctl", "arguments": ["restart", "nginx"]},
                {"executable": "/usr/bin/journalctl"},
            ]})],
            ssh: json!({"schema": "hostward/ssh/1", "user_cas": [CA_1]}),
            services: Vec::new(),
            config: config(),
            facts: facts(),
            now: start(),
        }
    }

    pub fn read(&self) -> Result<Policy, PolicyError> {
        let document = |kind: &str, entries: &Vec<Value>| {
            json!({"schema": format!("hostward/{kind}/1"), kind: entries}).to_string()
        };
        let mut documents = vec![
            (
                "project.json",
                json!({"schema": "hostward/project/1", "id": "p1", "settings": self.settings}).to_string(),
            ),
            ("users-00.json", document("users", &self.users)),
            ("groups-00.json", document("groups", &self.groups)),
            ("grants-00.json", document("grants", &self.grants)),
            ("entitlements.json", document("entitlements", &self.entitlements)),
            ("ssh.json", self.ssh.to_string()),
        ];
        if !self.services.is_empty() {
            documents.push(("services.json", document("services", &self.services)));
        }
        let versions = Versions { version: 1, root_version: 1, expires: start() + TimeDelta::days(1) };
        Policy::read(versions, documents.iter().map(|(name, text)| (*name, text.as_bytes())), "p1")
    }

    pub fn policy(&self) -> Policy {
        self.read().unwrap()
    }

    pub fn desired(&self) -> Desired {
        resolve(&self.policy(), &self.config, &self.facts, self.now)
    }

    pub fn plan(&self) -> Plan {
        plan(&self.desired(), &self.config, &self.facts, self.now)
    }

    /// Takes all steps, until there is nothing to do.
    pub fn settle(&mut self) {
        let plan = self.plan();
        crate::model::take_all(&plan, &mut self.facts);
        let again = self.plan();
        assert_eq!(again.steps, [], "the plan of a settled host is not empty");
        assert_eq!(again.drift, []);
        assert_eq!(again.ledger_before, self.facts.ledger);
    }

    /// Also a service user, who has no grant on this host, and accounts to stand for it.
    pub fn with_service(mut self) -> Self {
        self.users.push(json!({"id": "u9", "name": "deploy-bot", "uid": 70009, "gid": 70009,
            "principals": ["deploy-bot", "svc/deploy"]}));
        self.ssh["host_cas"] = json!([certificates::ca()]);
        for (name, uid) in [("jenkins", 112), ("runner", 113)] {
            let home = format!("/var/lib/{name}");
            self.facts.local_users.push(LocalUser { name: name.into(), uid, gid: uid, home });
        }
        self.services = vec![json!({"id": "s1", "user": "u9", "hosts": "labels.role=web", "uid": 112})];
        self
    }

    /// The same, settled.
    pub fn settled(mut self) -> Self {
        self.settle();
        self
    }

    pub fn user_mut(&mut self, id: &str) -> &mut Value {
        self.users.iter_mut().find(|user| user["id"] == id).unwrap()
    }

    pub fn group_mut(&mut self, id: &str) -> &mut Value {
        self.groups.iter_mut().find(|group| group["id"] == id).unwrap()
    }

    pub fn pass(&mut self, time: TimeDelta) {
        self.now += time;
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.labels.insert("role".into(), "web".into());
    config
}

fn facts() -> Facts {
    let local_users = [
        ("root", 0, 0, "/root"),
        ("daemon", 1, 1, "/usr/sbin"),
        ("www-data", 33, 33, "/var/www"),
        ("nobody", 65534, 65534, "/nonexistent"),
        ("hostward", 995, 995, "/var/lib/hostward-agent"),
        ("olga", 1000, 1000, "/home/olga"),
        ("deploy", 70500, 1500, "/home/deploy"),
    ];
    let local_groups = [
        ("root", 0),
        ("daemon", 1),
        ("sudo", 27),
        ("www-data", 33),
        ("video", 44),
        ("nogroup", 65534),
        ("hostward-users", 994),
        ("hostward", 995),
        ("olga", 1000),
        ("team", 70600),
    ];
    Facts {
        host_labels: [("name", "web1"), ("id", "debian"), ("version", "12"), ("arch", "x86_64")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        local_users: local_users
            .map(|(name, uid, gid, home)| LocalUser { name: name.into(), uid, gid, home: home.into() })
            .into(),
        local_groups: local_groups.map(|(name, gid)| LocalGroup { name: name.into(), gid }).into(),
        subordinate_ids: vec![IdRange { first: 100_000, last: 165_535 }],
        shells: ["/bin/bash", "/bin/sh", "/usr/bin/zsh"].map(str::to_owned).into(),
        hostward_users: Some(994),
        sudo: vec![SudoDialect::Sudo],
        sudo_logs_exit: false,
        sshd: Some(SshdFacts {
            main: "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n".into(),
            includes_directory: true,
            restricts_logins: false,
            ..SshdFacts::default()
        }),
        ..Facts::default()
    }
}
