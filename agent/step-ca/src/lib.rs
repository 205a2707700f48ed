//! SSH user certificates from a step-ca, as `step ssh certificate` gets them by a provisioner of type JWK.
//!
//! The CA is believed for its root certificate, which the operator pinned, and for nothing that it signed before it was
//! checked. Nothing is written anywhere; the password and the provisioner's key are in memory only. An answer takes
//! [`PATIENCE`] at most.

mod certificate;
mod error;
mod fault;
mod http;
mod jwe;
mod jwk;
mod password;
mod pin;
mod provisioner;
mod sign;
mod signature;
mod skew;
mod text;
mod token;

pub use certificate::{CertificateError, Wanted, beyond_need};
pub use error::StepCaError;
pub use fault::Fault;
pub use password::{CREDENTIAL, Password, PasswordError};
pub use sign::Roots;
pub use skew::Skew;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hostward_config::Fingerprint;
use reqwest::{Client, Url};
use ssh_key::Certificate;
use tokio::sync::Mutex;

use http::Deadline;
use pin::Pinned;
use provisioner::Provisioner;
use token::Options;

/// How long anything here takes at most.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// What comes of a request.
#[derive(Debug)]
pub struct Issued {
    /// The certificate, checked.
    pub certificate: Certificate,
    /// The keys with which the CA signs, as it publishes them now.
    pub roots: Roots,
}

/// A step-ca and one of its provisioners. What was found of them is kept, and looked up anew when it no longer holds.
#[derive(Debug)]
pub struct StepCa {
    base: Url,
    root: Fingerprint,
    name: String,
    lifetime: Duration,
    password: Arc<Password>,
    /// Believes only the pinned root.
    client: Mutex<Option<Pinned>>,
    provisioner: Mutex<Option<Arc<Provisioner>>>,
}

impl StepCa {
    /// As the operator set it. Nothing is connected yet.
    pub fn new(settings: &hostward_config::StepCa, password: Password) -> Result<Self, StepCaError> {
        let url = settings.url.as_str();
        Ok(StepCa {
            base: Url::parse(url).map_err(|_| StepCaError::Url(url.into()))?,
            root: settings.root_fingerprint,
            name: settings.provisioner.clone(),
            lifetime: settings.lifetime.into(),
            password: Arc::new(password),
            client: Mutex::new(None),
            provisioner: Mutex::new(None),
        })
    }

    /// A new certificate: a user certificate for the wanted key, with some or all of the wanted principals and no other,
    /// good now and for no longer than the operator's lifetime, signed by one of the CA's user keys.
    pub async fn issue(&self, wanted: Wanted<'_>, now: DateTime<Utc>) -> Result<Issued, StepCaError> {
        let deadline = Deadline::after(PATIENCE);
        self.in_time(deadline, self.issued(wanted, now, deadline)).await
    }

    /// Does what can be done before a certificate is wanted: the provisioner's key is opened, which takes a while. What is
    /// wrong with root, provisioner and password shows here.
    pub async fn prepare(&self) -> Result<Roots, StepCaError> {
        let deadline = Deadline::after(PATIENCE);
        let ready = async {
            let (client, _) = self.client(deadline).await?;
            self.provisioner(&client, deadline).await?;
            sign::roots(&client, &self.base, deadline).await
        };
        self.in_time(deadline, ready).await
    }

    /// The keys with which the CA signs. Needs no password.
    pub async fn roots(&self) -> Result<Roots, StepCaError> {
        let deadline = Deadline::after(PATIENCE);
        let roots = async {
            let (client, kept) = self.client(deadline).await?;
            match sign::roots(&client, &self.base, deadline).await {
                Err(error) if kept && error.may_be_stale() => {
                    self.forget().await;
                    sign::roots(&self.client(deadline).await?.0, &self.base, deadline).await
                }
                asked => asked,
            }
        };
        self.in_time(deadline, roots).await
    }

    async fn in_time<T>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = Result<T, StepCaError>>,
    ) -> Result<T, StepCaError> {
        let late = || Err(Fault::timeout(&self.base, deadline.patience).into());
        match tokio::time::timeout_at(deadline.at, work).await.unwrap_or_else(|_| late()) {
            Err(StepCaError::Fault(fault @ Fault::CertificateTime { .. })) => Err(self.untimely(fault).await),
            other => other,
        }
    }

    /// Why the CA's TLS certificate is not good now: it may be the clocks. The next request looks anew.
    async fn untimely(&self, fault: Fault) -> StepCaError {
        let skew = self.client.lock().await.take().and_then(|pinned| pinned.skew);
        skew.map_or_else(|| fault.into(), StepCaError::ClockSkew)
    }

    async fn issued(
        &self,
        wanted: Wanted<'_>,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Issued, StepCaError> {
        let (client, kept) = self.client(deadline).await?;
        match self.attempt(&client, wanted, now, deadline).await {
            Err((error, remembered)) if (kept || remembered) && error.may_be_stale() => {
                self.forget().await;
                let (client, _) = self.client(deadline).await?;
                self.attempt(&client, wanted, now, deadline).await.map_err(|(error, _)| error)
            }
            attempted => attempted.map_err(|(error, _)| error),
        }
    }

    /// One attempt; with an error goes whether a remembered provisioner was used.
    async fn attempt(
        &self,
        client: &Client,
        wanted: Wanted<'_>,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Issued, (StepCaError, bool)> {
        let (provisioner, kept) = self.provisioner(client, deadline).await.map_err(|error| (error, false))?;
        self.signed(client, &provisioner, wanted, now, deadline).await.map_err(|error| (error, kept))
    }

    async fn signed(
        &self,
        client: &Client,
        provisioner: &Provisioner,
        wanted: Wanted<'_>,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Issued, StepCaError> {
        let seconds = self.lifetime.as_secs();
        let options = Options {
            kind: "user",
            key_id: wanted.key_id,
            principals: wanted.principals,
            valid_after: "",
            valid_before: format!("{seconds}s"),
        };
        let token =
            token::token(provisioner, &self.base, self.root, &options, now).ok_or(StepCaError::Request)?;
        let asked = (provisioner, now, deadline);
        let ((wire, skew), roots) = tokio::try_join!(
            sign::sign(client, &self.base, wanted.public_key, &token, &options, asked),
            sign::roots(client, &self.base, deadline),
        )?;
        let checked = certificate::check(&wire, wanted, &roots.user, seconds, now);
        checked.map(|certificate| Issued { certificate, roots }).map_err(|error| match (error, skew) {
            (CertificateError::NotNow { .. } | CertificateError::TooLong { .. }, Some(skew)) => {
                StepCaError::ClockSkew(skew)
            }
            (error, _) => error.into(),
        })
    }

    /// A client for the CA, and whether it is one that was there before.
    async fn client(&self, deadline: Deadline) -> Result<(Client, bool), StepCaError> {
        let mut kept = self.client.lock().await;
        if let Some(pinned) = &*kept {
            return Ok((pinned.client.clone(), true));
        }
        let pinned = pin::pinned(&self.base, self.root, deadline).await?;
        let client = pinned.client.clone();
        *kept = Some(pinned);
        Ok((client, false))
    }

    /// The provisioner, and whether it is one that was there before.
    async fn provisioner(
        &self,
        client: &Client,
        deadline: Deadline,
    ) -> Result<(Arc<Provisioner>, bool), StepCaError> {
        let mut kept = self.provisioner.lock().await;
        if let Some(provisioner) = &*kept {
            return Ok((provisioner.clone(), true));
        }
        let found = Provisioner::find(client, &self.base, &self.name, &self.password, deadline).await?;
        let found = Arc::new(found);
        *kept = Some(found.clone());
        Ok((found, false))
    }

    async fn forget(&self) {
        *self.client.lock().await = None;
        *self.provisioner.lock().await = None;
    }
}
