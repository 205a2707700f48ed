//! Finding the provisioner and opening its key.

use std::sync::Arc;

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use crate::error::StepCaError;
use crate::http::{Answer, Deadline, exchange};
use crate::jwe::{self, JweError};
use crate::jwk::SigningKey;
use crate::password::Password;

/// A page of provisioners; templates are among what each tells.
const MAX_PAGE: usize = 4 << 20;
/// How many pages are asked for, and how many provisioners on each: step-ca gives at most 100.
const PAGES: usize = 64;
const ON_PAGE: usize = 20;
/// An escrowed key.
const MAX_KEY: usize = 64 << 10;
/// How many others are named where the one is not found.
const NAMED: usize = 20;

#[derive(Deserialize)]
struct Page {
    provisioners: Vec<Listed>,
    #[serde(default, rename = "nextCursor")]
    next: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    key: Option<Key>,
    claims: Option<Claims>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "enableSSHCA")]
    ssh: Option<bool>,
}

#[derive(Deserialize)]
struct Escrowed {
    key: String,
}

/// A provisioner whose key is open.
#[derive(Debug)]
pub struct Provisioner {
    pub name: String,
    /// Id of its key.
    pub kid: String,
    /// Whether it says that it may sign SSH certificates. Where it does not, a setting for all provisioners may allow it.
    pub ssh: bool,
    pub key: SigningKey,
}

impl Provisioner {
    /// The JWK provisioner of this name.
    pub async fn find(
        client: &Client,
        base: &Url,
        name: &str,
        password: &Arc<Password>,
        deadline: Deadline,
    ) -> Result<Self, StepCaError> {
        let listed = look(client, base, name, deadline).await?;
        let kid = match listed.key {
            Some(key) if listed.kind == "JWK" => key.kid,
            _ => {
                let kind = crate::text::quoted(&listed.kind);
                return Err(StepCaError::NotJwk { name: name.into(), kind });
            }
        };
        let escrowed = escrowed(client, base, name, &kid, deadline).await?;
        let key = open(name, escrowed, password.clone()).await?;
        let ssh = listed.claims.and_then(|claims| claims.ssh).unwrap_or(false);
        Ok(Provisioner { name: name.into(), kid, ssh, key })
    }
}

async fn look(client: &Client, base: &Url, name: &str, deadline: Deadline) -> Result<Listed, StepCaError> {
    let mut cursor = String::new();
    let mut others = Vec::new();
    let mut found = None;
    for _ in 0..PAGES {
        let mut url = base.join("provisioners").map_err(|_| StepCaError::Url(base.to_string()))?;
        url.query_pairs_mut().append_pair("limit", &ON_PAGE.to_string()).append_pair("cursor", &cursor);
        let answer = exchange(client, url, None, MAX_PAGE, deadline).await?;
        let page: Page = expect(StatusCode::OK, &answer)?.json()?;
        for listed in page.provisioners {
            if listed.name == name {
                // Names are not unique over types; one that can be used wins.
                let usable = listed.kind == "JWK" && listed.key.is_some();
                found = Some(listed);
                if usable {
                    break;
                }
            } else if others.len() < NAMED {
                others.push(crate::text::quoted(&listed.name));
            }
        }
        let usable = found.as_ref().is_some_and(|listed| listed.kind == "JWK" && listed.key.is_some());
        if usable || page.next.is_empty() || page.next == cursor {
            break;
        }
        cursor = page.next;
    }
    found.ok_or_else(|| StepCaError::UnknownProvisioner { name: name.into(), others })
}

async fn escrowed(
    client: &Client,
    base: &Url,
    name: &str,
    kid: &str,
    deadline: Deadline,
) -> Result<String, StepCaError> {
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut path) => path.pop_if_empty().extend(["provisioners", kid, "encrypted-key"]),
        Err(()) => return Err(StepCaError::Url(base.to_string())),
    };
    let answer = exchange(client, url, None, MAX_KEY, deadline).await?;
    if answer.status == StatusCode::NOT_FOUND {
        answer.problem()?;
        return Err(StepCaError::NoKey { name: name.into() });
    }
    Ok(expect(StatusCode::OK, &answer)?.json::<Escrowed>()?.key)
}

/// Opens the key on a thread that nobody waits for: it is made to take long.
async fn open(name: &str, escrowed: String, password: Arc<Password>) -> Result<SigningKey, StepCaError> {
    let opened = tokio::task::spawn_blocking(move || {
        let jwk = jwe::open(&escrowed, password.expose())?;
        Ok(SigningKey::from_jwk(&jwk))
    });
    let name = name.to_owned();
    match opened.await {
        Ok(Ok(Ok(key))) => Ok(key),
        Ok(Ok(Err(error))) => Err(StepCaError::UnusableKey { name, message: error.to_string() }),
        Ok(Err(JweError::WrongPassword)) => Err(StepCaError::WrongPassword { name }),
        Ok(Err(error)) => Err(StepCaError::UnusableKey { name, message: error.to_string() }),
        Err(_) => Err(StepCaError::UnusableKey { name, message: "opening it did not end".into() }),
    }
}

/// The answer if it has this status.
pub fn expect(status: StatusCode, answer: &Answer) -> Result<&Answer, StepCaError> {
    if answer.status == status {
        return Ok(answer);
    }
    let message = answer.problem()?;
    Err(StepCaError::Refused { url: answer.url.to_string(), status: answer.status.as_u16(), message })
}
