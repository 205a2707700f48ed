//! What the managed files are to be.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hostward_config::Config;
use hostward_records::Denied;

use crate::desired::{Desired, KrlSpec, Services};
use crate::facts::{Facts, FileFact, HostKeyKind, ManagedFile};
use crate::sshd::{Authentication, Demands, drop_in};

/// The managed files as they are to be; `None` for one that is not to be there.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) sudoers: Option<&'a str>,
    /// Trusts nobody where it is empty; `None` where nobody is to read it.
    pub(super) user_ca: Option<&'a str>,
    pub(super) denied: Option<&'a Denied>,
    pub(super) services: Option<&'a Services>,
    /// `None` where sshd is not managed.
    pub(super) sshd: Option<SshdTarget<'a>>,
}

/// sshd's files as they are to be.
#[derive(Debug)]
pub(super) struct SshdTarget<'a> {
    pub(super) krl: &'a KrlSpec,
    pub(super) authentication: Authentication,
    pub(super) drop_in: String,
    pub(super) host_certificates: &'a BTreeMap<HostKeyKind, String>,
    /// The main file does not include the drop-in's directory, so it gets a block.
    pub(super) wants_block: bool,
}

impl<'a> Target<'a> {
    pub(super) fn new(desired: &'a Desired, config: &Config, facts: &Facts) -> Self {
        let sshd = facts.sshd.as_ref().filter(|_| config.sshd.manage).map(|sshd| {
            let demands = Demands::of(desired, sshd);
            SshdTarget {
                krl: &desired.krl,
                authentication: demands.authentication,
                drop_in: drop_in(&demands),
                host_certificates: &desired.host_certificates,
                wants_block: !sshd.includes_directory,
            }
        });
        let services = desired.services.as_ref();
        let has_readers = sshd.is_some() || services.is_some();
        Target {
            sudoers: desired.sudoers.as_deref().filter(|_| config.sudo.manage),
            user_ca: has_readers.then(|| desired.user_ca.as_deref().unwrap_or_default()),
            denied: desired.denied.as_ref(),
            services,
            sshd,
        }
    }

    /// Whether a file is as it is to be. Of the KRL that is not known here: its bytes are not the plan's.
    pub(super) fn is_met(&self, file: ManagedFile, fact: &FileFact) -> bool {
        let sshd = self.sshd.as_ref();
        let wanted: Option<Cow<'_, str>> = match file {
            ManagedFile::Sudoers => self.sudoers.map(Cow::from),
            ManagedFile::SshdDropIn => sshd.map(|sshd| sshd.drop_in.as_str().into()),
            ManagedFile::UserCa => self.user_ca.map(Cow::from),
            ManagedFile::Krl => None,
            ManagedFile::Denied => self.denied.map(|denied| denied.json().into()),
            ManagedFile::Services => self.services.map(|services| Services::json(&services.bound).into()),
            ManagedFile::KnownHosts => self.services.map(|services| services.known_hosts.as_str().into()),
            ManagedFile::ClientConfig => self.services.map(|services| services.client_config.as_str().into()),
            ManagedFile::HostCertificate(kind) => {
                sshd.and_then(|sshd| sshd.host_certificates.get(&kind)).map(Cow::from)
            }
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
