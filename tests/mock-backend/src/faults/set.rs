//! The faults that are switched on, and how they are written on the command line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hostward_protocol::document::Kind;
use hostward_protocol::problem::Code;

use super::{CertificateFlaw, Fault, HeadLie, Scope};
use crate::keys::Role;

/// Name, arguments, and what it does, of every fault.
pub const TABLE: &[(&str, &str, &str)] = &[
    ("delay", "ms=N SCOPE", "answer N ms later"),
    ("status", "code=N [retry-after=S] SCOPE", "answer with a status, 503 by default"),
    ("unauthorized", "[code=WORD] SCOPE", "refuse API requests with 401, credential-invalid by default"),
    ("cut", "[after=BYTES] SCOPE", "end the connection in the middle of the body"),
    ("close", "SCOPE", "end the connection without an answer"),
    ("endless", "SCOPE", "a body that never ends"),
    ("garbage", "SCOPE", "a body that means nothing"),
    ("redirect", "to=URL SCOPE", "send the client elsewhere, 307"),
    ("no-wait", "", "ignore Prefer: wait"),
    ("clock", "offset=SECONDS", "the backend's clock is off"),
    ("tls-expired", "", "a server certificate that has expired"),
    ("tls-other-ca", "", "a server certificate of a CA that nobody knows"),
    ("tls-other-name", "", "a server certificate for another name"),
    ("withhold-roots", "[newest=N]", "roots after version N (1) are not found"),
    ("replay", "version=N", "serve the timestamp of an older version"),
    ("same-version", "", "publish changes without raising the version"),
    ("wrong-key", "role=ROLE", "sign with keys that the root does not know"),
    ("below-threshold", "role=ROLE", "one signature fewer than the threshold"),
    ("expired", "role=ROLE", "metadata that has expired"),
    ("old-keys", "[root=N]", "sign with the keys of root version N (1)"),
    ("wrong-project", "[id=ID]", "a project.json of another project"),
    ("missing-target", "[name=PREFIX]", "targets (users by default) are not found"),
    ("cut-target", "[name=PREFIX]", "half a target, as if it were whole"),
    ("long-target", "[name=PREFIX]", "a target with more bytes than its metadata says"),
    ("large-target", "[name=PREFIX]", "a rightly signed target beyond the limit of its kind"),
    ("wrong-certificate", "flaw=FLAW SCOPE", "sign SSH certificates that are not what was asked for"),
    ("lose-answer", "SCOPE", "do what was asked for, and end the connection without the answer"),
    ("lie-head", "how=LIE SCOPE", "say that another event is the newest that is had of a host"),
    ("refuse-events", "type=PREFIX [whole=true]", "never take events of a type, or a batch that has one"),
    ("small-batches", "bytes=N", "take no larger batch of events, 413"),
    ("unknown-members", "", "members in documents that no version knows (to be ignored)"),
    ("unknown-major", "[kind=KIND]", "documents of a major version that no host knows"),
];

/// Why a fault cannot be switched.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// No such name.
    #[error("there is no fault `{0}`; `faults --all` names them all")]
    UnknownName(String),
    /// An argument that the fault does not take.
    #[error("the fault `{fault}` takes no argument `{argument}`; it takes: {takes}")]
    UnknownArgument {
        /// Its name.
        fault: String,
        /// What was given.
        argument: String,
        /// What may be given.
        takes: &'static str,
    },
    /// An argument that is missing.
    #[error("the fault `{fault}` needs `{argument}=…`")]
    Missing {
        /// Its name.
        fault: String,
        /// The argument.
        argument: &'static str,
    },
    /// An argument with a value that cannot be.
    #[error("the fault `{fault}` cannot have `{argument}={value}`")]
    BadValue {
        /// Its name.
        fault: String,
        /// The argument.
        argument: &'static str,
        /// Its value.
        value: String,
    },
}

/// The faults that are switched on, by name.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    active: BTreeMap<String, (Fault, String)>,
}

impl Faults {
    /// Switches a fault on, in place of one of the same name.
    pub fn insert(&mut self, name: &str, fault: Fault, arguments: &[String]) {
        let shown = arguments.join(" ");
        self.active.insert(name.to_owned(), (fault, shown));
    }

    /// Switches a fault off.
    pub fn remove(&mut self, name: &str) -> Option<Fault> {
        self.active.remove(name).map(|(fault, _)| fault)
    }

    /// All that are on.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.active.values().map(|(fault, _)| fault)
    }

    /// All that are on, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Fault)> {
        let active = self.active.iter();
        active.map(|(name, (fault, _))| (name.as_str(), fault))
    }

    /// Name and arguments of all that are on.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        let active = self.active.iter();
        active.map(|(name, (_, arguments))| (name.as_str(), arguments.as_str()))
    }

    /// Seconds by which the backend's clock is off.
    pub fn clock_offset(&self) -> i64 {
        let offset = |fault: &Fault| match fault {
            Fault::Clock { offset } => Some(*offset),
            _ => None,
        };
        self.iter().find_map(offset).unwrap_or(0)
    }
}

/// Reads a fault as the command line has it: its name and `key=value` arguments.
pub fn parse(name: &str, arguments: &[String]) -> Result<Fault, FaultError> {
    let Some((_, takes, _)) = TABLE.iter().find(|(known, _, _)| *known == name) else {
        return Err(FaultError::UnknownName(name.to_owned()));
    };
    let mut given = Arguments { fault: name, pairs: BTreeMap::new() };
    for argument in arguments {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        given.pairs.insert(key, value);
    }
    let fault = given.fault()?;
    match given.pairs.into_keys().next() {
        None => Ok(fault),
        Some(argument) => {
            Err(FaultError::UnknownArgument { fault: name.to_owned(), argument: argument.to_owned(), takes })
        }
    }
}

struct Arguments<'a> {
    fault: &'a str,
    pairs: BTreeMap<&'a str, &'a str>,
}

impl Arguments<'_> {
    fn fault(&mut self) -> Result<Fault, FaultError> {
        Ok(match self.fault {
            "delay" => Fault::Delay { time: Duration::from_millis(self.needed("ms")?), scope: self.scope()? },
            "status" => Fault::Status {
                code: self.status()?,
                retry_after: self.optional("retry-after")?,
                scope: self.scope()?,
            },
            "unauthorized" => Fault::Unauthorized { code: self.code()?, scope: self.scope()? },
            "cut" => Fault::Cut { after: self.optional("after")?, scope: self.scope()? },
            "close" => Fault::Close { scope: self.scope()? },
            "endless" => Fault::Endless { scope: self.scope()? },
            "garbage" => Fault::Garbage { scope: self.scope()? },
            "redirect" => Fault::Redirect { to: self.needed("to")?, scope: self.scope()? },
            "no-wait" => Fault::NoWait,
            "clock" => Fault::Clock { offset: self.needed("offset")? },
            "tls-expired" => Fault::TlsExpired,
            "tls-other-ca" => Fault::TlsOtherCa,
            "tls-other-name" => Fault::TlsOtherName,
            "withhold-roots" => Fault::WithholdRoots { newest: self.optional("newest")?.unwrap_or(1) },
            "replay" => Fault::Replay { version: self.needed("version")? },
            "same-version" => Fault::SameVersion,
            "wrong-key" => Fault::WrongKey { role: self.role()? },
            "below-threshold" => Fault::BelowThreshold { role: self.role()? },
            "expired" => Fault::Expired { role: self.role()? },
            "old-keys" => Fault::OldKeys { root: self.optional("root")?.unwrap_or(1) },
            "wrong-project" => {
                Fault::WrongProject { id: self.optional("id")?.unwrap_or_else(|| "another".into()) }
            }
            "missing-target" => Fault::MissingTarget { name: self.name()? },
            "cut-target" => Fault::CutTarget { name: self.name()? },
            "long-target" => Fault::LongTarget { name: self.name()? },
            "large-target" => Fault::LargeTarget { name: self.name()? },
            "wrong-certificate" => Fault::WrongCertificate { flaw: self.flaw()?, scope: self.scope()? },
            "lose-answer" => Fault::LoseAnswer { scope: self.scope()? },
            "lie-head" => Fault::LieHead { lie: self.lie()?, scope: self.scope()? },
            "refuse-events" => Fault::RefuseEvents {
                kind: self.needed("type")?,
                whole: self.optional("whole")?.unwrap_or(false),
            },
            "small-batches" => Fault::SmallBatches { bytes: self.needed("bytes")? },
            "unknown-members" => Fault::UnknownMembers,
            "unknown-major" => Fault::UnknownMajor { kind: self.kind()? },
            other => return Err(FaultError::UnknownName(other.to_owned())),
        })
    }

    fn optional<T: std::str::FromStr>(&mut self, argument: &'static str) -> Result<Option<T>, FaultError> {
        let Some(value) = self.pairs.remove(argument) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.bad(argument, value)),
        }
    }

    fn needed<T: std::str::FromStr>(&mut self, argument: &'static str) -> Result<T, FaultError> {
        self.optional(argument)?.ok_or_else(|| FaultError::Missing { fault: self.fault.to_owned(), argument })
    }

    fn bad(&self, argument: &'static str, value: &str) -> FaultError {
        FaultError::BadValue { fault: self.fault.to_owned(), argument, value: value.to_owned() }
    }

    fn scope(&mut self) -> Result<Scope, FaultError> {
        let count: Option<u64> = self.optional("count")?;
        Ok(Scope { path: self.optional("path")?, left: count.map(|count| Arc::new(AtomicU64::new(count))) })
    }

    fn status(&mut self) -> Result<u16, FaultError> {
        let code = self.optional("code")?.unwrap_or(503);
        match code {
            200..=599 => Ok(code),
            _ => Err(self.bad("code", &code.to_string())),
        }
    }

    fn name(&mut self) -> Result<String, FaultError> {
        Ok(self.optional("name")?.unwrap_or_else(|| "users".into()))
    }

    fn role(&mut self) -> Result<Role, FaultError> {
        let word: String = self.needed("role")?;
        Role::parse(&word).ok_or_else(|| self.bad("role", &word))
    }

    fn flaw(&mut self) -> Result<CertificateFlaw, FaultError> {
        let word: String = self.needed("flaw")?;
        CertificateFlaw::parse(&word).ok_or_else(|| self.bad("flaw", &word))
    }

    fn lie(&mut self) -> Result<HeadLie, FaultError> {
        let word: String = self.needed("how")?;
        HeadLie::parse(&word).ok_or_else(|| self.bad("how", &word))
    }

    fn kind(&mut self) -> Result<Option<Kind>, FaultError> {
        let Some(word) = self.optional::<String>("kind")? else {
            return Ok(None);
        };
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == word);
        kind.map(Some).ok_or_else(|| self.bad("kind", &word))
    }

    fn code(&mut self) -> Result<Code, FaultError> {
        let Some(word) = self.optional::<String>("code")? else {
            return Ok(Code::CredentialInvalid);
        };
        let problem = hostward_protocol::problem::Problem {
            kind: format!("urn:hostward:problem:{word}"),
            title: String::new(),
            status: 401,
            detail: String::new(),
        };
        Code::of(&problem).ok_or_else(|| self.bad("code", &word))
    }
}
