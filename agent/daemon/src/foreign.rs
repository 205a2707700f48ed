//! Somebody else's text in messages of ours.

/// One line without control characters, of at most so many characters.
pub fn plain(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}
