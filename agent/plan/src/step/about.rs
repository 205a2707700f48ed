//! What a step is about, for whoever reads its outcome.

use hostward_protocol::report::About;

use super::Step;
use crate::facts::ManagedFile;

impl Step {
    /// What it is about.
    pub fn about(&self) -> About {
        match self {
            Step::WriteFile { file, .. } | Step::RemoveFile { file } => of_file(*file),
            Step::WriteKrl { .. } => About::Trust,
            Step::EditSshdMain { .. } | Step::ReloadSshd => About::Sshd,
            Step::ReplaceAccounts { changes, more, .. } => {
                About::Accounts { changes: changes.clone(), more: u64::try_from(*more).unwrap_or(u64::MAX) }
            }
            Step::RemoveAccounts => About::Accounts { changes: Vec::new(), more: 0 },
            Step::EndSessions { uid, name } => About::Sessions { name: name.clone(), uid: *uid },
            Step::ArchiveHome { uid, name, home } | Step::DeleteHome { uid, name, home } => {
                About::Home { name: name.clone(), uid: *uid, home: home.clone() }
            }
            Step::RestoreDirectory { .. } => About::Other,
        }
    }
}

fn of_file(file: ManagedFile) -> About {
    match file {
        ManagedFile::Sudoers => About::Sudo,
        ManagedFile::SshdDropIn | ManagedFile::HostCertificate(_) => About::Sshd,
        ManagedFile::UserCa | ManagedFile::Krl | ManagedFile::KnownHosts => About::Trust,
        ManagedFile::Services | ManagedFile::ClientConfig => About::Services,
        ManagedFile::Denied => About::Other,
    }
}
