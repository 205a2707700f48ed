//! What a caller gave that cannot be used.

/// Why it cannot; the exit status is [`crate::exit::USAGE`].
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Nothing was given.
    #[error("the token is empty; copy the whole line that the backend printed")]
    EmptyToken,
    /// Something else was given, or half of it.
    #[error("this is no enrollment token, or a part of one; copy the whole line that the backend printed")]
    NoToken,
    /// It cannot be read.
    #[error("cannot read the token in `{file}`")]
    Unreadable {
        /// Where it was to be.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Nobody is there to be asked.
    #[error("this removes all managed accounts from this host; say --yes where nobody can be asked")]
    Unconfirmed,
    /// It is no moment.
    #[error(
        "--since `{given}` is no time: give one such as 2026-01-31T08:00:00Z, or how long ago, such as 30m, 2h or 7d"
    )]
    NoTime {
        /// What was given.
        given: String,
    },
    /// No event has such a type.
    #[error("--type `{given}` is no type of event: they begin with {known}")]
    NoEventType {
        /// What was given.
        given: String,
        /// What there is.
        known: String,
    },
}
