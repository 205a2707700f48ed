//! The team that hosts follow unless a test has one of its own.

/// Two people who may log in everywhere, one of whom has something in sudo.
pub const TEAM: &str = r#"
[project]
id = "acme"

[users.alice]
uid = 70001
gecos = "Alice Adams"

[users.bob]
uid = 70002
gecos = "Bob Brown"

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
login = true
entitlements = ["look"]

[entitlements.look]
commands = [
    { executable = "/usr/bin/id" },
    { executable = "/usr/bin/whoami", arguments = "none" },
]
"#;

/// `text` with one piece replaced, which must be there.
#[track_caller]
#[must_use]
pub fn edited(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the team file does not hold `{old}`:\n{text}");
    text.replace(old, new)
}
