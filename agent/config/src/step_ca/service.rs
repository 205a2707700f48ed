//! `[[step_ca.services]]`: a local account that gets certificates.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A local account and whom it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The local account.
    pub account: Account,
    /// Who it logs in as.
    pub user: String,
    /// What its certificates have as principals: at least one; `user` where the file names none.
    pub principals: Vec<String>,
    /// The hosts that it uses its certificates for, as patterns of ssh_config(5); every host where the file names none.
    pub hosts: Vec<String>,
}

/// Which local account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// The one of this name.
    Name(String),
    /// Whoever has this uid, with an account or without, as in a container. Never 0 or one that stands for nobody.
    Uid(u32),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Name(name) => write!(f, "account `{name}`"),
            Account::Uid(uid) => write!(f, "uid {uid}"),
        }
    }
}

/// As it is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, deserialize_with = "account", skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(default, deserialize_with = "uid", skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(deserialize_with = "user")]
    user: String,
    #[serde(default, deserialize_with = "principals", skip_serializing_if = "Option::is_none")]
    principals: Option<Vec<String>>,
    #[serde(default, deserialize_with = "hosts", skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let account = match (written.account, written.uid) {
            (Some(name), None) => Account::Name(name),
            (None, Some(uid)) => Account::Uid(uid),
            _ => return Err(D::Error::custom("give each of [[step_ca.services]] either `account` or `uid`")),
        };
        let principals = match written.principals {
            Some(principals) => principals,
            None => vec![written.user.clone()],
        };
        let hosts = written.hosts.unwrap_or_else(|| vec!["*".into()]);
        Ok(Service { account, user: written.user, principals, hosts })
    }
}

impl Serialize for Service {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (account, uid) = match &self.account {
            Account::Name(name) => (Some(name.clone()), None),
            Account::Uid(uid) => (None, Some(*uid)),
        };
        Written {
            account,
            uid,
            user: self.user.clone(),
            principals: Some(self.principals.clone()),
            hosts: Some(self.hosts.clone()),
        }
        .serialize(serializer)
    }
}

/// A name that is a word of its own wherever it is written, to ssh_config(5) too.
fn is_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    first && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.@-".contains(c))
}

fn account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if !is_name(&name) {
        return Err(D::Error::custom(format!("account: `{name}` is not the name of a local account")));
    }
    Ok(Some(name))
}

fn uid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(D::Error::custom(
            "uid 0 is root, which needs no certificates from here: it can take anybody's",
        )),
        uid @ (65_534 | 65_535 | u32::MAX) => {
            Err(D::Error::custom(format!("uid {uid} stands for nobody in particular")))
        }
        uid => Ok(Some(uid)),
    }
}

fn user<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if !is_name(&name) {
        return Err(D::Error::custom(format!("user: `{name}` is not a name to log in as")));
    }
    Ok(name)
}

fn principals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let principals = Vec::<String>::deserialize(deserializer)?;
    if principals.is_empty() {
        return Err(D::Error::custom(
            "principals: a certificate without principals is good for everybody; name at least one",
        ));
    }
    let wrong = |p: &&String| {
        p.is_empty() || p.len() > 255 || !p.chars().all(|c| c.is_ascii_graphic() && !",\"\\".contains(c))
    };
    match principals.iter().find(wrong) {
        Some(principal) => Err(D::Error::custom(format!("principals: `{principal}` is no principal"))),
        None => Ok(Some(principals)),
    }
}

pub(crate) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    let wrong = |text: &&String| {
        let pattern = text.strip_prefix('!').unwrap_or(text);
        pattern.is_empty()
            || pattern.len() > 255
            || !pattern.chars().all(|c| c.is_ascii_alphanumeric() || "._-:*?".contains(c))
    };
    if hosts.iter().all(|text| text.starts_with('!')) {
        return Err(D::Error::custom(
            "hosts: leave it out for every host, or have a pattern without `!`, such as \"*\"",
        ));
    }
    match hosts.iter().find(wrong) {
        Some(pattern) => Err(D::Error::custom(format!(
            "hosts: `{pattern}` is no pattern such as \"*.example\" or \"!web9\""
        ))),
        None => Ok(Some(hosts)),
    }
}
