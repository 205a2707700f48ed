//! One exchange with the CA, bounded in time and size. No redirect is followed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::{Certificate, Client, Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::StepCaError;
use crate::fault::Fault;

/// Until when everything must be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    pub patience: Duration,
}

impl Deadline {
    /// `patience` from now on.
    pub fn after(patience: Duration) -> Self {
        Deadline { at: Instant::now() + patience, patience }
    }
}

/// Whom a client believes.
pub enum Belief {
    /// Anybody: for what is checked by other means, and carries no secret.
    Anybody,
    /// Who has a certificate under this root.
    Root(Certificate),
}

/// A client for the CA.
pub fn client(belief: Belief) -> Result<Client, Fault> {
    let builder = Client::builder()
        .user_agent(concat!("hostward/", env!("CARGO_PKG_VERSION")))
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // No timer of the pool's own: an idle agent sleeps.
        .pool_idle_timeout(None)
        .pool_max_idle_per_host(2)
        .tcp_user_timeout(Duration::from_secs(60));
    let builder = match belief {
        Belief::Anybody => builder.tls_danger_accept_invalid_certs(true),
        Belief::Root(root) => builder.tls_certs_only([root]),
    };
    builder.build().map_err(|error| Fault::Client { message: error.to_string() })
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub url: Url,
    pub status: StatusCode,
    /// The CA's clock, where the answer tells it.
    pub date: Option<DateTime<Utc>>,
    body: Vec<u8>,
}

/// Sends a request, with a JSON body where there is one, and reads the answer as far as `max_len` bytes.
pub async fn exchange(
    client: &Client,
    url: Url,
    json: Option<Vec<u8>>,
    max_len: usize,
    deadline: Deadline,
) -> Result<Answer, Fault> {
    let late = Fault::timeout(&url, deadline.patience);
    let whole = answer(client, url, json, max_len);
    tokio::time::timeout_at(deadline.at, whole).await.unwrap_or(Err(late))
}

async fn answer(client: &Client, url: Url, json: Option<Vec<u8>>, max_len: usize) -> Result<Answer, Fault> {
    let request = match json {
        Some(json) => {
            client.request(Method::POST, url.clone()).header(CONTENT_TYPE, "application/json").body(json)
        }
        None => client.request(Method::GET, url.clone()),
    };
    let mut response = request.send().await.map_err(|error| Fault::of(&url, &error))?;
    let (status, mut body) = (response.status(), Vec::new());
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| Some(DateTime::parse_from_rfc2822(date).ok()?.to_utc()));
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::of(&url, &error))? {
        if body.len() + chunk.len() > max_len {
            return Err(Fault::TooLong { url: url.to_string(), max: max_len });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { url, status, date, body })
}

/// What step-ca says when it refuses something.
#[derive(Deserialize)]
struct Problem {
    message: String,
}

impl Answer {
    /// The JSON in it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, StepCaError> {
        serde_json::from_slice(&self.body).map_err(|_| self.foreign())
    }

    /// Why the CA refuses, in its words; an error where it was not step-ca that spoke.
    pub fn problem(&self) -> Result<String, StepCaError> {
        if self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED || self.is_busy() {
            return Err(StepCaError::Failing { url: self.url.to_string(), status: self.status.as_u16() });
        }
        Ok(crate::text::quoted(&self.json::<Problem>()?.message))
    }

    fn is_busy(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// No step-ca would answer so.
    pub fn foreign(&self) -> StepCaError {
        StepCaError::NotStepCa { url: self.url.to_string(), status: self.status.as_u16() }
    }
}
