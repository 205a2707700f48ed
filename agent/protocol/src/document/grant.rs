//! `grants-NN.json`: who gets what where.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Document, Entry, Kind};

/// One shard of the grants, schema `hostward/grants/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// `hostward/grants/1`
    pub schema: String,
    /// The grants of this shard.
    pub grants: Vec<Entry<Grant>>,
}

impl Document for Grants {
    const KIND: Kind = Kind::Grants;
}

/// Group x host selector -> login, entitlements, local groups, optional time window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Stable id.
    pub id: String,
    /// Id of the group whose members get it.
    pub group: String,
    /// Hosts it holds on, in Kubernetes label-selector syntax; empty selects every host.
    #[serde(default)]
    pub hosts: String,
    /// Members may log in.
    #[serde(default)]
    pub login: bool,
    /// Names of entitlements that members have where they may log in.
    #[serde(default)]
    pub entitlements: Vec<String>,
    /// Local groups that members join, as far as the operator allows it.
    #[serde(default)]
    pub local_groups: Vec<String>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Not at or after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}
