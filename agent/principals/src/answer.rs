//! What sshd is told about a user at a time.

use hostward_accounts::{Database, Lookup};

/// The database holds something that no writer puts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged where this user is looked for")]
pub(crate) struct Damaged;

/// The principals of `user` at `now` (Unix seconds), a line each; nothing for who is not in it or no longer valid.
pub(crate) fn lines(database: &Database<'_>, user: &[u8], now: u64) -> Result<Vec<u8>, Damaged> {
    let record = match database.user_by_name(user) {
        Lookup::Found(record) => record,
        Lookup::NotFound => return Ok(Vec::new()),
        Lookup::Corrupt => return Err(Damaged),
    };
    let valid_until = record.valid_until().ok_or(Damaged)?;
    let principals = record.principals().ok_or(Damaged)?;
    if valid_until.is_some_and(|valid_until| now >= valid_until) {
        return Ok(Vec::new());
    }
    let mut lines = Vec::new();
    for principal in principals {
        if !is_one_word(principal) {
            return Err(Damaged);
        }
        lines.extend_from_slice(principal);
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Whether sshd reads this as a principal and nothing else: words before the last are options to it, such as a
/// forced command, and `#` starts a comment.
fn is_one_word(principal: &[u8]) -> bool {
    let plain = |byte: &u8| !byte.is_ascii_whitespace() && !byte.is_ascii_control();
    !principal.is_empty() && !principal.starts_with(b"#") && principal.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hostward_accounts::{User, body, build};

    fn file() -> Vec<u8> {
        let user = |name: &str, uid, principals: &[&str], valid_until| User {
            name: name.into(),
            uid,
            gid: uid,
            principals: principals.iter().map(|principal| (*principal).to_owned()).collect(),
            valid_until,
            ..User::default()
        };
        let users = [
            user("alice", 60001, &["alice", "alice@example.org"], 0),
            user("bob", 60002, &["bob"], 1000),
            user("carol", 60003, &[], 0),
        ];
        build(&users, &[], 1).expect("builds")
    }

    fn ask(file: &[u8], user: &str, now: u64) -> Result<String, Damaged> {
        let database = Database::new(body(file).expect("has a body")).expect("is a database");
        lines(&database, user.as_bytes(), now).map(|lines| String::from_utf8(lines).expect("UTF-8"))
    }

    #[test]
    fn each_principal_is_a_line() {
        assert_eq!(ask(&file(), "alice", u64::MAX), Ok("alice\nalice@example.org\n".into()));
    }

    #[test]
    fn who_is_not_managed_or_has_none_gets_nothing() {
        for user in ["root", "", "alic", "alice ", "ALICE", "carol", &"x".repeat(5000)] {
            assert_eq!(ask(&file(), user, 5), Ok(String::new()), "{user}");
        }
    }

    #[test]
    fn from_valid_until_on_there_is_nothing() {
        assert_eq!(ask(&file(), "bob", 999), Ok("bob\n".into()));
        assert_eq!(ask(&file(), "bob", 1000), Ok(String::new()));
        assert_eq!(ask(&file(), "bob", 1001), Ok(String::new()));
    }

    #[test]
    fn a_principal_that_sshd_would_read_as_more_is_damage() {
        let whole = file();
        let at = whole.windows(17).position(|bytes| bytes == b"alice@example.org").expect("is in it");
        for byte in [b' ', b'\n', b'\t', 0, 0x7f] {
            let mut file = whole.clone();
            file[at + 5] = byte;
            // Not even the sound one before it.
            assert_eq!(ask(&file, "alice", 5), Err(Damaged), "{byte}");
        }
        let mut file = whole.clone();
        file[at] = b'#';
        assert_eq!(ask(&file, "alice", 5), Err(Damaged));
    }
}
