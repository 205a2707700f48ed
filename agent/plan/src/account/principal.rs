//! Certificate principals.
//!
//! sshd reads what the principals command prints as lines of sshd(8)'s `AuthorizedPrincipalsFile`: a blank would begin
//! options, a `#` a comment, a comma the next word.

use crate::refusal::Refusal;
use crate::text::shown;

/// One word that sshd takes for one principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Principal<'a>(&'a str);

/// The longest principal, in bytes.
const MAX_LEN: usize = 64;

impl<'a> Principal<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b"._@:/+-~%".contains(&b);
        let begins_well = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if (1..=MAX_LEN).contains(&text.len())
            && text.bytes().all(is_word)
            && text.bytes().next().is_some_and(begins_well)
        {
            return Ok(Principal(text));
        }
        Err(Refusal::backend(
            "principal-invalid",
            format!(
                "its principal `{}` is not a word of at most 64 ASCII letters, digits and `._@:/+-~%`, beginning with a letter or digit",
                shown(text)
            ),
            "issue certificates with another principal, and list that one",
        ))
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals() {
        for good in ["alice", "alice@example.com", "u-1", "a/b:c", "_svc"] {
            assert_eq!(Principal::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            " a",
            "a b",
            "a,b",
            "#a",
            "a\n",
            "\"a\"",
            "é",
            "-a",
            "command=x",
            "a\tb",
            "*",
            "!a",
            "cert-authority,x",
            &"a".repeat(65),
        ] {
            assert_eq!(Principal::parse(bad).unwrap_err().code, "principal-invalid", "{bad:?}");
        }
    }
}
