//! Who issues certificates, and knows where hosts are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hostward_protocol::api::{ServiceCertificateRequest, Targets};
use hostward_protocol::report::{Finding, Responsible};
use hostward_ssh_agent::Expected;
use tokio::sync::watch;

use crate::backend::{Api, Fault};
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

/// A certificate, to be checked.
#[derive(Debug)]
pub struct Issued {
    /// A line as in a `-cert.pub` file.
    pub line: String,
    /// What it may permit.
    pub extensions: &'static [&'static str],
}

/// Where the issuer is asked. One that does not answer is left alone for a while, by all: whoever wants several things
/// of it, one after the other, waits for it once.
#[derive(Debug)]
pub struct Office {
    issuer: watch::Sender<Option<Issuer>>,
    down: Mutex<Option<(Instant, Failure)>>,
}

impl Default for Office {
    fn default() -> Self {
        Office { issuer: watch::Sender::new(None), down: Mutex::new(None) }
    }
}

impl Office {
    /// Who issues from now on.
    pub fn set(&self, issuer: Option<Issuer>) {
        self.issuer.send_replace(issuer);
        *self.down() = None;
    }

    /// A certificate.
    pub async fn issue(&self, request: &ServiceCertificateRequest) -> Result<Issued, Failure> {
        let issuer = self.open()?;
        let subject = format!("the certificate of uid {}", request.uid);
        let line = self.told(in_time(&issuer, &subject, issuer.issue(request, &subject)).await)?;
        Ok(Issued { line, extensions: issuer.extensions() })
    }

    /// The hosts called `name` that the user bound to `uid` may enter.
    pub async fn targets(&self, name: &str, uid: u32) -> Result<Targets, Failure> {
        let issuer = self.open()?;
        let subject = format!("host `{}`", shown(name));
        self.told(in_time(&issuer, &subject, issuer.targets(name, uid, &subject)).await)
    }

    /// Who issues, if it makes sense to ask now.
    fn open(&self) -> Result<Issuer, Failure> {
        if let Some((until, failure)) = &*self.down()
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        self.issuer.borrow().clone().ok_or_else(not_enrolled)
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
    async fn issue(&self, request: &ServiceCertificateRequest, subject: &str) -> Result<String, Failure> {
        match self {
            Issuer::Backend { api, identity } => {
                let key = random::id();
                let issued = api.service_certificate(identity, request, &key).await;
                issued.map(|issued| issued.certificate).map_err(|fault| failure(&fault, subject))
            }
            #[cfg(test)]
            Issuer::Script(script) => script.issue(request).await,
        }
    }

    async fn targets(&self, name: &str, uid: u32, subject: &str) -> Result<Targets, Failure> {
        match self {
            Issuer::Backend { api, identity } => {
                api.targets(identity, name, uid).await.map_err(|fault| failure(&fault, subject))
            }
            #[cfg(test)]
            Issuer::Script(script) => script.targets(name).await,
        }
    }

    /// What an answer that did not come in time is.
    fn late(&self, subject: &str) -> Failure {
        let url = match self {
            Issuer::Backend { identity, .. } => identity.enrollment.url.clone(),
            #[cfg(test)]
            Issuer::Script(_) => "the script".into(),
        };
        failure(&Fault::Timeout { url, seconds: PATIENCE.as_secs() }, subject)
    }

    /// What its certificates may permit.
    fn extensions(&self) -> &'static [&'static str] {
        Expected::EXTENSIONS
    }
}

async fn in_time<T>(
    issuer: &Issuer,
    subject: &str,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(issuer.late(subject)),
    }
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
    Failure { finding: finding.into(), retry_after: None, is_down: false }
}

/// Somebody else's text, for one line of a message.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect()
}
