//! Words of others in our messages.

/// The longest that is quoted.
const MAX: usize = 300;

/// What somebody else said, on one line, without anything that a terminal obeys, and not at length.
pub fn quoted(text: &str) -> String {
    let clean = |c: char| if c.is_control() || is_reordering(c) { ' ' } else { c };
    let words: String = text.trim().chars().map(clean).take(MAX).collect();
    match text.trim().chars().nth(MAX) {
        Some(_) => format!("{words} …"),
        None => words,
    }
}

/// Characters that change in which order others are shown.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_obeys() {
        assert_eq!(quoted(" a\u{1b}[2Jb\nc\u{202e}d "), "a [2Jb c d");
        assert_eq!(quoted(&"ä".repeat(MAX)), "ä".repeat(MAX));
        assert_eq!(quoted(&"x".repeat(MAX + 1)), format!("{} …", "x".repeat(MAX)));
    }
}
