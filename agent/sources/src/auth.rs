//! How somebody showed who they are: `SSH_AUTH_INFO_0`, which sshd gives to PAM.
//!
//! A line a method: `publickey ssh-ed25519-cert-v01@openssh.com AAAA…`, `password`. Certificates are the remote party's to
//! write; sshd took this one, and here it is read for the record only.

use hostward_events::Authentication;
use ssh_key::{Certificate, HashAlg, PublicKey};

/// What the last method that succeeded tells.
pub fn of_ssh(info: &str) -> Option<Authentication> {
    let line = info.lines().rev().find(|line| !line.trim().is_empty())?;
    let mut words = line.split_whitespace();
    let method = words.next()?.to_owned();
    let mut found = Authentication { method, ..Authentication::default() };
    let (Some(kind), Some(key)) = (words.next(), words.next()) else {
        return Some(found);
    };
    let text = format!("{kind} {key}");
    if kind.contains("-cert-v01@") {
        if let Ok(certificate) = Certificate::from_openssh(&text) {
            found.key = Some(
                PublicKey::from(certificate.public_key().clone()).fingerprint(HashAlg::Sha256).to_string(),
            );
            found.key_id = Some(certificate.key_id().to_owned());
            found.serial = Some(certificate.serial());
            found.ca = Some(certificate.signature_key().fingerprint(HashAlg::Sha256).to_string());
        }
    } else if let Ok(key) = PublicKey::from_openssh(&text) {
        found.key = Some(key.fingerprint(HashAlg::Sha256).to_string());
    }
    Some(found)
}
