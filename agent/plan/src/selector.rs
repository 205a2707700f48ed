//! Host selectors, in Kubernetes' label-selector syntax.
//!
//! `labels.role=web,os.id in (debian, ubuntu),!labels.frozen`: requirements joined by commas, all of which must hold;
//! `=`, `==`, `!=`, `in`, `notin`, `key` (it exists), `!key` (it does not). As in Kubernetes, `!=` and `notin` also hold
//! where the label does not exist, and an empty selector selects every host.
//! Beyond Kubernetes: a key outside the name spaces that a host has is an error, because `role!=db` without the `labels.`
//! would silently select everything.

use std::collections::{BTreeMap, BTreeSet};

use hostward_config::Config;

use crate::facts::Facts;

/// The labels of this host, by full name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

/// Name spaces of labels.
const SPACES: [&str; 3] = ["labels.", "os.", "host."];

impl FromIterator<(String, String)> for Labels {
    /// Full names, such as `labels.role`, and values.
    fn from_iter<T: IntoIterator<Item = (String, String)>>(labels: T) -> Self {
        Labels(labels.into_iter().collect())
    }
}

impl Labels {
    /// `labels.*` from the operator's configuration only, `os.*` and `host.*` as root observed them.
    pub(crate) fn of(config: &Config, facts: &Facts) -> Self {
        let own = config.labels.iter().map(|(key, value)| (format!("labels.{key}"), value.clone()));
        let observed = facts.host_labels.iter().map(|(key, value)| (full_name(key), value.clone()));
        Labels(own.chain(observed).collect())
    }
}

fn full_name(key: &str) -> String {
    if key.starts_with("os.") || key.starts_with("host.") {
        key.to_owned()
    } else if key == "id" || key.starts_with("version") {
        format!("os.{key}")
    } else {
        format!("host.{key}")
    }
}

/// A parsed selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
}

/// Why a text is no selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Something unexpected.
    #[error("it does not follow the syntax, at character {0}")]
    Syntax(usize),
    /// A label that no host has.
    #[error("a key in it begins with none of `labels.`, `os.`, `host.`, at character {0}")]
    UnknownSpace(usize),
    /// More than anybody writes.
    #[error("it is longer than 4096 bytes")]
    TooLong,
}

const MAX_LEN: usize = 4096;

impl Selector {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_LEN {
            return Err(SelectorError::TooLong);
        }
        let mut parser = Parser { text, at: 0 };
        let mut requirements = Vec::new();
        parser.skip_blanks();
        if parser.is_at_end() {
            return Ok(Selector(requirements));
        }
        loop {
            requirements.push(parser.requirement()?);
            if parser.is_at_end() {
                return Ok(Selector(requirements));
            }
            parser.expect(",")?;
        }
    }

    /// Whether it selects a host with these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.0.get(&requirement.key);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|v| values.contains(v)),
                Test::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            }
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.eat("!") {
            return Ok(Requirement { key: self.key()?, test: Test::Absent });
        }
        let key = self.key()?;
        let test = if self.eat("!=") {
            Test::NotIn(BTreeSet::from([self.value()?]))
        } else if self.eat("==") || self.eat("=") {
            Test::In(BTreeSet::from([self.value()?]))
        } else if self.is_at_end() || self.rest().starts_with(',') {
            Test::Exists
        } else {
            let start = self.at;
            match self.word() {
                "in" => Test::In(self.values()?),
                "notin" => Test::NotIn(self.values()?),
                _ => return Err(SelectorError::Syntax(start)),
            }
        };
        Ok(Requirement { key, test })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        self.skip_blanks();
        let start = self.at;
        let key = self.word();
        let name = SPACES.iter().find_map(|space| key.strip_prefix(space));
        match name {
            _ if key.is_empty() || key.len() > 253 => Err(SelectorError::Syntax(start)),
            None => Err(SelectorError::UnknownSpace(start)),
            Some(name) if !begins_and_ends_well(name) => Err(SelectorError::Syntax(start)),
            Some(_) => Ok(key.to_owned()),
        }
    }

    /// One value, which may be empty as in Kubernetes (`labels.zone=`).
    fn value(&mut self) -> Result<String, SelectorError> {
        self.skip_blanks();
        let start = self.at;
        let value = self.word();
        if value.len() > 253 || !(value.is_empty() || begins_and_ends_well(value)) {
            return Err(SelectorError::Syntax(start));
        }
        Ok(value.to_owned())
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.expect("(")?;
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.eat(")") {
                return Ok(values);
            }
            self.expect(",")?;
        }
    }

    fn word(&mut self) -> &'a str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
        let rest = self.rest();
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += len;
        let word = &rest[..len];
        self.skip_blanks();
        word
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
            self.skip_blanks();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), SelectorError> {
        let start = self.at;
        if self.eat(token) { Ok(()) } else { Err(SelectorError::Syntax(start)) }
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

fn begins_and_ends_well(word: &str) -> bool {
    let ends = [word.bytes().next(), word.bytes().next_back()];
    ends.iter().all(|b| b.is_some_and(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        let mut config = Config::default();
        config.labels.insert("role".into(), "web".into());
        config.labels.insert("empty".into(), String::new());
        let facts = Facts {
            host_labels: [("name", "web1"), ("id", "debian"), ("version", "12"), ("arch", "x86_64")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            ..Facts::default()
        };
        Labels::of(&config, &facts)
    }

    #[test]
    fn selection() {
        let labels = labels();
        for (text, selected) in [
            ("", true),
            ("  ", true),
            ("labels.role=web", true),
            ("labels.role == web , os.id=debian", true),
            ("labels.role=web,os.id=ubuntu", false),
            ("labels.role!=web", false),
            ("labels.zone!=a", true),
            ("labels.zone=a", false),
            ("labels.empty=", true),
            ("labels.role=", false),
            ("os.id in (debian, ubuntu)", true),
            ("os.id in(ubuntu)", false),
            ("os.version notin (11,13)", true),
            ("labels.zone notin (a)", true),
            ("host.name", true),
            ("!host.name", false),
            ("! labels.frozen", true),
            ("labels.frozen", false),
            ("host.name=web1,host.arch,labels.role in (db,web),!labels.x", true),
            ("labels.in in (a)", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().selects(&labels), selected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector() {
        for text in [
            ",",
            "labels.a,",
            ",labels.a",
            "labels.a=b,,labels.c",
            "labels.a=b labels.c",
            "labels.a in ()x",
            "labels.a in (b",
            "labels.a in b",
            "labels.a > 1",
            "labels.a=b=c",
            "labels.a=\"b\"",
            "labels.",
            "=a",
            "!",
            "!!labels.a",
            "labels.a\n",
            "labels.a=é",
            "labels.a=-b",
            "(labels.a)",
            "labels.a!b",
        ] {
            assert!(matches!(Selector::parse(text), Err(SelectorError::Syntax(_))), "{text}");
        }
        for text in ["role=web", "!role", "cloud.region!=x", "host-x"] {
            assert!(matches!(Selector::parse(text), Err(SelectorError::UnknownSpace(_))), "{text}");
        }
        assert_eq!(Selector::parse(&"a".repeat(5000)), Err(SelectorError::TooLong));
    }
}
