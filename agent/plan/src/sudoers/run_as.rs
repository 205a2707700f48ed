//! As whom a command may be run.

use hostward_protocol::document;

use crate::refusal::Refusal;
use crate::text::shown;

/// Runas specifications, each of a rule of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunAs(Vec<String>);

impl RunAs {
    /// A user alone: `sudo -u USER`. A group alone: `sudo -g GROUP`, as oneself. Both: either, and both together.
    ///
    /// `(user:group)` alone admits `sudo -g group` on sudo 1.9.5 and not on 1.9.16; with `(:group)` beside it both do.
    pub(super) fn parse(run_as: &document::RunAs) -> Result<Self, Refusal> {
        let name_of = |text: &Option<String>| text.as_deref().map(name).transpose();
        Ok(RunAs(match (name_of(&run_as.user)?, name_of(&run_as.group)?) {
            (None, None) => vec!["root".into()],
            (Some(user), None) => vec![user],
            (None, Some(group)) => vec![format!(":{group}")],
            (Some(user), Some(group)) => vec![format!("{user}:{group}"), format!(":{group}")],
        }))
    }

    pub(super) fn specs(&self) -> &[String] {
        &self.0
    }
}

/// A name or `#id`. Capitals are out: sudo would take `ALL` for everybody and `ADMINS` for somebody's alias.
fn name(text: &str) -> Result<String, Refusal> {
    let refusal = || {
        Refusal::backend(
            "entitlement-run-as-invalid",
            format!(
                "its run-as `{}` is neither `#` and a number nor a name of at most 32 of `a-z`, `0-9`, `_`, `-`",
                shown(text)
            ),
            "name the user or group, or give its number as `#1000`, on the backend",
        )
    };
    if let Some(digits) = text.strip_prefix('#') {
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let id: u32 = digits.parse().ok().filter(|_| is_number).ok_or_else(refusal)?;
        // The kernel takes it for "leave as it is", that is root.
        return if id == u32::MAX { Err(refusal()) } else { Ok(format!("#{id}")) };
    }
    let begins_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if begins_well && text.len() <= 32 && text.bytes().all(is_name) {
        Ok(text.to_owned())
    } else {
        Err(refusal())
    }
}
