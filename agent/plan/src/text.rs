//! Text of others in messages of ours.

/// `text` as a message may show it: printable ASCII, whatever else escaped, at most 64 characters.
///
/// Backticks are escaped too, because messages put names between them.
pub(crate) fn shown(text: &str) -> String {
    const MAX: usize = 64;
    let mut shown = String::new();
    for c in text.chars() {
        let start = shown.len();
        match c {
            '`' => shown.push_str("\\u{60}"),
            ' '..='~' if c != '\\' => shown.push(c),
            _ => shown.extend(c.escape_default()),
        }
        if shown.len() > MAX {
            shown.truncate(start);
            shown.push_str("...");
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(shown("alice"), "alice");
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown("`\\é"), "\\u{60}\\\\\\u{e9}");
        assert!(shown(&"x".repeat(1000)).len() <= 67);
        assert!(shown(&"\u{10ffff}".repeat(1000)).len() <= 67);
    }
}
