//! CAs of users and of hosts, and what the KRL is compiled from.

use std::collections::BTreeSet;
use std::fmt::Write;

use hostward_protocol::document::{Entry, Revoked, Ssh};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, PublicKey};

use crate::desired::KrlSpec;
use crate::refusal::{Findings, Refusal, malformed};
use crate::text::shown;

/// The longest line of a key that is read. An RSA key of 16384 bits has less.
const MAX_KEY_LINE: usize = 4096;

/// The user CAs, one a line, without comments; `None` where there is no acceptable one.
pub(crate) fn user_cas(ssh: &Ssh, findings: &mut Findings) -> Option<String> {
    let lines = cas(&ssh.user_cas, Signs::Users, findings);
    (!lines.is_empty()).then(|| lines.iter().map(|line| format!("{line}\n")).collect())
}

/// The host CAs, each a line without comment. One that the same policy revokes is none.
pub(crate) fn host_cas(ssh: &Ssh, revoked: &KrlSpec, findings: &mut Findings) -> Vec<String> {
    let revoked: BTreeSet<&str> = revoked.keys.lines().collect();
    let lines = cas(&ssh.host_cas, Signs::Hosts, findings);
    lines.into_iter().filter(|line| !revoked.contains(line.as_str())).collect()
}

/// Whom a CA signs for.
#[derive(Clone, Copy)]
enum Signs {
    Users,
    Hosts,
}

fn cas(entries: &[Entry<String>], signs: Signs, findings: &mut Findings) -> BTreeSet<String> {
    let (word, kind) = match signs {
        Signs::Users => ("user", "user-ca"),
        Signs::Hosts => ("host", "host-ca"),
    };
    let mut lines = BTreeSet::new();
    for (number, entry) in entries.iter().enumerate() {
        let subject = format!("{word} CA {}", number + 1);
        match entry {
            Entry::Malformed { label, at } => {
                let mut finding = malformed(kind, label, *at);
                finding.subject = subject;
                findings.refuse(finding);
            }
            Entry::Shaped(line) => match ca(line) {
                Ok(line) => {
                    lines.insert(line);
                }
                Err(why) => findings.refuse(
                    Refusal::backend(
                        format!("{kind}-invalid"),
                        format!("{why}; certificates that it signs are not accepted"),
                        "publish the CA's public key as ssh-keygen(1) writes it: Ed25519, ECDSA, their security-key kinds, or RSA of at least 2048 bits",
                    )
                    .about(subject),
                ),
            },
        }
    }
    lines
}

fn ca(line: &str) -> Result<String, &'static str> {
    let key = public_key(line)?;
    match key.key_data() {
        KeyData::Rsa(rsa) if bits(rsa.n.as_bytes()) < 2048 => Err("it is an RSA key of less than 2048 bits"),
        _ => readable(&key),
    }
}

/// The line of a key, where sshd and ssh-keygen read such a key: ssh-keygen takes none of the others beside it either.
fn readable(key: &PublicKey) -> Result<String, &'static str> {
    match key.key_data() {
        KeyData::Dsa(_) => Err("it is a DSA key, which sshd does not accept"),
        KeyData::Rsa(rsa) => match bits(rsa.n.as_bytes()) {
            ..1024 => Err("it is an RSA key of less than 1024 bits, which sshd does not accept"),
            16385.. => Err("it is an RSA key of more than 16384 bits, which sshd does not accept"),
            _ => encoded(key),
        },
        _ => encoded(key),
    }
}

fn bits(number: &[u8]) -> usize {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    match number.get(leading..) {
        Some([first, rest @ ..]) => rest.len() * 8 + (8 - first.leading_zeros() as usize),
        _ => 0,
    }
}

/// A public key of a `.pub` line: no options, no certificate.
fn public_key(line: &str) -> Result<PublicKey, &'static str> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    if line.len() > MAX_KEY_LINE {
        return Err("its line is longer than any key");
    }
    if line.contains(|c: char| c.is_control()) {
        return Err("it is more than one line, or has control characters");
    }
    let key = PublicKey::from_openssh(line).map_err(|_| "it is not an OpenSSH public key")?;
    match key.algorithm() {
        Algorithm::Other(_) => Err("it is a key of a kind that is not known here"),
        _ => Ok(key),
    }
}

/// The line again, made from what was understood of it.
fn encoded(key: &PublicKey) -> Result<String, &'static str> {
    let mut key = key.clone();
    key.set_comment("");
    let line = key.to_openssh().map_err(|_| "it cannot be written as an OpenSSH public key")?;
    Ok(line.trim_end().to_owned())
}

/// What the KRL is compiled from. An entry that cannot be expressed is *not* revoked, so its refusal says so loudly.
pub(crate) fn krl(revoked: &Revoked, findings: &mut Findings) -> KrlSpec {
    let mut spec = KrlSpec::default();
    let mut serials = BTreeSet::new();
    for (number, entry) in revoked.serials.iter().enumerate() {
        match entry.shaped() {
            Some(serial) if *serial > 0 => {
                serials.insert(*serial);
            }
            Some(_) => findings.refuse(not_revoked("serial", number, "is 0, which a KRL cannot hold")),
            None => findings.refuse(not_revoked("serial", number, "is no number")),
        }
    }
    for (first, last) in ranges(&serials) {
        let _ = if first == last {
            writeln!(spec.per_ca, "serial: {first}")
        } else {
            writeln!(spec.per_ca, "serial: {first}-{last}")
        };
    }
    let mut key_ids = BTreeSet::new();
    for (number, entry) in revoked.key_ids.iter().enumerate() {
        match entry.shaped().map(|id| key_id(id)) {
            Some(Ok(id)) => {
                key_ids.insert(id);
            }
            Some(Err(why)) => findings.refuse(not_revoked("key id", number, &why)),
            None => findings.refuse(not_revoked("key id", number, "is no text")),
        }
    }
    for id in key_ids {
        let _ = writeln!(spec.per_ca, "id: {id}");
    }
    let mut keys = BTreeSet::new();
    for (number, entry) in revoked.keys.iter().enumerate() {
        let line = entry.shaped().ok_or("it is no text");
        match line.and_then(|line| public_key(line)).and_then(|key| readable(&key)) {
            Ok(line) => {
                keys.insert(line);
            }
            Err(why) => findings.refuse(not_revoked("key", number, &format!("cannot be read: {why}"))),
        }
    }
    for key in keys {
        let _ = writeln!(spec.keys, "{key}");
    }
    spec
}

/// ssh-keygen(1) ends a line of a specification at `#` and drops blanks around it: another id would be revoked.
fn key_id(id: &str) -> Result<&str, String> {
    let why = if id.is_empty() {
        "is empty"
    } else if id.contains('#') || id.trim() != id {
        "has a `#`, or a blank at its start or end, which ssh-keygen does not read as part of it"
    } else if id.contains(|c: char| c.is_control()) {
        "has control characters"
    } else if id.len() > 1024 {
        "is longer than 1024 bytes"
    } else {
        return Ok(id);
    };
    Err(format!("(`{}`) {why}", shown(id)))
}

fn not_revoked(kind: &str, number: usize, why: &str) -> hostward_protocol::report::Finding {
    let code = format!("revoked-{}-invalid", kind.replace(' ', "-"));
    Refusal::backend(
        code,
        format!("the {kind} {why}: THIS REVOCATION IS NOT IN FORCE on this host"),
        "revoke the same certificate by its serial, its key id or its public key",
    )
    .about(format!("revoked {kind} {}", number + 1))
}

fn ranges(serials: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &serial in serials {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(serial) => *last = serial,
            _ => ranges.push((serial, serial)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBNIIhm0F2SGChPWeu03FhwNRRGp5Gb7CGoPB2pnmgUx";

    fn ssh(json: &str) -> Ssh {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn cas_are_written_anew_and_bad_ones_refused() {
        let ssh = ssh(&format!(
            r#"{{"schema":"x","user_cas":["{ED25519} a \"comment\"","{ED25519}","cert-authority {ED25519}","nonsense","",7,
                "{ED25519}\nssh-ed25519 AAAA", "ssh-ed25519 AAAA"]}}"#
        ).replace("a \"comment\"", "a comment"));
        let mut findings = Findings::default();
        assert_eq!(user_cas(&ssh, &mut findings), Some(format!("{ED25519}\n")));
        let codes: Vec<_> = findings.refusals.iter().map(|f| f.code.as_str()).collect();
        assert_eq!(
            codes,
            [
                "user-ca-invalid",
                "user-ca-invalid",
                "user-ca-invalid",
                "user-ca-malformed",
                "user-ca-invalid",
                "user-ca-invalid"
            ]
        );
    }

    /// ECDSA of three sizes, RSA of 2048 and of 1024 bits, DSA, and Ed25519 of a security key.
    const KINDS: &str = include_str!("trust/keys.pub");

    #[test]
    fn kinds_of_keys() {
        let outcomes: Vec<_> = KINDS.lines().map(|line| ca(line).map(|written| written == line)).collect();
        assert_eq!(
            outcomes,
            [
                Ok(true),
                Ok(true),
                Ok(true),
                Ok(true),
                Err("it is an RSA key of less than 2048 bits"),
                Err("it is a DSA key, which sshd does not accept"),
                Ok(true),
            ]
        );
        let revoked = Revoked {
            keys: KINDS.lines().map(|line| line.to_owned().into()).collect(),
            ..Revoked::default()
        };
        let mut findings = Findings::default();
        assert_eq!(krl(&revoked, &mut findings).keys.lines().count(), 6, "weak keys can be revoked too");
        let refused: Vec<_> =
            findings.refusals.iter().map(|f| (f.subject.as_str(), f.code.as_str())).collect();
        assert_eq!(refused, [("revoked key 6", "revoked-key-invalid")], "but DSA");
    }

    /// A public key of an RSA modulus of this many bits.
    fn rsa(bits: usize) -> String {
        use ssh_key::Mpint;
        use ssh_key::public::RsaPublicKey;
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] = u8::MAX >> (n.len() * 8 - bits);
        let e = Mpint::from_positive_bytes(&[1, 0, 1]).unwrap();
        let key = RsaPublicKey { e, n: Mpint::from_positive_bytes(&n).unwrap() };
        PublicKey::from(KeyData::Rsa(key)).to_openssh().unwrap()
    }

    #[test]
    fn rsa_keys_that_openssh_does_not_read_are_refused() {
        let sizes = [768, 1023, 1024, 2047, 2048, 16384, 16385, 20000];
        let revoked = Revoked { keys: sizes.iter().map(|n| rsa(*n).into()).collect(), ..Revoked::default() };
        let mut findings = Findings::default();
        let spec = krl(&revoked, &mut findings);
        let expected: BTreeSet<_> = [1024, 2047, 2048, 16384].map(rsa).into();
        assert_eq!(spec.keys.lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
        assert_eq!(findings.refusals.len(), 4);
        assert!(findings.refusals.iter().all(|f| f.message.contains("NOT IN FORCE")));
        let trusted: Vec<_> = sizes.into_iter().filter(|n| ca(&rsa(*n)).is_ok()).collect();
        assert_eq!(trusted, [2048, 16384]);
    }

    #[test]
    fn nothing_acceptable_is_no_ca() {
        let ssh = ssh(r#"{"schema":"x","user_cas":["nonsense"]}"#);
        assert_eq!(user_cas(&ssh, &mut Findings::default()), None);
    }

    #[test]
    fn what_the_krl_is_compiled_from() {
        let ssh = ssh(&format!(
            r#"{{"schema":"x","revoked":{{"serials":[9,7,8,0,"x",18446744073709551615],
                "key_ids":["jenkins","with space","a#b"," x","a\nid: root",""],"keys":["{ED25519} c","x"]}}}}"#
        ));
        let mut findings = Findings::default();
        let spec = krl(&ssh.revoked, &mut findings);
        assert_eq!(spec.per_ca, "serial: 7-9\nserial: 18446744073709551615\nid: jenkins\nid: with space\n");
        assert_eq!(spec.keys, format!("{ED25519}\n"));
        assert_eq!(findings.refusals.len(), 2 + 4 + 1);
        assert!(findings.refusals.iter().all(|f| f.message.contains("NOT IN FORCE")));
        assert!(krl(&Revoked::default(), &mut findings).is_empty());
    }
}
