//! What su says of those whom it refuses.

/// `FAILED SU (to dave) carol on pts/0`: whom they wanted to be, who they are, the terminal.
pub fn refused(message: &str) -> Option<(String, String, Option<String>)> {
    let rest = message.strip_prefix("FAILED SU (to ")?;
    let (who, tty) = rest.rsplit_once(" on ")?;
    let (to, by) = who.rsplit_once(") ")?;
    Some((to.to_owned(), by.to_owned(), (tty != "none").then(|| tty.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_and_nothing_else() {
        let read = refused("FAILED SU (to dave) carol on none");
        assert_eq!(read, Some(("dave".into(), "carol".into(), None)));
        let read = refused("FAILED SU (to a) x on pts/1) carol on pts/0");
        assert_eq!(read, Some(("a) x on pts/1".into(), "carol".into(), Some("pts/0".into()))));
        assert_eq!(refused("(to alice) root on none"), None);
        assert_eq!(refused("FAILED SU (to "), None);
    }
}
