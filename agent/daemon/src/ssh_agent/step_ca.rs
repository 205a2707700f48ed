//! A step-ca as issuer: the agent's own, as the operator's configuration has it. It needs no enrollment.

mod known_hosts;
pub mod route;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hostward_protocol::local::StepCaStatus;
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::service::BoundService;
use hostward_ssh_agent::Keys;
use hostward_step_ca::{Issued as Signed, Password, Roots, StepCa, StepCaError, Wanted, beyond_need};
use ssh_key::PublicKey;
use tokio::sync::watch;

use super::issuer::{Failure, Issued};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::{host_info, random};
use known_hosts::KnownHosts;

/// What findings about it are about.
const SUBJECT: &str = "step-ca";

/// The step-ca.
#[derive(Debug)]
pub struct Authority {
    /// Why it cannot be asked, where that is known beforehand.
    ca: Result<StepCa, Finding>,
    known_hosts: KnownHosts,
    clock: Arc<Clock>,
    status: watch::Sender<StepCaStatus>,
    /// What its certificates permit beyond need, as it was last written down.
    beyond: Mutex<Vec<String>>,
}

/// What is outside of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where systemd put the password: `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<&'a Path>,
    /// Where ssh reads its host CAs.
    pub known_hosts: &'a Path,
}

impl Authority {
    /// As the operator set it up. Nothing is asked of it yet.
    pub fn new(settings: &hostward_config::StepCa, place: Place<'_>, clock: Arc<Clock>) -> Self {
        let ca = ca(settings, place.credentials);
        if let Err(finding) = &ca {
            log::error!("{}; {}", finding.message, finding.mend);
        }
        let head = format!(
            "# Managed by hostward-agent: host CAs of the step-ca at {}, root {}.\n",
            settings.url.as_str(),
            settings.root_fingerprint
        );
        let status = StepCaStatus {
            url: settings.url.as_str().to_owned(),
            provisioner: settings.provisioner.clone(),
            asked: false,
            problem: ca.as_ref().err().cloned(),
        };
        Authority {
            ca,
            known_hosts: KnownHosts::open(place.known_hosts.to_owned(), head),
            clock,
            status: watch::Sender::new(status),
            beyond: Mutex::default(),
        }
    }

    /// How it stands with it, and how it changes.
    pub fn status(&self) -> watch::Receiver<StepCaStatus> {
        self.status.subscribe()
    }

    /// Who signs for its hosts.
    pub fn host_cas(&self) -> Arc<Keys> {
        self.known_hosts.keys()
    }

    /// Asks it for what does not depend on any account, until that worked once: the first ssh finds host CAs in place, and
    /// the operator is told what is wrong before anybody waits for it.
    pub async fn make_ready(self: Arc<Self>) {
        let Ok(ca) = &self.ca else { return };
        let mut failures = Backoff::backend();
        while !self.heard(ca.prepare().await.as_ref()) {
            tokio::time::sleep(failures.next(random::fraction())).await;
        }
    }

    /// A certificate, checked as far as step-ca is concerned.
    pub async fn issue(&self, service: &BoundService, public_key: &str) -> Result<Issued, Failure> {
        let ca = self.ca.as_ref().map_err(|finding| Failure::lasting(finding.clone()))?;
        let key = PublicKey::from_openssh(public_key);
        let key = key.map_err(|_| failure(&StepCaError::Request))?;
        let key_id = format!("service:{}@{}:uid={}", service.user, host_info::hostname(), service.uid);
        let wanted = Wanted { public_key: &key, key_id: &key_id, principals: &service.principals };
        let signed = ca.issue(wanted, self.clock.now()).await;
        self.heard(signed.as_ref().map(|signed| &signed.roots));
        let Signed { certificate, roots } = signed.map_err(|error| failure(&error))?;
        self.warn(beyond_need(&certificate));
        let line = certificate.to_openssh().map_err(|_| failure(&StepCaError::Request))?;
        Ok(Issued { line, authorities: Some(Keys::of_lines(&lines(&roots.user))), limits: None })
    }

    /// Writes down what was heard of it; answers with whether that was good.
    fn heard(&self, roots: Result<&Roots, &StepCaError>) -> bool {
        let problem = match roots {
            Ok(roots) => self.known_hosts.put(&roots.host).err().map(|error| unwritable(&error.to_string())),
            Err(error) => Some(error.finding(SUBJECT)),
        };
        let is_good = problem.is_none();
        self.status.send_if_modified(|status| {
            if status.asked && status.problem == problem {
                return false;
            }
            match (&status.problem, &problem) {
                (_, Some(finding)) => log::warn!("step-ca: {}; {}", finding.message, finding.mend),
                (Some(_), None) => log::info!("step-ca: it can be asked again"),
                (None, None) => log::info!("step-ca: it can be asked"),
            }
            (status.asked, status.problem) = (true, problem);
            true
        });
        is_good
    }

    fn warn(&self, beyond: Vec<String>) {
        let mut written = self.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        if *written == beyond {
            return;
        }
        if !beyond.is_empty() {
            log::warn!(
                "step-ca: its certificates permit more than service accounts need ({}); let the provisioner's SSH template \
                 (options.ssh.template in ca.json) have only permit-pty and permit-port-forwarding",
                beyond.join(", ")
            );
        }
        *written = beyond;
    }
}

fn ca(settings: &hostward_config::StepCa, credentials: Option<&Path>) -> Result<StepCa, Finding> {
    let password = Password::from_credentials(credentials).map_err(|error| Finding {
        code: "step-ca-no-password".into(),
        subject: SUBJECT.into(),
        message: error.to_string(),
        responsible: Responsible::Operator,
        mend: error.mend().into(),
    })?;
    StepCa::new(settings, password).map_err(|error| error.finding(SUBJECT))
}

fn failure(error: &StepCaError) -> Failure {
    let is_down = matches!(error, StepCaError::Fault(_) | StepCaError::Failing { .. });
    Failure { is_down, ..Failure::lasting(error.finding(SUBJECT)) }
}

fn unwritable(message: &str) -> Finding {
    Finding {
        code: "step-ca-known-hosts".into(),
        subject: SUBJECT.into(),
        message: message.into(),
        responsible: Responsible::Operator,
        mend: "run `systemd-tmpfiles --create hostward.conf`, then `systemctl restart hostward`".into(),
    }
}

/// Keys, one a line.
fn lines(keys: &[PublicKey]) -> String {
    keys.iter().filter_map(|key| key.to_openssh().ok()).map(|line| line + "\n").collect()
}
