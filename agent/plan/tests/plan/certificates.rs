//! Certificates of hosts, the same every time.

use hostward_plan::facts::{HostKeyKind, OfferedCertificates};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};

use crate::world::{World, start};

fn key(seed: u8) -> PrivateKey {
    Ed25519Keypair::from_seed(&[seed; 32]).into()
}

fn line(key: &PrivateKey) -> String {
    key.public_key().to_openssh().unwrap()
}

/// The host CA.
pub fn ca() -> String {
    line(&key(1))
}

/// This host's key.
pub fn host_key() -> PublicKey {
    key(2).public_key().clone()
}

/// A certificate, good unless changed.
pub struct Wanted {
    pub ca: u8,
    pub key: u8,
    pub kind: CertType,
    pub principals: Vec<&'static str>,
    /// Hours from the start.
    pub from: i64,
    pub until: i64,
    pub option: Option<&'static str>,
}

impl Default for Wanted {
    fn default() -> Self {
        let principals = vec!["h-1", "web1"];
        Wanted { ca: 1, key: 2, kind: CertType::Host, principals, from: -1, until: 24, option: None }
    }
}

impl Wanted {
    pub fn sign(&self) -> String {
        let at = |hours: i64| u64::try_from(start().timestamp() + hours * 3600).unwrap();
        let subject = key(self.key).public_key().key_data().clone();
        let mut builder = Builder::new([7; 32], subject, at(self.from), at(self.until)).unwrap();
        builder.cert_type(self.kind).unwrap();
        builder.serial(7).unwrap().key_id("host:h-1").unwrap();
        if self.principals.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        for principal in &self.principals {
            builder.valid_principal(*principal).unwrap();
        }
        if let Some(option) = self.option {
            builder.critical_option(option, "x").unwrap();
        }
        builder.sign(&key(self.ca)).unwrap().to_openssh().unwrap()
    }
}

/// sshd has the key, and the agent offers these certificates for it.
pub fn offer(world: &mut World, lines: Vec<String>) {
    world.ssh["host_cas"] = serde_json::json!([ca()]);
    let keys = &mut world.facts.sshd.as_mut().unwrap().host_keys;
    keys.insert(HostKeyKind::Ed25519, host_key().to_openssh().unwrap());
    world.facts.offered_certificates = OfferedCertificates::Lines(lines);
}
