//! Login shells.

use std::collections::BTreeSet;

use crate::refusal::Refusal;
use crate::text::shown;

/// A shell that this host lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shell<'a>(&'a str);

impl<'a> Shell<'a> {
    pub(crate) fn parse(text: &'a str, listed: &BTreeSet<String>) -> Result<Self, Refusal> {
        let well_formed = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if well_formed && listed.contains(text) {
            return Ok(Shell(text));
        }
        Err(Refusal::operator(
            "user-shell-not-listed",
            format!("its shell `{}` is not in /etc/shells of this host, or cannot be run", shown(text)),
            "install the shell and list it in /etc/shells, or choose another on the backend",
        ))
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }
}
