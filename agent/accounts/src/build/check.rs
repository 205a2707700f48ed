//! What no database may hold, whatever a policy says.

use super::{BuildError, Group, User};
use crate::format::{MAX_NAME, is_reserved};

pub(super) fn check_user(user: &User) -> Result<(), BuildError> {
    check_name(&user.name)?;
    let of = || user.name.clone();
    for id in [user.uid, user.gid].iter().chain(&user.local_gids) {
        check_id(&user.name, *id)?;
    }
    for (field, text) in [("comment", &user.gecos), ("home", &user.home), ("shell", &user.shell)] {
        if any(text, |byte| byte.is_ascii_control() | (byte == b':')) {
            return Err(BuildError::Character { of: of(), field, text: text.clone() });
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(BuildError::FieldLength { of: of(), field });
        }
    }
    for principal in &user.principals {
        let field = "principal";
        // sshd reads lines: words before the last are options, `#` starts a comment, an empty line is nothing.
        let bad = |char: char| char.is_whitespace() || char.is_control();
        if principal.is_empty() || principal.starts_with('#') || principal.contains(bad) {
            return Err(BuildError::Character { of: of(), field, text: principal.clone() });
        }
        if principal.len() > usize::from(u16::MAX) {
            return Err(BuildError::FieldLength { of: of(), field });
        }
    }
    Ok(())
}

pub(super) fn check_group(group: &Group, users: usize) -> Result<(), BuildError> {
    check_name(&group.name)?;
    check_id(&group.name, group.gid)?;
    match group.members.iter().find(|member| **member as usize >= users) {
        Some(member) => Err(BuildError::NoSuchMember { group: group.name.clone(), member: *member }),
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), BuildError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(BuildError::NameLength(name.into()));
    }
    if any(name, |byte| !byte.is_ascii_graphic() | matches!(byte, b':' | b',' | b'/')) {
        return Err(BuildError::Character { of: name.into(), field: "name", text: name.into() });
    }
    Ok(())
}

/// Without stopping at the first: nearly always there is none, and so many bytes are looked at at once.
fn any(text: &str, bad: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(false, |found, byte| found | bad(byte))
}

fn check_id(of: &str, id: u32) -> Result<(), BuildError> {
    if is_reserved(id) {
        return Err(BuildError::ReservedId { of: of.into(), id });
    }
    Ok(())
}
