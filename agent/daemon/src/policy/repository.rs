//! Getting files from the project's repository.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hostward_config::TufAuth;
use hostward_protocol::problem::Code;
use reqwest::header::{ETAG, HeaderName, IF_NONE_MATCH};
use reqwest::{StatusCode, Url};

use super::metadata::{MAX_METADATA, Target};
use crate::backend::{Answer, Api, Exchange, Fault, UrlError, base_url, offset};
use crate::disk::DiskError;
use crate::identity::Identity;
use crate::inbox::{Inbox, TIMESTAMP};

/// How long past the wait that was asked for an answer may come.
const GRACE: Duration = Duration::from_secs(30);

static PREFER: HeaderName = HeaderName::from_static("prefer");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The repository of the project that the host belongs to.
#[derive(Debug)]
pub struct Repository {
    api: Api,
    identity: Arc<Identity>,
    url: Url,
    authorize: bool,
}

/// What a poll brought.
#[derive(Debug)]
pub struct Polled {
    /// The timestamp, where the server did not say that it is the same.
    pub timestamp: Option<Vec<u8>>,
    /// Its entity tag.
    pub etag: Option<String>,
    /// Whether the server says that it held the poll.
    pub applied: bool,
    /// Backend's clock minus this host's, in seconds.
    pub offset: Option<i64>,
}

/// Why a target is not there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Something that may pass.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The repository does not have what its metadata says.
    #[error("the repository's `{file}` {problem}")]
    Wrong {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Repository {
    /// The repository of `identity`.
    pub fn new(api: Api, identity: Arc<Identity>, auth: TufAuth) -> Result<Self, UrlError> {
        let url = base_url(&identity.enrollment.repository)?;
        let backend = base_url(&identity.enrollment.url)?;
        Ok(Repository {
            authorize: auth == TufAuth::Host && url.origin() == backend.origin(),
            api,
            identity,
            url,
        })
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whose it is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Asks for the timestamp, once it differs from the one with the tag `etag` or the wait is over.
    pub async fn poll(&self, etag: Option<&str>, wait: Option<u64>) -> Result<Polled, Fault> {
        let mut exchange = self.request(TIMESTAMP, MAX_METADATA)?;
        if let Some(etag) = etag {
            exchange = exchange.header(IF_NONE_MATCH, etag);
        }
        if let Some(wait) = wait {
            exchange = exchange.header(PREFER.clone(), &format!("wait={wait}"));
            exchange.lull = Duration::from_secs(wait);
            exchange.patience = exchange.lull + GRACE;
        }
        let url = exchange.url.clone();
        let answer = self.api.http().exchange(exchange).await?;
        let same = answer.status == StatusCode::NOT_MODIFIED;
        if !same && answer.status != StatusCode::OK {
            return Err(self.refused(&url, &answer));
        }
        let text = |name| answer.headers.get(name).and_then(|v| v.to_str().ok());
        Ok(Polled {
            etag: text(&ETAG).map(str::to_owned),
            applied: text(&PREFERENCE_APPLIED).is_some_and(|v| v.contains("wait")),
            offset: offset(&answer.headers, self.api.clock()),
            timestamp: (!same).then_some(answer.body),
        })
    }

    /// A metadata file; `None` where the repository has none of that name.
    pub async fn metadata(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let exchange = self.request(name, MAX_METADATA)?;
        let url = exchange.url.clone();
        let answer = self.api.http().exchange(exchange).await?;
        if answer.status == StatusCode::OK {
            return Ok(Some(answer.body));
        }
        let fault = self.refused(&url, &answer);
        if fault.is_absent() { Ok(None) } else { Err(fault) }
    }

    /// Fetches a target into the inbox, where its length and hash are what the metadata says.
    pub async fn target(&self, target: &Target, inbox: &Inbox) -> Result<(), FetchError> {
        let wrong = |problem| FetchError::Wrong { file: target.file.clone(), problem };
        let path = format!("targets/{}", target.file);
        let exchange = self.request(&path, target.length)?;
        let url = exchange.url.clone();
        let mut body = match self.api.http().open(exchange).await {
            Err(Fault::TooLong { .. }) => return Err(wrong("is longer than its metadata says")),
            other => other?,
        };
        if body.status != StatusCode::OK {
            let answer =
                Answer { status: body.status, headers: std::mem::take(&mut body.headers), body: Vec::new() };
            let fault = self.refused(&url, &answer);
            return Err(if fault.is_absent() { wrong("is missing") } else { fault.into() });
        }
        let mut incoming = inbox.receive(&target.file)?;
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => incoming.write(chunk.as_ref())?,
                Ok(None) => break,
                Err(Fault::TooLong { .. }) => {
                    return Err(wrong("is longer than its metadata says"));
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        if incoming.length() != target.length {
            return Err(wrong("is shorter than its metadata says"));
        }
        if incoming.sha256() != target.sha256 {
            return Err(wrong("does not have the hash that its metadata says"));
        }
        Ok(incoming.finish()?)
    }

    fn request(&self, path: &str, max_len: u64) -> Result<Exchange, Fault> {
        let url = self
            .url
            .join(path)
            .map_err(|error| Fault::NotApi { url: self.url.to_string(), message: error.to_string() })?;
        let exchange = Exchange::get(url, max_len);
        if self.authorize { self.api.authorized_get(&self.identity, exchange) } else { Ok(exchange) }
    }

    fn refused(&self, url: &Url, answer: &Answer) -> Fault {
        let clock = self.api.clock();
        let fault = Fault::refused(url, answer, clock.now());
        if fault.code() == Some(Code::ClockSkew)
            && let Some(offset) = offset(&answer.headers, clock)
        {
            clock.correct(offset);
        }
        fault
    }
}

/// How long something took.
pub async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let output = future.await;
    (output, start.elapsed())
}
