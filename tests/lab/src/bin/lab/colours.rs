//! Colours, for people only: not in files, and not for those who asked for none (<https://no-color.org>).

use std::env;
use std::fmt;
use std::io::{self, IsTerminal};

/// How some text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// A heading.
    Bold,
    /// A prompt.
    Cyan,
}

/// Whether standard output takes colours.
pub fn wanted() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    !refused && !dumb && io::stdout().is_terminal()
}

/// `text`, standing out where that is `wanted`.
pub fn paint(wanted: bool, colour: Colour, text: impl fmt::Display) -> String {
    let code = match colour {
        Colour::Bold => 1,
        Colour::Cyan => 36,
    };
    if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_out_only_where_that_is_wanted() {
        assert_eq!(paint(true, Colour::Bold, "In short"), "\x1b[1mIn short\x1b[0m");
        assert_eq!(paint(true, Colour::Cyan, "laptop$"), "\x1b[36mlaptop$\x1b[0m");
        assert_eq!(paint(false, Colour::Bold, "In short"), "In short");
    }
}
