//! Whose session it is: local, managed, or managed until root took them off.
//!
//! The local files come first, as in nsswitch.conf, and end the matter: nothing of hostward's is opened for a local user.

use hostward_accounts::Lookup;
use hostward_accounts::map::Mapping;
use hostward_records::{DENIED_BOUND, DENIED_PATH, Denied, DeniedPerson};

use crate::host::Host;
use crate::system;

/// A larger /etc/passwd is not searched.
const PASSWD_BOUND: u64 = 64 << 20;

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// In /etc/passwd, with this uid.
    Local(Option<u32>),
    /// In the account database.
    Managed(Managed),
    /// Not in it any more; why, root says.
    Gone(DeniedPerson),
    /// Somebody else's, or nobody's.
    Foreign,
}

/// Of a user in the account database what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Managed {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    /// Unix seconds from which no grant lets them in.
    pub(crate) valid_until: Option<u64>,
}

impl Who {
    /// Of a login name.
    pub(crate) fn is(name: &str, host: &Host) -> Self {
        if name == "root" {
            return Who::Local(Some(0));
        }
        // Without the local files nobody can be told from a local user.
        let Some(passwd) = host.read("/etc/passwd", PASSWD_BOUND) else { return Who::Local(None) };
        if let Some(uid) = local(&passwd, name) {
            return Who::Local(uid);
        }
        if let Some(managed) = managed(name, host) {
            return Who::Managed(managed);
        }
        let denied =
            denied(host, name).and_then(|denied| denied.people.into_iter().find(|one| one.name == name));
        match denied {
            // Somebody else of that name, whom another service knows, is not meant.
            Some(person) if system::uid_of(name).is_none_or(|uid| uid == person.uid) => Who::Gone(person),
            _ => Who::Foreign,
        }
    }

    pub(crate) fn is_managed(&self) -> bool {
        matches!(self, Who::Managed(_) | Who::Gone(_))
    }

    pub(crate) fn uid(&self) -> Option<u32> {
        match self {
            Who::Local(uid) => *uid,
            Who::Managed(managed) => Some(managed.uid),
            Who::Gone(person) => Some(person.uid),
            Who::Foreign => None,
        }
    }
}

/// What root says of those who may not come in; nothing where it cannot be read, or where nothing of it is about `name`.
pub(crate) fn denied(host: &Host, name: &str) -> Option<Denied> {
    let content = host.read(DENIED_PATH, DENIED_BOUND)?;
    // Managed names need no escape. Thousands who left are not to cost those who did not.
    let says = |word: &str| {
        let quoted = format!("\"{word}\"");
        content.windows(quoted.len()).any(|part| part == quoted.as_bytes())
    };
    if !says(name) && !says("stale") {
        return None;
    }
    Denied::parse(&content)
}

/// The uid in the line of that name, if there is such a line.
fn local(passwd: &[u8], name: &str) -> Option<Option<u32>> {
    let line = passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b":")
    })?;
    let uid = line.split(|byte| *byte == b':').nth(1).and_then(|uid| std::str::from_utf8(uid).ok());
    Some(uid.and_then(|uid| uid.parse().ok()))
}

fn managed(name: &str, host: &Host) -> Option<Managed> {
    let path = hostward_accounts::PATH.to_str().ok()?;
    let mapping = Mapping::open(&host.c_path(path)?).ok()?;
    let Lookup::Found(user) = mapping.database().ok()?.user_by_name(name.as_bytes()) else { return None };
    Some(Managed {
        name: name.to_owned(),
        uid: user.uid(),
        gid: user.gid(),
        home: std::str::from_utf8(user.home()).ok()?.to_owned(),
        // A record that is damaged here limits nobody: principals are not given for it either.
        valid_until: user.valid_until().flatten(),
    })
}
