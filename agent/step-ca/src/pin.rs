//! The CA's root, by its fingerprint: all that TLS with the CA rests on.

use aws_lc_rs::digest::{SHA256, digest};
use chrono::Utc;
use hostward_config::Fingerprint;
use reqwest::{Certificate, Client, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use crate::error::StepCaError;
use crate::http::{Belief, Deadline, client, exchange};
use crate::skew::Skew;

/// One certificate.
const MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct Root {
    ca: String,
}

/// A client that believes only certificates under one root.
#[derive(Debug)]
pub struct Pinned {
    pub client: Client,
    /// How the clocks differed, by the word of whoever answered when the root was fetched: a hint, where a certificate
    /// is not good at this time.
    pub skew: Option<Skew>,
}

/// A client that believes only certificates under the root with this fingerprint.
///
/// The root itself is fetched from whoever answers: it is believed for its fingerprint, and nothing secret is sent.
pub async fn pinned(base: &Url, fingerprint: Fingerprint, deadline: Deadline) -> Result<Pinned, StepCaError> {
    let url = base.join(&format!("root/{fingerprint}")).map_err(|_| StepCaError::Url(base.to_string()))?;
    let anybody = client(Belief::Anybody)?;
    let answer = exchange(&anybody, url, None, MAX, deadline).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
            answer.problem()?;
            return Err(StepCaError::UnknownRoot { url: base.to_string(), fingerprint });
        }
        status if status.is_server_error() => {
            return Err(StepCaError::Failing { url: answer.url.to_string(), status: status.as_u16() });
        }
        _ => return Err(answer.foreign()),
    }
    let root = check(&answer.json::<Root>()?.ca, fingerprint)
        .ok_or_else(|| StepCaError::OtherRoot { url: base.to_string(), fingerprint })?;
    Ok(Pinned { client: client(Belief::Root(root))?, skew: Skew::between(Utc::now(), answer.date) })
}

/// The one certificate in `pem`, if it is the one that is meant.
fn check(pem: &str, fingerprint: Fingerprint) -> Option<Certificate> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let found = digest(&SHA256, &der);
    (found.as_ref() == fingerprint.0).then(|| Certificate::from_der(&der).ok()).flatten()
}
