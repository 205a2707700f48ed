//! User and group names.

use super::Kind;
use crate::refusal::Refusal;

/// A login name: `[a-z_][a-z0-9_-]{0,31}`, and not one that a system gives a meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserName<'a>(&'a str);

/// A group name, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupName<'a>(&'a str);

impl<'a> UserName<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        parse(text, Kind::User).map(UserName)
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }
}

impl<'a> GroupName<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        parse(text, Kind::Group).map(GroupName)
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }
}

/// The longest name, in bytes.
const MAX_LEN: usize = 32;

/// Sorted. Names whose holders are, or can become, root or the system on some distribution, whether or not this host has them now:
/// a package installed tomorrow would find them taken.
const RESERVED: &[&str] = &[
    "_apt",
    "_chrony",
    "_ssh",
    "adm",
    "admin",
    "administrator",
    "audio",
    "avahi",
    "backup",
    "bin",
    "caddy",
    "cdrom",
    "chrony",
    "clamav",
    "containerd",
    "crontab",
    "daemon",
    "dbus",
    "debian-tor",
    "dialout",
    "dip",
    "disk",
    "docker",
    "fax",
    "floppy",
    "ftp",
    "games",
    "geoclue",
    "gnats",
    "halt",
    "haproxy",
    "hostward",
    "hostward-principals",
    "hostward-users",
    "http",
    "incus",
    "incus-admin",
    "input",
    "irc",
    "kmem",
    "kvm",
    "libvirt",
    "libvirt-qemu",
    "list",
    "lock",
    "lp",
    "lpadmin",
    "lxd",
    "mail",
    "man",
    "mem",
    "messagebus",
    "microk8s",
    "mlocate",
    "munge",
    "mysql",
    "named",
    "netdev",
    "news",
    "nfsnobody",
    "nobody",
    "nogroup",
    "ntp",
    "operator",
    "plocate",
    "plugdev",
    "podman",
    "polkitd",
    "postdrop",
    "postfix",
    "postgres",
    "proxy",
    "qemu",
    "redis",
    "render",
    "root",
    "rpc",
    "rpcuser",
    "rtkit",
    "saned",
    "sasl",
    "sgx",
    "shadow",
    "shutdown",
    "src",
    "ssh",
    "ssh_keys",
    "sshd",
    "ssl-cert",
    "ssl_cert",
    "staff",
    "statd",
    "sudo",
    "sudoers",
    "sync",
    "sys",
    "syslog",
    "tape",
    "tcpdump",
    "tss",
    "tty",
    "ubuntu-admin",
    "users",
    "utmp",
    "uucp",
    "uuidd",
    "video",
    "voice",
    "wheel",
    "wireshark",
    "www-data",
    "wwwrun",
];

/// Beginnings that systemd and Debian keep for system users and groups.
const RESERVED_PREFIXES: &[&str] = &["systemd-", "hostward-", "debian-", "lxc-"];

fn parse(text: &str, kind: Kind) -> Result<&str, Refusal> {
    let word = kind.word();
    if !is_well_formed(text) {
        return Err(Refusal::backend(
            format!("{word}-name-invalid"),
            "the name is not a lower-case letter or underscore followed by at most 31 of `a-z`, `0-9`, `_`, `-`",
            "choose another name on the backend",
        ));
    }
    let reserved = RESERVED.binary_search(&text).is_ok()
        || RESERVED_PREFIXES.iter().any(|p| text.starts_with(p))
        // No letter, no digit: nobody's name.
        || text.bytes().all(|b| b == b'_' || b == b'-');
    if reserved {
        return Err(Refusal::backend(
            format!("{word}-name-reserved"),
            format!(
                "the name belongs to the system: on some hosts whoever has it is, or can become, root (`{text}`)"
            ),
            "choose another name on the backend",
        ));
    }
    Ok(text)
}

fn is_well_formed(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next();
    text.len() <= MAX_LEN
        && first.is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        UserName::parse(text).unwrap_err().code
    }

    #[test]
    fn the_reserved_names_are_sorted() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn names() {
        for good in ["alice", "_x", "a", "b-2_c", &"a".repeat(32)] {
            assert_eq!(UserName::parse(good).unwrap().as_str(), good);
            assert_eq!(GroupName::parse(good).unwrap().as_str(), good);
        }
        for bad in
            ["", "-rf", "a:b", "Alice", "0day", "a.b", "a b", "a\n", "é", "a$", "a/b", "..", &"a".repeat(33)]
        {
            assert_eq!(code(bad), "user-name-invalid", "{bad:?}");
        }
        for reserved in ["root", "docker", "systemd-network", "hostward-users", "__"] {
            assert_eq!(code(reserved), "user-name-reserved", "{reserved:?}");
        }
    }
}
