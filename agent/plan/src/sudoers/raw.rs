//! `raw` commands, where the operator accepts them.
//!
//! Verbatim, but one command and nothing more: no second command, rule, tag, run-as, alias, comment or line, and
//! nothing that could make the file unreadable. What it matches is the backend's and the operator's business.

use super::{Dialects, MAX_TOKEN, too_long};
use crate::refusal::Refusal;
use crate::text::shown;

pub(super) fn parse(raw: &str, dialects: Dialects<'_>) -> Result<String, Refusal> {
    if raw == "ALL" {
        return Ok(raw.to_owned());
    }
    if raw.len() > MAX_TOKEN {
        return Err(too_long());
    }
    let refuse = |why: &str| {
        Err(Refusal::backend(
            "command-raw-invalid",
            format!("its text `{}` {why}", shown(raw)),
            "write one command, its path absolute, with `,` `:` `=` `#` escaped",
        ))
    };
    if raw.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' ')) {
        return refuse("has a control character, a newline or another blank than a space");
    }
    let mut words = raw.split(' ');
    let path = words.next().unwrap_or_default();
    if !path.starts_with('/') || path.len() == 1 || path.ends_with("/sudoedit") {
        return refuse("does not begin with the absolute path of a program or directory, and is not `ALL`");
    }
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/._+@%~-,:=#*?[]!^\\".contains(c);
    if !path.chars().all(is_path) {
        return refuse("has a character in its path that sudo and sudo-rs do not both accept there");
    }
    if path.split('/').any(|component| component == "..") {
        return refuse("has `..` in its path");
    }
    if let Err(why) = check_word(path, false) {
        return refuse(why);
    }
    let words: Vec<&str> = words.collect();
    if path.ends_with('/') && !words.is_empty() {
        return refuse("has arguments after a directory");
    }
    if words == ["\"\""] {
        return Ok(raw.to_owned());
    }
    for word in words {
        if word.is_empty() {
            return refuse("has two spaces in a row, or one at its end");
        }
        if let Err(why) = check_word(word, !dialects.has_sudo_rs()) {
            return refuse(why);
        }
    }
    Ok(raw.to_owned())
}

/// `escapes_patterns`: `\*` and the like are read here, as themselves.
fn check_word(word: &str, escapes_patterns: bool) -> Result<(), &'static str> {
    if word.starts_with('^') {
        return Err(
            "has a word that begins with `^`: regular expressions are an error to older versions of sudo",
        );
    }
    let mut chars = word.chars();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(',' | ':' | '=' | '#') => {}
                Some('*' | '?' | '[' | ']') if escapes_patterns => {}
                _ => return Err("has a backslash before something that not every sudo here reads so"),
            },
            ',' | ':' | '=' | '#' => return Err("has one of `,:=#` without a backslash before it"),
            '"' => return Err("has a double quote"),
            '[' if in_brackets => return Err("has `[` inside brackets"),
            '[' => in_brackets = true,
            ']' if !in_brackets => return Err("has `]` without `[`"),
            ']' => in_brackets = false,
            _ => {}
        }
    }
    if in_brackets { Err("has `[` without `]`") } else { Ok(()) }
}
