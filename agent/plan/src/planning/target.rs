//! What the managed files are to be.

use hostward_config::Config;

use crate::desired::{Desired, KrlSpec};
use crate::facts::{Facts, FileFact, ManagedFile};
use crate::sshd::{Admission, Authentication, drop_in};

/// The managed files as they are to be; `None` for one that is not to be there.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) sudoers: Option<&'a str>,
    /// `None` where sshd is not managed.
    pub(super) sshd: Option<SshdTarget<'a>>,
}

/// sshd's files as they are to be.
#[derive(Debug)]
pub(super) struct SshdTarget<'a> {
    /// Trusts nobody where it is empty.
    pub(super) user_ca: &'a str,
    pub(super) krl: &'a KrlSpec,
    pub(super) authentication: Authentication,
    pub(super) drop_in: String,
    /// The main file does not include the drop-in's directory, so it gets a block.
    pub(super) wants_block: bool,
}

impl<'a> Target<'a> {
    pub(super) fn new(desired: &'a Desired, config: &Config, facts: &Facts) -> Self {
        let sshd = facts.sshd.as_ref().filter(|_| config.sshd.manage).map(|sshd| {
            let authentication = Authentication::of(desired);
            SshdTarget {
                user_ca: desired.user_ca.as_deref().unwrap_or_default(),
                krl: &desired.krl,
                authentication,
                drop_in: drop_in(authentication, Admission::of(sshd)),
                wants_block: !sshd.includes_directory,
            }
        });
        Target { sudoers: desired.sudoers.as_deref().filter(|_| config.sudo.manage), sshd }
    }

    /// Whether a file is as it is to be. Of the KRL that is not known here: its bytes are not the plan's.
    pub(super) fn is_met(&self, file: ManagedFile, fact: &FileFact) -> bool {
        let wanted = match file {
            ManagedFile::Sudoers => self.sudoers,
            ManagedFile::SshdDropIn => self.sshd.as_ref().map(|sshd| sshd.drop_in.as_str()),
            ManagedFile::UserCa => self.sshd.as_ref().map(|sshd| sshd.user_ca),
            ManagedFile::Krl => None,
        };
        wanted.is_some_and(|wanted| fact.attributes_ok && fact.content == wanted.as_bytes())
    }

    /// Somebody with whom the drop-in's effect can be seen. Nobody while glibc asks hostward for no user: sshd would not
    /// know them.
    pub(super) fn probe(&self, desired: &Desired, facts: &Facts) -> Option<String> {
        if self.sshd.is_none() || facts.unserved_databases.contains(&"passwd") {
            return None;
        }
        desired.accounts.users.first().map(|user| user.name.clone())
    }
}
