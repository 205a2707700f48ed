//! `entitlements.json`: named sets of sudo commands.

use serde::{Deserialize, Serialize};

use super::{Document, Entry, Kind};

/// `entitlements.json`, schema `hostward/entitlements/1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlements {
    /// `hostward/entitlements/1`
    pub schema: String,
    /// All entitlements of the project.
    pub entitlements: Vec<Entry<Entitlement>>,
}

impl Document for Entitlements {
    const KIND: Kind = Kind::Entitlements;
}

/// A named set of sudo commands with its run-as and tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// The name that grants refer to.
    pub name: String,
    /// As whom the commands may be run; root where absent.
    #[serde(default)]
    pub run_as: RunAs,
    /// The commands, each refused on its own where the host cannot express it.
    pub commands: Vec<Entry<Command>>,
    /// No password is asked for. Managed users have none, so without it only another PAM service helps.
    #[serde(default = "yes")]
    pub no_passwd: bool,
    /// The command cannot execute further commands (sudo only; refused where sudo-rs is installed).
    #[serde(default)]
    pub no_exec: bool,
    /// The caller may set environment variables.
    #[serde(default)]
    pub set_env: bool,
    /// Environment variables that are kept.
    #[serde(default)]
    pub env_keep: Vec<String>,
    /// Environment variables that are removed.
    #[serde(default)]
    pub env_delete: Vec<String>,
}

fn yes() -> bool {
    true
}

/// As whom a command may be run. Both absent: as root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// A user name or `#uid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A group name or `#gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// One command of an entitlement. Unlike elsewhere an unknown member is an error here: a restriction that a host
/// does not know, or a misspelt `arguments`, must not turn into "any arguments".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", untagged, deny_unknown_fields)]
pub enum Command {
    /// `{"executable": "/usr/bin/systemctl", "arguments": ["restart", "nginx"]}`
    Executable {
        /// Absolute path.
        executable: String,
        /// Which arguments; any where absent.
        #[serde(default)]
        arguments: Arguments,
    },
    /// `{"directory": "/opt/tools/"}`: any program directly inside it, with any arguments.
    Directory {
        /// Absolute path, ends in `/`.
        directory: String,
    },
    /// `{"raw": "..."}`: the text of a sudoers command, only where the operator allows it.
    Raw {
        /// Verbatim.
        raw: String,
    },
}

/// The arguments of an executable: `"any"`, `"none"` or the exact list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    /// Any arguments, or none.
    #[default]
    Any,
    /// No arguments at all.
    None,
    /// Exactly these.
    Exact(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WireArguments {
    Word(ArgumentsWord),
    Exact(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ArgumentsWord {
    Any,
    None,
}

impl Serialize for Arguments {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Arguments::Any => WireArguments::Word(ArgumentsWord::Any),
            Arguments::None => WireArguments::Word(ArgumentsWord::None),
            Arguments::Exact(list) => WireArguments::Exact(list.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WireArguments::deserialize(deserializer)? {
            WireArguments::Word(ArgumentsWord::Any) => Arguments::Any,
            WireArguments::Word(ArgumentsWord::None) => Arguments::None,
            // An empty list means "exactly no arguments", never "any".
            WireArguments::Exact(list) if list.is_empty() => Arguments::None,
            WireArguments::Exact(list) => Arguments::Exact(list),
        })
    }
}
