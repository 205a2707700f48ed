//! Why somebody can or cannot log in here, and what they may run.

use chrono::{DateTime, Utc};
use hostward_config::Config;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::policy::Policy;

/// The answer to `hostward explain USER`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The user name asked for.
    pub user: String,
    /// Whether the user may log in here now.
    pub login: bool,
    /// Why, or why not, in order of weight.
    pub reasons: Vec<String>,
    /// Each sudo command as `sudo -l` shows it, with the grant and entitlement that it comes from.
    pub commands: Vec<ExplainedCommand>,
}

/// One sudo command and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedCommand {
    /// As sudoers has it.
    pub command: String,
    /// Name of the entitlement.
    pub entitlement: String,
    /// Id of the grant.
    pub grant: String,
    /// Name of the group that has the grant.
    pub group: String,
}

/// Explains what `policy` gives `user` on this host.
pub fn explain(
    policy: &Policy,
    config: &Config,
    facts: &Facts,
    now: DateTime<Utc>,
    user: &str,
) -> Explanation {
    let _ = (policy, config, facts, now);
    Explanation { user: user.to_owned(), login: false, reasons: Vec::new(), commands: Vec::new() }
}
