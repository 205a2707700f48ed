//! One argument of an exact list.

use crate::refusal::Refusal;
use crate::text::shown;

/// An argument that every sudo reads as this one argument and nothing else, escaped.
///
/// What sudo (not sudo-rs) compares is the arguments joined by blanks, so that `a b` also admits one argument `"a b"`:
/// no rule can express the difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument(String);

impl Argument {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = |code: &str, why: &str| {
            Err(Refusal::backend(
                format!("command-argument-{code}"),
                format!("its argument `{}` {why}", shown(text)),
                "grant a script that takes no such argument instead",
            ))
        };
        if text.is_empty() {
            return refuse("empty", "is empty, which sudoers cannot express");
        }
        if text.starts_with('^') {
            return refuse(
                "pattern",
                "begins with `^`, which newer versions of sudo read as a regular expression",
            );
        }
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                ',' | ':' | '=' | '#' => escaped.extend(['\\', c]),
                '*' | '?' | '[' | ']' => {
                    return refuse("pattern", "has one of `*?[]`, which sudo and sudo-rs do not read alike");
                }
                '\\' => {
                    return refuse("backslash", "has a backslash, which sudo and sudo-rs do not read alike");
                }
                '"' => {
                    return refuse("quote", "has a double quote, which sudo and sudo-rs do not read alike");
                }
                c if c.is_control() => return refuse("control", "has a control character"),
                c if c.is_whitespace() => {
                    return refuse("blank", "has a blank inside, and sudo would admit two arguments for it");
                }
                c => escaped.push(c),
            }
        }
        Ok(Argument(escaped))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}
