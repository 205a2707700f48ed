//! `project.json`: which project this is, and what holds for all its hosts.

use serde::{Deserialize, Serialize};

use super::{Document, Kind};

/// `project.json`, schema `hostward/project/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// `hostward/project/1`
    pub schema: String,
    /// The project's stable id; must equal the one that the host pinned.
    pub id: String,
    /// Settings for every host of the project.
    #[serde(default)]
    pub settings: Settings,
}

impl Document for Project {
    const KIND: Kind = Kind::Project;
}

/// Settings of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Home of a user who has none of their own; `{name}` stands for the user name.
    pub default_home: String,
    /// Login shell of a user who has none of their own.
    pub default_shell: String,
    /// Managed users may log in by certificate only: their `authorized_keys` and passwords do not count.
    pub certificate_only: bool,
    /// What becomes of the homes of people who lost access.
    pub removal: Removal,
    /// How often a host reports although nothing changed, in seconds.
    pub report_interval: u64,
    /// The project has no users on purpose. Without it a policy that would remove every account is refused.
    pub empty: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            default_home: "/home/{name}".into(),
            default_shell: "/bin/bash".into(),
            certificate_only: true,
            removal: Removal::default(),
            report_interval: 3600,
            empty: false,
        }
    }
}

/// What becomes of homes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removal {
    /// Keep, archive or delete.
    pub homes: HomeRemoval,
    /// Seconds after the loss of access before a home is archived or deleted.
    pub grace: u64,
}

impl Default for Removal {
    fn default() -> Self {
        Removal { homes: HomeRemoval::Keep, grace: 7 * 86_400 }
    }
}

/// What is done with the home of somebody who lost access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HomeRemoval {
    /// It stays.
    #[default]
    Keep,
    /// It is packed into `/var/lib/hostward/archive`, readable by root only, then deleted.
    Archive,
    /// It is deleted.
    Delete,
}
