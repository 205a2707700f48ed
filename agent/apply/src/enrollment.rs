//! The enrollment token: root reads it, records pin and project, takes it to a place of root's, and hands address,
//! project and secret to the agent. It is deleted once the enrollment has ended, well or for good.

mod token;

pub use token::TokenError;

use hostward_config::Config;
use hostward_plan::facts::OwnDirectory;
use hostward_protocol::local::{EnrollmentOutcome, TokenState};
use hostward_protocol::report::Finding;
use hostward_protocol::token::EnrollmentToken;

use crate::distrust::{self, Demands, ReadError};
use crate::durable::{self, Attributes, WriteError};
use crate::finding::{chain, finding, host};
use crate::root::{Root, TAKEN_TOKEN, TOKEN};
use crate::state::StateError;
use crate::store::{Committed, Store, hex_sha256};
use crate::trust::{self, Membership, Pin, Source, Trust};
use hostward_protocol::report::Responsible;

/// Why an enrollment step could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum EnrollmentError {
    /// `trust.json` cannot be used.
    #[error("cannot use what is recorded about trust")]
    State(#[from] StateError),
    /// Something could not be written.
    #[error("cannot record the enrollment")]
    Write(#[from] WriteError),
}

impl EnrollmentError {
    /// As a finding.
    pub fn finding(&self) -> Finding {
        match self {
            EnrollmentError::State(_) => damaged_trust(self),
            EnrollmentError::Write(_) => host("enrollment-write-failed", "enrollment", self),
        }
    }
}

/// A `trust.json` that cannot be used.
pub fn damaged_trust(error: &(dyn std::error::Error + 'static)) -> Finding {
    finding(
        Responsible::Operator,
        "trust-damaged",
        "`/var/lib/hostward/trust.json`",
        chain(error),
        match exposed(error) {
            true => {
                "compare it with a backup, for others could write to it; if it is as it was: `chown root:root` and `chmod 600`. If in doubt run `hostward unenroll` and enroll again"
            }
            false => {
                "restore it from a backup, or run `hostward unenroll` and enroll again; the accounts in place stay as they are until then"
            }
        },
    )
}

/// Whether all that is wrong with a file is who could have written to it.
fn exposed(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .filter_map(|error| error.downcast_ref::<ReadError>())
        .any(|error| matches!(error, ReadError::Mode(_) | ReadError::Owner { .. } | ReadError::Links(_)))
}

/// Whether there is a token, and what it says. A new one in /etc comes before one that was taken earlier.
pub fn read_token(root: &Root, config: &Config) -> Result<TokenState, EnrollmentError> {
    let mut trust = Trust::load(root)?;
    let demands = Demands { owner: 0, cap: hostward_protocol::token::MAX_TOKEN_LEN, forbidden_mode: 0o077 };
    match distrust::read(&root.path(TOKEN), demands) {
        Err(ReadError::NotFound) => {}
        Err(error) => return Ok(TokenState::Unusable(TokenError::File(error).finding())),
        Ok(bytes) if trust.spent_token.as_deref() == Some(&hex_sha256(&bytes)) => {
            return Ok(TokenState::Unusable(TokenError::Spent.finding()));
        }
        Ok(bytes) => match accept(root, config, &bytes) {
            Err(error) => return Ok(TokenState::Unusable(error.finding())),
            Ok((token, membership)) => {
                trust.pending = Some(membership);
                take(root, &mut trust, &bytes)?;
                return Ok(ready(root, config, &trust, token));
            }
        },
    }
    match distrust::read(&root.path(TAKEN_TOKEN), demands) {
        Err(ReadError::NotFound) => Ok(TokenState::Absent),
        Err(error) => Ok(TokenState::Unusable(TokenError::File(error).finding())),
        Ok(bytes) => match accept(root, config, &bytes) {
            Err(error) => Ok(TokenState::Unusable(error.finding())),
            Ok((token, membership)) => {
                if trust.pending.as_ref() != Some(&membership) {
                    trust.pending = Some(membership);
                    trust.save(root)?;
                }
                Ok(ready(root, config, &trust, token))
            }
        },
    }
}

fn accept(root: &Root, config: &Config, bytes: &[u8]) -> Result<(EnrollmentToken, Membership), TokenError> {
    let token = token::parse(bytes)?;
    if let Some(configured) = &config.trust.project
        && *configured != token.project
    {
        return Err(TokenError::OtherProject { token: token.project, configured: configured.clone() });
    }
    let pin = token
        .root_sha256
        .as_ref()
        .zip(token.root_version)
        .map(|(sha256, version)| Pin { sha256: sha256.to_ascii_lowercase(), version });
    let membership = Membership {
        project: token.project.clone(),
        source: pin.as_ref().map(|_| Source::Token),
        pin,
        starts_anew: false,
    };
    // A host that could never believe a policy must not spend the token.
    trust::effective(root, config, Some(&membership)).map_err(TokenError::Trust)?;
    Ok((token, membership))
}

/// Records the pin, then moves the token. Killed in between, the same is done again from the start.
fn take(root: &Root, trust: &mut Trust, bytes: &[u8]) -> Result<(), EnrollmentError> {
    trust.save(root)?;
    durable::own_directory(root, OwnDirectory::Private)?;
    durable::replace(&root.path(TAKEN_TOKEN), bytes, Attributes::root(0o600))?;
    if let Err(error) = durable::remove(&root.path(TOKEN)) {
        log::warn!("the enrollment token was taken, but stays in /etc as well: {}", chain(&error));
    }
    Ok(())
}

fn ready(root: &Root, config: &Config, trust: &Trust, token: EnrollmentToken) -> TokenState {
    let anchor = trust::effective(root, config, trust.pending.as_ref())
        .ok()
        .and_then(|effective| effective.anchor.pin().map(|pin| pin.version));
    TokenState::Ready { url: token.url, project: token.project, secret: token.secret, root_version: anchor }
}

/// The enrollment ended: what was pending holds, or is forgotten, and the token is deleted. Done twice, it is done once.
pub fn finish(root: &Root, outcome: &EnrollmentOutcome) -> Result<(), EnrollmentError> {
    let mut trust = Trust::load(root)?;
    let before = trust.clone();
    match outcome {
        EnrollmentOutcome::Enrolled { .. } => {
            if let Some(mut membership) = trust.pending.take() {
                membership.starts_anew = contradicts_store(root, &membership);
                trust.current = Some(membership);
            }
        }
        EnrollmentOutcome::Refused { .. } => trust.pending = None,
    }
    trust.spent_token = delete_from_etc(root, trust.spent_token.take());
    if trust != before {
        trust.save(root)?;
    }
    durable::remove(&root.path(TAKEN_TOKEN))?;
    Ok(())
}

/// Removes what is left of a taken token in /etc. Where that is not possible (a read-only /etc): its hash, so that
/// it is not taken for a new one. `spent` is the hash of one that could not be removed earlier.
fn delete_from_etc(root: &Root, spent: Option<String>) -> Option<String> {
    let demands = Demands { owner: 0, cap: hostward_protocol::token::MAX_TOKEN_LEN, forbidden_mode: 0o077 };
    let left = match distrust::read(&root.path(TOKEN), demands) {
        Ok(left) => left,
        Err(ReadError::NotFound) => return None,
        // It may be the one that was spent; of any other the hash says nothing.
        Err(_) => return spent,
    };
    let hash = hex_sha256(&left);
    let is_taken = distrust::read(&root.path(TAKEN_TOKEN), demands).is_ok_and(|taken| taken == left);
    if !is_taken && spent.as_deref() != Some(&hash) {
        // Another one, put there meanwhile: it has its own turn.
        return None;
    }
    durable::remove(&root.path(TOKEN)).is_err().then_some(hash)
}

/// Whether what the store holds belongs to another enrollment than this one.
fn contradicts_store(root: &Root, membership: &Membership) -> bool {
    match Store::new(root).load() {
        Ok(None) => false,
        Ok(Some(Committed { project, roots, .. })) => {
            let other_root = membership
                .pin
                .as_ref()
                .is_some_and(|pin| roots.get(&pin.version).is_some_and(|sha256| *sha256 != pin.sha256));
            project != membership.project || other_root
        }
        // Root put a new token there, and the backend accepted it: that is the way out of a damaged store.
        Err(_) => true,
    }
}
