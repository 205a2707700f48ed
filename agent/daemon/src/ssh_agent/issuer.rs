//! Who issues certificates, and knows where hosts are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hostward_protocol::api::{ServiceCertificateRequest, Targets};
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::service::{BoundService, ServiceIssuer};
use hostward_ssh_agent::{Keys, Limits};
use tokio::sync::watch;

use super::step_ca::Authority;

use crate::backend::{Api, Fault};
use crate::foreign::plain;
use crate::identity::Identity;
use crate::random;

/// How long an answer may take. Somebody waits at a prompt, and is told why not within five seconds.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// For how long an issuer that does not answer is left alone.
const REST: Duration = Duration::from_secs(3);
/// How long a name of somebody else's in a message may be.
const MAX_SHOWN: usize = 200;

/// Who issues.
#[derive(Clone, Debug)]
pub enum Issuer {
    /// The backend, which this host is enrolled at.
    Backend {
        /// How it is asked.
        api: Api,
        /// As whom.
        identity: Arc<Identity>,
    },
    /// The step-ca of the operator's configuration.
    StepCa(Arc<Authority>),
    /// A script of a test.
    #[cfg(test)]
    Script(Arc<super::tests::Script>),
}

/// Why there is nothing.
#[derive(Clone, Debug)]
pub struct Failure {
    /// For people and programs.
    pub finding: Box<Finding>,
    /// When to try again, as far as the other side says.
    pub retry_after: Option<Duration>,
    /// Whether nobody can be reached, so that another request would fare no better now.
    pub is_down: bool,
}

impl Failure {
    /// One that trying again does not mend.
    pub fn lasting(finding: Finding) -> Self {
        Failure { finding: finding.into(), retry_after: None, is_down: false }
    }
}

/// A certificate, to be checked.
#[derive(Debug)]
pub struct Issued {
    /// A line as in a `-cert.pub` file.
    pub line: String,
    /// Who may have signed it, where that is not for the policy to say.
    pub authorities: Option<Keys>,
    /// How much it may be good for, where the issuer has not judged that.
    pub limits: Option<Limits>,
}

/// Both issuers. That one is down says nothing of the other.
#[derive(Debug)]
pub struct Offices {
    /// Certificates of accounts that the signed policy binds, and the places of hosts.
    pub backend: Office,
    /// Certificates of accounts that the operator's configuration binds.
    pub step_ca: Office,
}

impl Default for Offices {
    fn default() -> Self {
        Offices { backend: Office::closed(not_enrolled), step_ca: Office::closed(no_step_ca) }
    }
}

impl Offices {
    /// The one that issues an account's certificates.
    pub fn of(&self, service: &BoundService) -> &Office {
        match service.issuer {
            ServiceIssuer::Backend => &self.backend,
            ServiceIssuer::StepCa { .. } => &self.step_ca,
        }
    }
}

/// Where the issuer is asked. One that does not answer is left alone for a while, by all: whoever wants several things
/// of it, one after the other, waits for it once.
#[derive(Debug)]
pub struct Office {
    issuer: watch::Sender<Option<Issuer>>,
    down: Mutex<Option<(Instant, Failure)>>,
    /// What is said where there is no issuer.
    closed: fn() -> Failure,
}

impl Office {
    /// One without an issuer.
    fn closed(closed: fn() -> Failure) -> Self {
        Office { issuer: watch::Sender::new(None), down: Mutex::new(None), closed }
    }

    /// Who issues from now on.
    pub fn set(&self, issuer: Option<Issuer>) {
        self.issuer.send_replace(issuer);
        *self.down() = None;
    }

    /// A certificate for the account.
    pub async fn issue(
        &self,
        service: &BoundService,
        request: &ServiceCertificateRequest,
    ) -> Result<Issued, Failure> {
        let issuer = self.open()?;
        self.told(issuer.issue(service, request).await)
    }

    /// The hosts called `name` that the user bound to `uid` may enter.
    pub async fn targets(&self, name: &str, uid: u32) -> Result<Targets, Failure> {
        let issuer = self.open()?;
        let subject = format!("host `{}`", shown(name));
        self.told(issuer.targets(name, uid, &subject).await)
    }

    /// Who issues, if it makes sense to ask now.
    fn open(&self) -> Result<Issuer, Failure> {
        if let Some((until, failure)) = &*self.down()
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        self.issuer.borrow().clone().ok_or_else(self.closed)
    }

    fn told<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        *self.down() = match &outcome {
            Err(failure) if failure.is_down => Some((Instant::now() + REST, failure.clone())),
            _ => None,
        };
        outcome
    }

    fn down(&self) -> MutexGuard<'_, Option<(Instant, Failure)>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issuer {
    async fn issue(
        &self,
        service: &BoundService,
        request: &ServiceCertificateRequest,
    ) -> Result<Issued, Failure> {
        let subject = format!("the certificate of uid {}", request.uid);
        let line = match self {
            Issuer::Backend { api, identity } => {
                let key = random::id();
                let issued = async {
                    let issued = api.service_certificate(identity, request, &key).await;
                    issued.map(|issued| issued.certificate).map_err(|fault| failure(&fault, &subject))
                };
                in_time(&identity.enrollment.url, &subject, issued).await?
            }
            // It has the same patience.
            Issuer::StepCa(authority) => return authority.issue(service, &request.public_key).await,
            #[cfg(test)]
            Issuer::Script(script) => in_time("the script", &subject, script.issue(request)).await?,
        };
        Ok(Issued { line, authorities: None, limits: Some(Limits::BACKEND) })
    }

    async fn targets(&self, name: &str, uid: u32, subject: &str) -> Result<Targets, Failure> {
        match self {
            Issuer::Backend { api, identity } => {
                let targets = async {
                    let targets = api.targets(identity, name, uid).await;
                    targets.map_err(|fault| failure(&fault, subject))
                };
                in_time(&identity.enrollment.url, subject, targets).await
            }
            // It knows no hosts, and is never asked.
            Issuer::StepCa(_) => Err(not_enrolled()),
            #[cfg(test)]
            Issuer::Script(script) => in_time("the script", subject, script.targets(name)).await,
        }
    }
}

async fn in_time<T>(
    url: &str,
    subject: &str,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let late = || Fault::Timeout { url: url.to_owned(), seconds: PATIENCE.as_secs() };
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(failure(&late(), subject)))
}

fn failure(fault: &Fault, subject: &str) -> Failure {
    let is_down = fault.refusal().is_none_or(|refusal| refusal.status.is_server_error());
    Failure { finding: fault.finding(subject).into(), retry_after: fault.retry_after(), is_down }
}

/// Nobody can be asked.
fn not_enrolled() -> Failure {
    let finding = Finding {
        code: "not-enrolled".into(),
        subject: "this host".into(),
        message: "this host is not enrolled, so nobody issues certificates to it".into(),
        responsible: Responsible::Operator,
        mend: "enroll it with `hostward enroll`; `hostward status` as root shows what came of it".into(),
    };
    Failure::lasting(finding)
}

/// The operator's configuration names none, or the agent has not read it yet.
fn no_step_ca() -> Failure {
    Failure::lasting(Finding {
        code: "step-ca-not-configured".into(),
        subject: "step-ca".into(),
        message: "the agent knows no step-ca to ask for this account's certificates".into(),
        responsible: Responsible::Operator,
        mend: "see [step_ca] in /etc/hostward/hostward.toml, then `systemctl reload hostward` and `hostward apply`"
            .into(),
    })
}

/// Somebody else's text, for one line of a message.
pub fn shown(text: &str) -> String {
    plain(text, MAX_SHOWN)
}
