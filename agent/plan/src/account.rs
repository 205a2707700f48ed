//! The fields of users and groups as types that are valid by construction.
//!
//! Each is parsed once, here, from what the policy says. What the host has of its own (local names and ids) is
//! compared elsewhere.

pub(crate) mod gecos;
pub(crate) mod home;
pub(crate) mod id;
pub(crate) mod name;
pub(crate) mod principal;
pub(crate) mod shell;

/// Whether an entry is a user or a group; their findings differ by this word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Group,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
        }
    }
}
