//! Enrollment tokens. The secret itself is not kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Registry, RegistryError, write};
use crate::digest::{base64url, hex, random, sha256_hex};

/// A token that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Names it in lists.
    pub id: String,
    /// SHA-256 of the secret.
    pub secret_sha256: String,
    /// How often it may be used.
    pub uses: u32,
    /// How often it was.
    pub used: u32,
    /// When its time is over.
    pub expires: DateTime<Utc>,
}

/// Why a token does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// There is none with this secret.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was used as often as it may be.
    Exhausted,
}

impl Registry {
    /// Makes a token; returns its secret, which is nowhere else.
    pub fn make_token(
        &mut self,
        uses: u32,
        lifetime: Duration,
        now: DateTime<Utc>,
    ) -> Result<String, RegistryError> {
        let secret = base64url(&random::<32>());
        let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
        let token = Token {
            id: format!("t-{}", hex(&random::<4>())),
            secret_sha256: sha256_hex(secret.as_bytes()),
            uses,
            used: 0,
            expires: now.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC),
        };
        self.store_token(token)?;
        Ok(secret)
    }

    /// The token of a secret, whether it is still good or not.
    pub(super) fn token_of(&self, secret: &str) -> Option<&Token> {
        self.tokens.get(&sha256_hex(secret.as_bytes()))
    }

    /// Uses a token once; returns its id.
    pub(super) fn redeem(
        &mut self,
        secret: &str,
        now: DateTime<Utc>,
    ) -> Result<Result<String, TokenRefusal>, RegistryError> {
        let Some(token) = self.token_of(secret) else {
            return Ok(Err(TokenRefusal::Unknown));
        };
        if now >= token.expires {
            return Ok(Err(TokenRefusal::Expired));
        }
        if token.used >= token.uses {
            return Ok(Err(TokenRefusal::Exhausted));
        }
        let mut token = token.clone();
        token.used += 1;
        let id = token.id.clone();
        self.store_token(token)?;
        Ok(Ok(id))
    }

    fn store_token(&mut self, token: Token) -> Result<(), RegistryError> {
        let path = self.directory.join("tokens").join(format!("{}.json", token.id));
        write(&path, &token)?;
        self.tokens.insert(token.secret_sha256.clone(), token);
        Ok(())
    }
}
