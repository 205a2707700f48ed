//! `services.json`: which local accounts of which hosts stand for which users.

use serde::{Deserialize, Serialize};

use super::{Document, Entry, Kind};

/// `services.json`, schema `hostward/services/1`. A policy without it binds nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// `hostward/services/1`
    pub schema: String,
    /// The bindings.
    pub services: Vec<Entry<Service>>,
}

impl Document for Services {
    const KIND: Kind = Kind::Services;
}

/// A binding: whoever has this uid on these hosts gets certificates of this user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Stable id.
    pub id: String,
    /// Stable id of the user that the account stands for: the service user.
    pub user: String,
    /// Hosts it holds on, in Kubernetes label-selector syntax; empty selects every host.
    #[serde(default)]
    pub hosts: String,
    /// Uid of the local account.
    pub uid: u64,
}
