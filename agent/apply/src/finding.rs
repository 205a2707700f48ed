//! Makes findings: what is wrong, whose it is to mend, and how.

pub use hostward_protocol::causes::chain;
use hostward_protocol::report::{Finding, Responsible};

/// A finding. `message` is built from an error and all its causes.
pub fn finding(
    responsible: Responsible,
    code: &str,
    subject: impl Into<String>,
    message: impl Into<String>,
    mend: impl Into<String>,
) -> Finding {
    Finding {
        code: code.into(),
        subject: subject.into(),
        message: message.into(),
        responsible,
        mend: mend.into(),
    }
}

/// A condition of the host (a full disk, a read-only file system) after which the next pass converges.
pub fn host(code: &str, subject: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Finding {
    finding(
        Responsible::Host,
        code,
        subject,
        chain(error),
        "the next pass tries again; if it stays, look at free space, mount options and the journal of hostward-apply",
    )
}
