//! Requests to the backend and to the policy's repository.
//!
//! Answers are bounded in time and size, redirects are never followed, and nothing but https is spoken.
//! A credential goes only to the origin that the host enrolled at.

mod api;
mod client;
mod fault;
#[cfg(test)]
mod tests;

pub use api::{Api, Enrolling, offset};
pub use client::{Answer, Exchange, Http};
pub use fault::{Fault, MAX_SAID};

use reqwest::Url;

/// Why a URL is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("`{0}` is not a URL")]
    Malformed(String),
    /// Anything but https.
    #[error("`{0}` is not an https URL: without TLS anybody on the way could read and change what is said")]
    NotHttps(String),
    /// With a user name or password.
    #[error("the backend's URL must not contain a user name or password")]
    Credentials,
}

/// The backend's URL, always with a path that ends in `/`, so that others can be joined to it.
pub fn base_url(text: &str) -> Result<Url, UrlError> {
    let mut url = https(text)?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// A repository's URL: absolute, or relative to the backend's.
pub fn repository_url(base: &Url, text: &str) -> Result<Url, UrlError> {
    let joined = base.join(text).map_err(|_| UrlError::Malformed(text.into()))?;
    base_url(joined.as_str())
}

fn https(text: &str) -> Result<Url, UrlError> {
    let url = Url::parse(text).map_err(|_| UrlError::Malformed(text.into()))?;
    if url.scheme() != "https" || url.host().is_none() {
        return Err(UrlError::NotHttps(text.into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    Ok(url)
}
