//! `POST /ssh/sign` and `GET /ssh/roots`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use reqwest::{Client, StatusCode, Url};
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;

use crate::error::StepCaError;
use crate::http::{Answer, Deadline, exchange};
use crate::provisioner::{Provisioner, expect};
use crate::skew::Skew;
use crate::token::Options;

/// A certificate, and what else comes with it.
const MAX_CERTIFICATE: usize = 256 << 10;
/// Keys of CAs.
const MAX_ROOTS: usize = 1 << 20;

#[derive(Serialize)]
struct Request<'a> {
    #[serde(rename = "publicKey")]
    public_key: String,
    ott: &'a str,
    #[serde(flatten)]
    options: &'a Options<'a>,
}

#[derive(Deserialize)]
struct Signed {
    crt: String,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(default, rename = "userKey")]
    user: Vec<String>,
    #[serde(default, rename = "hostKey")]
    host: Vec<String>,
}

/// The keys with which the CA signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// User certificates.
    pub user: Vec<PublicKey>,
    /// Host certificates: what known_hosts has as `@cert-authority`.
    pub host: Vec<PublicKey>,
}

/// What was signed, unchecked, and how the clocks differ, where they do.
pub async fn sign(
    client: &Client,
    base: &Url,
    public_key: &PublicKey,
    token: &str,
    options: &Options<'_>,
    (provisioner, now, deadline): (&Provisioner, DateTime<Utc>, Deadline),
) -> Result<(Vec<u8>, Option<Skew>), StepCaError> {
    let url = base.join("ssh/sign").map_err(|_| StepCaError::Url(base.to_string()))?;
    let wire = public_key.to_bytes().map_err(|_| StepCaError::Request)?;
    let request = Request { public_key: STANDARD.encode(wire), ott: token, options };
    let body = serde_json::to_vec(&request).map_err(|_| StepCaError::Request)?;
    let answer = exchange(client, url, Some(body), MAX_CERTIFICATE, deadline).await?;
    let skew = Skew::between(now, answer.date);
    if answer.status != StatusCode::CREATED {
        return Err(refusal(&answer, options, provisioner, skew));
    }
    let signed: Signed = answer.json()?;
    let wire = STANDARD.decode(signed.crt).map_err(|_| answer.foreign())?;
    Ok((wire, skew))
}

/// Why the CA signs nothing. It tells its log more than us, so what it can be is worked out.
fn refusal(
    answer: &Answer,
    options: &Options<'_>,
    provisioner: &Provisioner,
    skew: Option<Skew>,
) -> StepCaError {
    let message = match answer.problem() {
        Ok(message) => message,
        Err(foreign) => return foreign,
    };
    let words = message.to_lowercase();
    let principals = || options.principals.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
    match answer.status {
        StatusCode::NOT_IMPLEMENTED => StepCaError::NoSsh,
        StatusCode::UNAUTHORIZED => match skew {
            Some(skew) => StepCaError::ClockSkew(skew),
            _ if !provisioner.ssh => StepCaError::SshNotEnabled { name: provisioner.name.clone() },
            _ => StepCaError::Unauthorized { name: provisioner.name.clone(), message },
        },
        _ if words.contains("duration") && words.contains(" than ") => {
            let lifetime = options.valid_before.clone();
            match words.contains("less than") {
                true => StepCaError::LifetimeTooShort { lifetime, message },
                false => StepCaError::LifetimeTooLong { lifetime, message },
            }
        }
        _ if words.contains("principal") || words.contains("name") && words.contains("allowed") => {
            StepCaError::PrincipalsRefused { principals: principals(), message }
        }
        status => StepCaError::Refused { url: answer.url.to_string(), status: status.as_u16(), message },
    }
}

/// The keys with which the CA signs. Keys of kinds that are not known are left out.
pub async fn roots(client: &Client, base: &Url, deadline: Deadline) -> Result<Roots, StepCaError> {
    let url = base.join("ssh/roots").map_err(|_| StepCaError::Url(base.to_string()))?;
    let answer = exchange(client, url, None, MAX_ROOTS, deadline).await?;
    if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED) {
        answer.problem()?;
        return Err(StepCaError::NoSsh);
    }
    let keys: Keys = expect(StatusCode::OK, &answer)?.json()?;
    let read = |keys: Vec<String>| {
        let wires = keys.iter().filter_map(|key| STANDARD.decode(key).ok());
        wires.filter_map(|wire| PublicKey::from_bytes(&wire).ok()).collect()
    };
    Ok(Roots { user: read(keys.user), host: read(keys.host) })
}
