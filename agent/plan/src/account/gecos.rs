//! The comment field of passwd(5).

use crate::refusal::Refusal;

/// A comment without anything that could end its field, its line, or mislead whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gecos<'a>(&'a str);

/// The longest comment, in bytes. Callers of getpwnam(3) with the usual 1024 bytes should not need a second call.
const MAX_LEN: usize = 256;

impl<'a> Gecos<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() <= MAX_LEN && !text.chars().any(is_harmful) {
            return Ok(Gecos(text));
        }
        Err(Refusal::backend(
            "user-gecos-invalid",
            "its gecos has a colon, a newline or another control character, or more than 256 bytes",
            "write the full name without them on the backend",
        ))
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }
}

/// Field separators, control characters, and what makes a terminal show other text than there is.
pub(crate) fn is_harmful(c: char) -> bool {
    c == ':'
        || c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments() {
        for good in ["", "Alice Ünïcode,Room 1,,", "O'Neil & Co"] {
            assert_eq!(Gecos::parse(good).unwrap().as_str(), good);
        }
        for bad in ["a:b", "a\nb", "\u{1b}[2J", "a\0", "\u{202e}evil", "\u{85}"] {
            assert!(Gecos::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Gecos::parse(&"x".repeat(257)).is_err());
    }
}
