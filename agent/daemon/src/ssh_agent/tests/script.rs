//! A script in the issuer's place, and a certificate authority.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hostward_protocol::api::{Matched, ServiceCertificateRequest, Target, Targets};
use hostward_protocol::report::{Finding, Responsible};
use hostward_ssh_agent::{Expected, Identity, Keys, Limits, ServiceKey};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};
use tokio::sync::watch;

use super::super::issuer::Failure;

/// A user CA.
pub struct Ca(PrivateKey);

impl Ca {
    pub fn new() -> Self {
        Ca(PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32])))
    }

    /// A line as in sshd's `TrustedUserCAKeys`.
    pub fn line(&self) -> String {
        self.0.public_key().to_openssh().unwrap()
    }

    /// A certificate.
    pub fn certify(&self, public_key: &str, principal: &str, window: Range<u64>) -> String {
        let key = PublicKey::from_openssh(public_key).unwrap();
        let mut builder =
            Builder::new(vec![1; 32], key.key_data().clone(), window.start, window.end).unwrap();
        builder.cert_type(CertType::User).unwrap();
        builder.key_id(format!("service:{principal}@ci:uid=112")).unwrap();
        builder.valid_principal(principal).unwrap();
        builder.extension("permit-pty", "").unwrap();
        builder.sign(&self.0).unwrap().to_openssh().unwrap()
    }

    /// An identity that was certified at `now`.
    pub fn identity(&self, principal: &str, window: Range<u64>, now: u64) -> Arc<Identity> {
        let key = ServiceKey::generate().unwrap();
        let line = self.certify(&key.public_line().unwrap(), principal, window);
        let (authorities, principals) = (Keys::of_lines(&self.line()), [principal.to_owned()]);
        let expected = Expected {
            principals: &principals,
            authorities: &authorities,
            limits: Some(Limits::BACKEND),
            now,
        };
        Arc::new(key.certified(&line, &expected).unwrap())
    }
}

/// What the script does.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Issues for this principal.
    Issue(&'static str),
    /// Fails with this code.
    Fail(&'static str),
    /// Cannot be reached.
    Down,
}

/// The script.
pub struct Script {
    pub ca: Ca,
    mode: Mutex<Mode>,
    /// Answers only while this is true.
    pub open: watch::Sender<bool>,
    pub issued: AtomicUsize,
    pub looked_up: AtomicUsize,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub fn new() -> Arc<Self> {
        Arc::new(Script {
            ca: Ca::new(),
            mode: Mutex::new(Mode::Issue("deploy")),
            open: watch::Sender::new(true),
            issued: AtomicUsize::new(0),
            looked_up: AtomicUsize::new(0),
        })
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub async fn issue(&self, request: &ServiceCertificateRequest) -> Result<String, Failure> {
        self.answering().await;
        self.issued.fetch_add(1, Ordering::Relaxed);
        let now = chrono::Utc::now().timestamp() as u64;
        match self.mode() {
            Mode::Issue(principal) => {
                Ok(self.ca.certify(&request.public_key, principal, now - 60..now + 180))
            }
            other => Err(other.failure()),
        }
    }

    /// `web1` behind `bastion`, two hosts called `db`, `a` and `b` that are each other's bastion, and no other.
    pub async fn targets(&self, name: &str) -> Result<Targets, Failure> {
        self.answering().await;
        self.looked_up.fetch_add(1, Ordering::Relaxed);
        if !matches!(self.mode(), Mode::Issue(_)) {
            return Err(self.mode().failure());
        }
        let hosts = match name {
            "web1" => vec![host("h1", "web1", Some("bastion"))],
            "bastion" => vec![host("h2", "bastion", None)],
            "db" => vec![host("h3", "db", None), host("h4", "db", None)],
            "a" => vec![host("h5", "a", Some("b"))],
            "b" => vec![host("h6", "b", Some("a"))],
            _ => Vec::new(),
        };
        Ok(Targets { hosts })
    }

    async fn answering(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    fn mode(&self) -> Mode {
        self.mode.lock().unwrap().clone()
    }
}

impl Mode {
    fn failure(&self) -> Failure {
        let code = match self {
            Mode::Fail(code) => code,
            _ => "backend-connection-refused",
        };
        let finding = Finding {
            code: code.into(),
            subject: "the script".into(),
            message: format!("the script says {code}"),
            responsible: Responsible::Backend,
            mend: "mend it".into(),
        };
        Failure {
            finding: finding.into(),
            retry_after: None::<Duration>,
            is_down: matches!(self, Mode::Down),
        }
    }
}

fn host(id: &str, name: &str, bastion: Option<&str>) -> Target {
    Target {
        id: id.into(),
        project: "acme".into(),
        matched: Matched::Hostname,
        hostname: name.into(),
        canonical_name: None,
        address: "192.0.2.1".into(),
        port: 22,
        bastion: bastion.map(Into::into),
        last_seen: chrono::DateTime::UNIX_EPOCH,
    }
}
