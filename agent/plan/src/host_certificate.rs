//! Certificates of this host's own keys: which of those that the agent offers sshd may present.
//!
//! The agent may be an enemy's: a certificate counts because a CA of the signed policy made it for a key that this
//! host's sshd has. What was in force stays a candidate, so that an agent that offers nothing takes nothing away.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hostward_ssh_agent::{Certificate, CertificateError, Keys};
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

use crate::facts::{Facts, HostKeyKind, ManagedFile, OfferedCertificates};
use crate::refusal::{Findings, Refusal};
use crate::resolve::Horizon;

/// The longest line of a certificate that is read: an RSA key of 16384 bits, signed by another one, with many names.
const MAX_LINE: usize = 32 << 10;

/// The line to present for each kind of key, without comment; the one that is good for longest.
pub(crate) fn choose(
    facts: &Facts,
    host_cas: &[String],
    horizon: &mut Horizon,
    findings: &mut Findings,
) -> BTreeMap<HostKeyKind, String> {
    let Some(sshd) = &facts.sshd else { return BTreeMap::new() };
    let certified = sshd.operator_certificates.iter().filter_map(|line| kind(line)).collect();
    let keys: BTreeMap<HostKeyKind, KeyData> = sshd
        .host_keys
        .iter()
        .filter_map(|(kind, line)| Some((*kind, PublicKey::from_openssh(line).ok()?.key_data().clone())))
        .collect();
    let authorities = Keys::of_lines(&host_cas.join("\n"));
    let own = Own { keys, certified, authorities };
    let mut chosen: BTreeMap<HostKeyKind, Good> = BTreeMap::new();
    let mut take = |good: Good| match chosen.get(&good.kind) {
        Some(known) if known.valid_before >= good.valid_before => {}
        _ => _ = chosen.insert(good.kind, good),
    };
    for kind in HostKeyKind::ALL {
        let present = facts.files.get(&ManagedFile::HostCertificate(kind));
        let line = present.and_then(|fact| std::str::from_utf8(&fact.content).ok());
        if let Some(Ok(good)) = line.map(|line| judge(line, &own, horizon.now())) {
            take(good);
        }
    }
    match &facts.offered_certificates {
        OfferedCertificates::None => {}
        OfferedCertificates::Unreadable(why) => {
            findings.warn(refused(why).about("host certificates in the agent's inbox"));
        }
        OfferedCertificates::Lines(lines) => {
            for (number, line) in lines.iter().enumerate() {
                match judge(line, &own, horizon.now()) {
                    Ok(good) => take(good),
                    Err(Fault::OperatorCertified) => {}
                    Err(fault) => {
                        if let Fault::Untrusted(CertificateError::NotYet { after, .. }) = fault {
                            horizon.note(moment(after));
                        }
                        let subject = format!("host certificate {} in the agent's inbox", number + 1);
                        findings.warn(refused(&fault.to_string()).about(subject));
                    }
                }
            }
        }
    }
    chosen
        .into_iter()
        .map(|(kind, good)| {
            horizon.note(moment(good.valid_before));
            (kind, good.line)
        })
        .collect()
}

fn refused(why: &str) -> Refusal {
    Refusal::backend(
        "host-certificate-refused",
        format!("{why}; sshd does not present it"),
        "have the backend sign this host's keys with a host CA of the policy; if it did, find out what else writes to /var/lib/hostward-agent",
    )
}

/// What a certificate is held against.
struct Own {
    keys: BTreeMap<HostKeyKind, KeyData>,
    /// Keys that the operator has a certificate for, which sshd would present in place of ours anyway.
    certified: BTreeSet<HostKeyKind>,
    authorities: Keys,
}

/// One that may be presented.
struct Good {
    kind: HostKeyKind,
    valid_before: u64,
    line: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it is not an OpenSSH certificate, or one that never ends")]
    Malformed,
    #[error(transparent)]
    Untrusted(#[from] CertificateError),
    #[error("it is not for a key of this host's sshd")]
    OtherKey,
    #[error("the operator has a certificate for the same key")]
    OperatorCertified,
    #[error("it names no host, so that it would be good for any")]
    NoPrincipals,
    #[error("it has a name that ssh would read as a pattern")]
    Pattern,
    #[error("it is valid for ever")]
    Endless,
    #[error("it has critical options, of which there are none for hosts")]
    CriticalOptions,
}

fn judge(line: &str, own: &Own, now: DateTime<Utc>) -> Result<Good, Fault> {
    let line = line.trim_end_matches('\n');
    if line.len() > MAX_LINE || line.contains(|c: char| c.is_control()) {
        return Err(Fault::Malformed);
    }
    let certificate = Certificate::of_line(line)?;
    let now = u64::try_from(now.timestamp()).unwrap_or_default();
    certificate.check_host(&own.authorities, now)?;
    let key = &certificate.key;
    let (kind, _) = own.keys.iter().find(|(_, own)| *own == key).ok_or(Fault::OtherKey)?;
    if own.certified.contains(kind) {
        return Err(Fault::OperatorCertified);
    }
    if certificate.principals.is_empty() {
        return Err(Fault::NoPrincipals);
    }
    let is_plain = |name: &String| {
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"*?!,".contains(&byte);
        !name.is_empty() && name.bytes().all(fits)
    };
    if !certificate.principals.iter().all(is_plain) {
        return Err(Fault::Pattern);
    }
    if !certificate.critical_options.is_empty() {
        return Err(Fault::CriticalOptions);
    }
    if moment(certificate.valid_before).is_none() {
        return Err(Fault::Endless);
    }
    Ok(Good { kind: *kind, valid_before: certificate.valid_before, line: certificate.line() + "\n" })
}

/// The kind of key that the certificate of an operator's is for: they may be good for ever, which ours must not be.
fn kind(line: &str) -> Option<HostKeyKind> {
    let (algorithm, _) = line.split_once(' ')?;
    match algorithm.strip_suffix("-cert-v01@openssh.com")? {
        "ssh-ed25519" => Some(HostKeyKind::Ed25519),
        "ssh-rsa" => Some(HostKeyKind::Rsa),
        other => other.starts_with("ecdsa-sha2-").then_some(HostKeyKind::Ecdsa),
    }
}

/// Seconds since 1970 as a moment; none for those that never come.
fn moment(seconds: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)
}
