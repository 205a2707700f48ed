//! Paths of commands.

use super::{MAX_TOKEN, too_long};
use crate::refusal::Refusal;
use crate::text::shown;

/// An absolute, normalised path that every sudo reads literally, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandPath(String);

impl CommandPath {
    /// The path of a program.
    pub(super) fn executable(path: &str) -> Result<Self, Refusal> {
        if path.len() > MAX_TOKEN {
            return Err(too_long());
        }
        if path.ends_with('/') {
            return Err(refuse(path, "names a directory; a directory is granted as `directory`"));
        }
        // Whatever the path says, sudo takes the name for its own editor mode.
        if path.ends_with("/sudoedit") {
            return Err(refuse(path, "is sudoedit, which sudo does not run as a command"));
        }
        Ok(CommandPath(escaped(path, path)?))
    }

    /// A directory of programs.
    pub(super) fn directory(path: &str) -> Result<Self, Refusal> {
        if path.len() > MAX_TOKEN {
            return Err(too_long());
        }
        let Some(stem) = path.strip_suffix('/') else {
            return Err(refuse(path, "is a directory without a `/` at its end"));
        };
        Ok(CommandPath(escaped(stem, path)? + "/"))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// `path` without a slash at its end, escaped; `whole` for messages.
fn escaped(path: &str, whole: &str) -> Result<String, Refusal> {
    let Some(below) = path.strip_prefix('/') else {
        return Err(refuse(whole, "is not absolute, or is `/`"));
    };
    if below.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Err(refuse(whole, "has `.`, `..` or an empty component"));
    }
    let mut text = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '.' | '_' | '-' | '+' | '@' | '%' | '~' => text.push(c),
            ',' | ':' | '=' => text.extend(['\\', c]),
            _ => {
                return Err(refuse(
                    whole,
                    "has a character that sudo and sudo-rs do not both take for itself in a path",
                ));
            }
        }
    }
    if text.len() > MAX_TOKEN {
        return Err(too_long());
    }
    Ok(text)
}

fn refuse(path: &str, why: &str) -> Refusal {
    Refusal::backend(
        "command-path-invalid",
        format!("its path `{}` {why}", shown(path)),
        "give the absolute path of the program, of ASCII letters, digits and `/._+@%~-,:=`, on the backend",
    )
}
