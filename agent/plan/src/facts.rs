//! What was observed on the host. Filled by the root process, in tests by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hostward_accounts::{Group, User};
use hostward_config::IdRange;
use hostward_protocol::service::{CLIENT_CONFIG_FILE, KNOWN_HOSTS_FILE, SERVICES_FILE};
use hostward_records::DENIED_PATH;

use crate::ledger::Ledger;

/// Everything a plan depends on besides policy, configuration and time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `host.*` and `os.*` labels, without the prefix: `name`, `fqdn`, `arch`; `id`, `version`.
    /// `id` and those that begin with `version` are `os.*`, all others `host.*`; a key that has its prefix keeps it.
    pub host_labels: BTreeMap<String, String>,
    /// Users in the local passwd file.
    pub local_users: Vec<LocalUser>,
    /// Groups in the local group file.
    pub local_groups: Vec<LocalGroup>,
    /// Ranges handed out in /etc/subuid and /etc/subgid.
    pub subordinate_ids: Vec<IdRange>,
    /// Paths listed in /etc/shells that exist and are executable.
    pub shells: BTreeSet<String>,
    /// Gid of the local group `hostward-users`, where it exists.
    pub hostward_users: Option<u32>,
    /// Which sudo implementations are installed.
    pub sudo: Vec<SudoDialect>,
    /// Whether all of them take `log_exit_status`: sudo 1.9.13 does, 1.9.5 does not.
    pub sudo_logs_exit: bool,
    /// What sshd is like, where it is installed.
    pub sshd: Option<SshdFacts>,
    /// What the agent offers of certificates for this host's own keys.
    pub offered_certificates: OfferedCertificates,
    /// The managed files as they are.
    pub files: BTreeMap<ManagedFile, FileFact>,
    /// Directories of root's state with another owner or mode than they should have.
    pub loose_directories: BTreeSet<OwnDirectory>,
    /// Databases of /etc/nsswitch.conf (`passwd`, `group`, `shadow`) that do not ask hostward.
    pub unserved_databases: Vec<&'static str>,
    /// The account database as it is.
    pub database: DatabaseFact,
    /// Uids known to the ledger that own processes in this pid namespace, or have a logind session or linger.
    /// Whose sessions end is the plan's to say: uids that may go on do no harm here, one that is missing goes on.
    pub running: BTreeSet<u32>,
    /// Homes of former users that still exist and belong to that uid, by uid.
    pub homes: BTreeMap<u32, PathBuf>,
    /// What hostward remembers.
    pub ledger: Ledger,
}

/// A line of /etc/passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUser {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory, which no managed user gets.
    pub home: String,
}

/// A line of /etc/group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalGroup {
    /// Group name.
    pub name: String,
    /// Group id.
    pub gid: u32,
}

/// An implementation of sudo that reads /etc/sudoers.d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SudoDialect {
    /// Todd Miller's sudo.
    Sudo,
    /// sudo-rs.
    SudoRs,
}

/// What sshd's configuration is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshdFacts {
    /// Content of /etc/ssh/sshd_config.
    pub main: String,
    /// The main file includes `/etc/ssh/sshd_config.d/*.conf`, globally and before any `Match`.
    pub includes_directory: bool,
    /// `AllowGroups` or `AllowUsers` is set globally, in the main file or a drop-in that is not ours.
    pub restricts_logins: bool,
    /// The host keys that sshd has: lines as in a `.pub` file.
    pub host_keys: BTreeMap<HostKeyKind, String>,
    /// The certificates that the operator's configuration names: lines as in a `-cert.pub` file.
    pub operator_certificates: Vec<String>,
}

/// A kind of host key, of which sshd has one by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostKeyKind {
    /// ECDSA
    Ecdsa,
    /// Ed25519
    Ed25519,
    /// RSA
    Rsa,
}

impl HostKeyKind {
    /// All of them.
    pub const ALL: [HostKeyKind; 3] = [HostKeyKind::Ecdsa, HostKeyKind::Ed25519, HostKeyKind::Rsa];

    /// The private key; the public one is beside it, with `.pub`.
    pub fn key_path(self) -> &'static str {
        match self {
            HostKeyKind::Ecdsa => "/etc/ssh/ssh_host_ecdsa_key",
            HostKeyKind::Ed25519 => "/etc/ssh/ssh_host_ed25519_key",
            HostKeyKind::Rsa => "/etc/ssh/ssh_host_rsa_key",
        }
    }

    /// Its certificate by the project.
    pub fn certificate_path(self) -> &'static str {
        match self {
            HostKeyKind::Ecdsa => "/var/lib/hostward/ssh/host-ecdsa-cert.pub",
            HostKeyKind::Ed25519 => "/var/lib/hostward/ssh/host-ed25519-cert.pub",
            HostKeyKind::Rsa => "/var/lib/hostward/ssh/host-rsa-cert.pub",
        }
    }
}

/// What the agent offers of certificates for this host's own keys. Whoever it speaks for may be an enemy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OfferedCertificates {
    /// Nothing.
    #[default]
    None,
    /// The lines of the file.
    Lines(Vec<String>),
    /// A file that root does not read, and why.
    Unreadable(String),
}

/// A file that hostward owns wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManagedFile {
    /// `/etc/sudoers.d/hostward`
    Sudoers,
    /// `/etc/ssh/sshd_config.d/10-hostward.conf`
    SshdDropIn,
    /// `/var/lib/hostward/ssh/user_ca.pub`
    UserCa,
    /// `/var/lib/hostward/ssh/revoked.krl`
    Krl,
    /// [`DENIED_PATH`]
    Denied,
    /// [`SERVICES_FILE`]
    Services,
    /// [`KNOWN_HOSTS_FILE`]
    KnownHosts,
    /// [`CLIENT_CONFIG_FILE`]
    ClientConfig,
    /// [`HostKeyKind::certificate_path`]
    HostCertificate(HostKeyKind),
}

impl ManagedFile {
    /// All of them.
    pub const ALL: [ManagedFile; 11] = [
        ManagedFile::Sudoers,
        ManagedFile::SshdDropIn,
        ManagedFile::UserCa,
        ManagedFile::Krl,
        ManagedFile::Denied,
        ManagedFile::Services,
        ManagedFile::KnownHosts,
        ManagedFile::ClientConfig,
        ManagedFile::HostCertificate(HostKeyKind::Ecdsa),
        ManagedFile::HostCertificate(HostKeyKind::Ed25519),
        ManagedFile::HostCertificate(HostKeyKind::Rsa),
    ];

    /// Where it is.
    pub fn path(self) -> &'static str {
        match self {
            ManagedFile::Sudoers => "/etc/sudoers.d/hostward",
            ManagedFile::SshdDropIn => "/etc/ssh/sshd_config.d/10-hostward.conf",
            ManagedFile::UserCa => "/var/lib/hostward/ssh/user_ca.pub",
            ManagedFile::Krl => "/var/lib/hostward/ssh/revoked.krl",
            ManagedFile::Denied => DENIED_PATH,
            ManagedFile::Services => SERVICES_FILE,
            ManagedFile::KnownHosts => KNOWN_HOSTS_FILE,
            ManagedFile::ClientConfig => CLIENT_CONFIG_FILE,
            ManagedFile::HostCertificate(kind) => kind.certificate_path(),
        }
    }

    /// Its permission bits. Owner and group are root.
    pub fn mode(self) -> u32 {
        match self {
            ManagedFile::Sudoers => 0o440,
            _ => 0o644,
        }
    }
}

/// A directory of root's state, where hostward has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnDirectory {
    /// `/var/lib/hostward`
    State,
    /// `/var/lib/hostward/private`
    Private,
    /// `/var/lib/hostward/store`
    Store,
    /// `/var/lib/hostward/store/targets`
    Targets,
    /// `/var/lib/hostward/ssh`
    Ssh,
    /// `/var/lib/hostward/archive`
    Archive,
}

impl OwnDirectory {
    /// All of them, each after the one it is in.
    pub const ALL: [OwnDirectory; 6] = [
        OwnDirectory::State,
        OwnDirectory::Private,
        OwnDirectory::Store,
        OwnDirectory::Targets,
        OwnDirectory::Ssh,
        OwnDirectory::Archive,
    ];

    /// Where it is.
    pub const fn path(self) -> &'static str {
        match self {
            OwnDirectory::State => "/var/lib/hostward",
            OwnDirectory::Private => "/var/lib/hostward/private",
            OwnDirectory::Store => "/var/lib/hostward/store",
            OwnDirectory::Targets => "/var/lib/hostward/store/targets",
            OwnDirectory::Ssh => "/var/lib/hostward/ssh",
            OwnDirectory::Archive => "/var/lib/hostward/archive",
        }
    }

    /// Its permission bits. Owner and group are root.
    pub fn mode(self) -> u32 {
        match self {
            OwnDirectory::State | OwnDirectory::Ssh => 0o755,
            _ => 0o700,
        }
    }
}

/// A managed file as it is. A file that is not there is absent from [`Facts::files`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFact {
    /// Its content; empty where it is not a regular file or too large to be ours.
    pub content: Vec<u8>,
    /// A regular file, owned by root:root, with one link and exactly [`ManagedFile::mode`].
    pub attributes_ok: bool,
}

/// The account database as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum DatabaseFact {
    /// There is none.
    #[default]
    Absent,
    /// It is there, but cut, altered, or with wrong owner or mode; what was wrong.
    Damaged(String),
    /// It is whole and holds these.
    Present(Accounts),
}

/// What the account database holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accounts {
    /// Users, by uid.
    pub users: Vec<User>,
    /// Groups, by gid.
    pub groups: Vec<Group>,
}
