//! How long reading, resolving and planning take: `cargo run --release -p hostward-plan --example scale -- 100000`.

use std::fmt::Write;
use std::time::Instant;

use chrono::DateTime;
use hostward_config::Config;
use hostward_plan::facts::{DatabaseFact, Facts, LocalUser};
use hostward_plan::policy::Versions;
use hostward_plan::{Policy, plan, resolve};
use hostward_protocol::document::Kind;

fn main() -> anyhow::Result<()> {
    let users: usize = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let documents = documents(users)?;
    let size: usize = documents.iter().map(|(_, bytes)| bytes.len()).sum();
    println!("{users} users, {} documents, {:.1} MB", documents.len(), size as f64 / 1e6);
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default();
    let versions = Versions { version: 1, root_version: 1, expires: now };
    let facts = facts();
    let config = Config::default();

    let start = Instant::now();
    let policy = Policy::read(
        versions,
        documents.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())),
        "p1",
    )?;
    println!("read     {:>8.1?}", start.elapsed());
    let start = Instant::now();
    let desired = resolve(&policy, &config, &facts, now);
    println!(
        "resolve  {:>8.1?}  {} users, {} refused",
        start.elapsed(),
        desired.accounts.users.len(),
        desired.refusals.len()
    );
    let start = Instant::now();
    let first = plan(&desired, &config, &facts, now);
    println!("plan     {:>8.1?}  {} steps from nothing", start.elapsed(), first.steps.len());

    let mut present = desired.accounts.clone();
    present.users.iter_mut().step_by(1000).for_each(|user| user.principals.push("old".into()));
    let facts = Facts { database: DatabaseFact::Present(present), ledger: first.ledger_before, ..facts };
    let start = Instant::now();
    let desired = resolve(&policy, &config, &facts, now);
    println!("resolve  {:>8.1?}  again, with a ledger", start.elapsed());
    let start = Instant::now();
    let change = plan(&desired, &config, &facts, now);
    println!("plan     {:>8.1?}  {} steps for a change", start.elapsed(), change.steps.len());
    Ok(())
}

fn facts() -> Facts {
    let root = LocalUser { name: "root".into(), uid: 0, gid: 0, home: "/root".into() };
    Facts {
        local_users: vec![root],
        shells: ["/bin/bash".to_owned()].into(),
        hostward_users: Some(994),
        ..Facts::default()
    }
}

/// Users with a group each and teams of 50, in shards as a publisher would make them.
fn documents(users: usize) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let shards = ((2.0 * users as f64).sqrt() as usize).next_power_of_two().clamp(1, 1024);
    let mut of_users = vec![Vec::new(); shards];
    let mut of_groups = vec![Vec::new(); shards];
    for n in 0..users {
        let id = format!("01890a5d-ac96-774b-bcce-{n:012x}");
        let uid = 1_879_100_000 + n;
        of_users[n % shards].push(format!(
            r#"{{"id":"{id}","name":"user{n}","uid":{uid},"gid":{uid},"gecos":"A Person With A Name Number {n},,,","home":"/home/user{n}","shell":"/bin/bash","status":"active","principals":["user{n}@example.com","{id}"],"expires":"2030-01-01T00:00:00Z","email":"user{n}@example.com","department":"Engineering"}}"#
        ));
        of_groups[n % shards].push(format!(r#"{{"id":"g{n}","name":"user{n}","gid":{uid},"members":[]}}"#));
    }
    for team in 0..users / 50 {
        let mut members = String::new();
        for n in team * 50..team * 50 + 50 {
            write!(
                members,
                "{}\"01890a5d-ac96-774b-bcce-{n:012x}\"",
                if members.is_empty() { "" } else { "," }
            )?;
        }
        let gid = 1_879_048_192 + team;
        of_groups[team % shards]
            .push(format!(r#"{{"id":"t{team}","name":"team{team}","gid":{gid},"members":[{members}]}}"#));
    }
    let grants: Vec<String> = (0..users / 50)
        .map(|team| format!(r#"{{"id":"r{team}","group":"t{team}","login":true,"entitlements":["e"]}}"#))
        .collect();
    let mut documents = Vec::new();
    for (shard, (users, groups)) in of_users.iter().zip(&of_groups).enumerate() {
        for (kind, entries) in [(Kind::Users, users), (Kind::Groups, groups)] {
            documents.push((kind.target(u32::try_from(shard).ok()), document(kind, &entries.join(","))));
        }
    }
    documents.push((Kind::Grants.target(Some(0)), document(Kind::Grants, &grants.join(","))));
    documents.push((
        Kind::Entitlements.target(None),
        document(Kind::Entitlements, r#"{"name":"e","commands":[{"executable":"/bin/true"}]}"#),
    ));
    documents.push((Kind::Project.target(None), br#"{"schema":"hostward/project/1","id":"p1"}"#.to_vec()));
    documents.push((Kind::Ssh.target(None), br#"{"schema":"hostward/ssh/1"}"#.to_vec()));
    Ok(documents)
}

fn document(kind: Kind, entries: &str) -> Vec<u8> {
    let name = kind.name();
    format!(r#"{{"schema":"hostward/{name}/1","{name}":[{entries}]}}"#).into_bytes()
}
