//! A team of any size, one person of which comes and goes.

use std::fmt::Write;

/// Who comes and goes.
pub const PERSON: &str = "visitor";
/// The uid of who comes and goes.
pub const PERSON_UID: u32 = 70_001;

const FIRST_UID: usize = 200_000;

/// A team of `users` people who may all log in and read logs, with or without the visitor.
pub fn team(users: usize, visitor: bool) -> String {
    let mut text = String::from("[project]\nid = \"acme\"\n\n");
    let mut members = Vec::with_capacity(users + 1);
    for n in 0..users {
        let _infallible = writeln!(text, "[users.u{n:06}]\nuid = {}\ngecos = \"User {n}\"", FIRST_UID + n);
        members.push(format!("\"u{n:06}\""));
    }
    let _infallible = writeln!(text, "[users.{PERSON}]\nuid = {PERSON_UID}");
    if visitor {
        members.push(format!("\"{PERSON}\""));
    }
    let _infallible = write!(
        text,
        "\n[groups.people]\ngid = 71001\nmembers = [{}]\n\n[[grants]]\ngroup = \"people\"\nlogin = true\nentitlements = [\"read-logs\"]\n\n\
         [entitlements.read-logs]\ncommands = [{{ executable = \"/usr/bin/journalctl\" }}]\n",
        members.join(", ")
    );
    text
}
