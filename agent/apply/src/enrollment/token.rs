//! Reads an enrollment token. No message quotes it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hostward_protocol::report::{Finding, Responsible};
use hostward_protocol::token::EnrollmentToken;

use crate::distrust::ReadError;
use crate::finding::{chain, finding};
use crate::trust::TrustError;

/// Why a token cannot be used. It stays where it is, and is read again when it changes.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file is not one that root reads.
    #[error("the enrollment token cannot be used")]
    File(#[source] ReadError),
    /// Not base64url of JSON of a token.
    #[error("the file holds no enrollment token: {0}")]
    Malformed(&'static str),
    /// The backend's address is not https.
    #[error("the token's backend address is not an https URL")]
    Url,
    /// Another project than the configuration's.
    #[error("the token is for project `{token}`, but the configuration says `{configured}`")]
    OtherProject {
        /// The token's project.
        token: String,
        /// The configuration's project.
        configured: String,
    },
    /// There would be no root of trust.
    #[error("the token cannot be used without a root of trust")]
    Trust(#[source] TrustError),
    /// Used up, but it could not be removed.
    #[error("this token was used up, but it could not be removed from /etc")]
    Spent,
}

impl TokenError {
    /// As a finding.
    pub fn finding(&self) -> Finding {
        let (code, mend) = match self {
            TokenError::File(ReadError::Mode(_)) => (
                "token-readable-by-others",
                "revoke the token if others may have read it; then `chmod 600 /etc/hostward/enrollment.token`",
            ),
            TokenError::File(ReadError::Owner { .. }) => (
                "token-foreign-owner",
                "make sure that you know who put it there; then `chown root: /etc/hostward/enrollment.token`",
            ),
            TokenError::File(ReadError::TooLarge { .. }) => {
                ("token-malformed", "put the token there exactly as the backend printed it")
            }
            TokenError::File(ReadError::Io(_) | ReadError::Leased) => {
                ("token-unreadable", "look at the file system of `/etc/hostward`")
            }
            TokenError::File(_) => {
                ("token-no-plain-file", "replace it by a regular file with one name, owner root, mode 0600")
            }
            TokenError::Malformed(_) => {
                ("token-malformed", "put the token there exactly as the backend printed it, on one line")
            }
            TokenError::Url => {
                ("token-url-not-https", "have the backend mint a token with its https address")
            }
            TokenError::OtherProject { .. } => (
                "token-project-mismatch",
                "use a token of the configured project, or correct `[trust] project` in `/etc/hostward/hostward.toml`",
            ),
            TokenError::Trust(error) => return error.finding(),
            TokenError::Spent => ("token-spent", "remove `/etc/hostward/enrollment.token`"),
        };
        finding(Responsible::Operator, code, "`/etc/hostward/enrollment.token`", chain(self), mend)
    }
}

/// Reads a token file's bytes.
pub fn parse(bytes: &[u8]) -> Result<EnrollmentToken, TokenError> {
    let json = URL_SAFE_NO_PAD
        .decode(bytes.trim_ascii().strip_suffix(b"=").map_or(
            bytes.trim_ascii(),
            // Padding is not part of the format, but some tools add it.
            |rest| rest.strip_suffix(b"=").unwrap_or(rest),
        ))
        .map_err(|_| TokenError::Malformed("it is not base64url"))?;
    let token: EnrollmentToken = serde_json::from_slice(&json)
        .map_err(|_| TokenError::Malformed("a member is missing or has the wrong type"))?;
    let url = url::Url::parse(&token.url).map_err(|_| TokenError::Url)?;
    let plain = url.username().is_empty() && url.password().is_none();
    if url.scheme() != "https" || url.host_str().is_none_or(str::is_empty) || !plain {
        return Err(TokenError::Url);
    }
    let printable = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    if !printable(&token.project, 128) {
        return Err(TokenError::Malformed("its project id is not one"));
    }
    if !printable(&token.secret, 4096) {
        return Err(TokenError::Malformed("its secret is not one"));
    }
    let pin_is_whole = match (&token.root_sha256, token.root_version) {
        (None, None) => true,
        (Some(sha256), Some(version)) => {
            sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()) && version > 0
        }
        _ => false,
    };
    if !pin_is_whole {
        return Err(TokenError::Malformed("its pin is not one"));
    }
    Ok(token)
}
