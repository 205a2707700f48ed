//! Public keys that sign certificates, as root wrote them down.

use ssh_key::PublicKey;
use ssh_key::public::KeyData;

/// The longest line that is read. An RSA key of 16384 bits has less.
const MAX_LINE: usize = 4096;
const CERT_AUTHORITY: &str = "@cert-authority";
const REVOKED: &str = "@revoked";

/// Keys of certificate authorities, and keys that count for nothing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    authorities: Vec<KeyData>,
    revoked: Vec<KeyData>,
}

impl Keys {
    /// One key a line, as in sshd's `TrustedUserCAKeys`. What is no key is no authority.
    pub fn of_lines(text: &str) -> Self {
        Keys { authorities: text.lines().filter_map(key).collect(), revoked: Vec::new() }
    }

    /// Those that sign for every host, as known_hosts(5) has them: `@cert-authority * KEY`, less `@revoked * KEY`.
    pub fn of_known_hosts(text: &str) -> Self {
        let marked = |marker| {
            let of_all = move |line: &str| {
                let (hosts, line) = line.strip_prefix(marker)?.trim_start().split_once(' ')?;
                if hosts == "*" { key(line) } else { None }
            };
            text.lines().filter_map(of_all).collect()
        };
        Keys { authorities: marked(CERT_AUTHORITY), revoked: marked(REVOKED) }
    }

    /// Those of both. What either revokes counts for nothing.
    pub fn and(&self, other: &Keys) -> Self {
        let both = |own: &[KeyData], others: &[KeyData]| own.iter().chain(others).cloned().collect();
        Keys {
            authorities: both(&self.authorities, &other.authorities),
            revoked: both(&self.revoked, &other.revoked),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_empty()
    }

    pub(crate) fn contains(&self, key: &KeyData) -> bool {
        self.authorities.contains(key) && !self.is_revoked(key)
    }

    pub(crate) fn is_revoked(&self, key: &KeyData) -> bool {
        self.revoked.contains(key)
    }
}

fn key(line: &str) -> Option<KeyData> {
    let line = line.trim();
    if line.is_empty() || line.len() > MAX_LINE {
        return None;
    }
    PublicKey::from_openssh(line).ok().map(|key| key.key_data().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNIIhm0F2SGChPWeu03FhwNRRGp5Gb7CGoPB2pnmgUx";

    #[test]
    fn lines_that_are_no_keys_count_for_nothing() {
        let keys = Keys::of_lines(&format!("# comment\n\n{KEY}\nssh-ed25519 AAAA\ncert-authority {KEY}\n"));
        assert_eq!(keys.authorities.len(), 1);
        assert!(Keys::of_lines("").is_empty());
    }

    #[test]
    fn only_authorities_for_every_host_are_the_projects() {
        let known = Keys::of_known_hosts(&format!("@cert-authority * {KEY} a comment\n"));
        assert_eq!(known, Keys::of_lines(KEY));
        for other in ["", "* ", "@revoked * ", "@cert-authority web1 ", "web1 ", "#@cert-authority * "] {
            assert!(Keys::of_known_hosts(&format!("{other}{KEY}\n")).is_empty(), "{other}");
        }
        let revoked = Keys::of_known_hosts(&format!("@cert-authority * {KEY}\n@revoked * {KEY}\n"));
        let key = key(KEY).unwrap();
        assert!(!known.and(&revoked).contains(&key) && Keys::default().and(&known).contains(&key));
        assert!(known.contains(&key) && !revoked.contains(&key) && revoked.is_revoked(&key));
    }
}
