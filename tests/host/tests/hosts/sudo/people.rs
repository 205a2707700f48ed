//! Two people who may log in; one of them is also an admin and has entitlements.

use std::fmt::Write;

/// A team whose admin, alice, has these entitlements, and whose bob has none.
pub fn team(names: &[&str], entitlements: &str) -> String {
    let mut team = String::from(
        r#"
[project]
id = "acme"

[users.alice]
uid = 70001

[users.bob]
uid = 70002

[groups.people]
gid = 71001
members = ["alice", "bob"]

[groups.admins]
gid = 71002
members = ["alice"]

[[grants]]
group = "people"
login = true

[[grants]]
group = "admins"
entitlements = "#,
    );
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let _infallible = writeln!(team, "[{}]\n\n{entitlements}", names.join(", "));
    team
}
