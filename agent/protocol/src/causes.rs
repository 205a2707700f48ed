//! What lies behind an error, as findings and journals tell it.

use std::error::Error;

/// An error and all its causes in one line, with `: ` between them.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The first error of type `T` in a chain, also inside an [`std::io::Error`], which hides what it wraps.
pub fn first<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| first(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What lies at the bottom of an error: the layers above may say only that something below failed.
pub fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it failed")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("at the bottom")]
    struct Bottom;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = Outer(io::Error::from_raw_os_error(2));
        assert_eq!(chain(&error), "it failed: No such file or directory (os error 2)");
        assert_eq!(innermost(&error), "No such file or directory (os error 2)");
        assert_eq!(innermost(&Bottom), "at the bottom");
    }

    #[test]
    fn what_an_io_error_wraps_is_found() {
        let error = Outer(io::Error::other(Outer(io::Error::other(Bottom))));
        assert!(first::<Bottom>(&error).is_some());
        assert!(first::<io::Error>(&error).is_some());
        assert!(first::<Bottom>(&Outer(io::Error::other("text"))).is_none());
    }
}
