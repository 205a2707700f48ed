//! Prints the certificate principals of one managed user, one per line, for sshd's `AuthorizedPrincipalsCommand`.
//!
//! Prints all of them or nothing at all: nothing for a user who is not managed or no longer valid (exit 0), and
//! nothing when in doubt about the account database (exit 1, with the reason on standard error). Runs during
//! every login, so it does nothing else. It only ever reads one file that everybody may read: who runs it does
//! not matter, and sshd runs it as a user that owns nothing.

mod answer;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use hostward_accounts::map::{MapError, Mapping};
use hostward_accounts::{HeaderError, PATH};

use answer::Damaged;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum PrincipalsError {
    #[error("usage: hostward-principals USER")]
    Usage,
    #[error("cannot open `{path}`: {0}; `hostward status` says whether this host is enrolled", path = PATH.to_string_lossy())]
    Open(io::Error),
    #[error("cannot use `{path}`: {0}; `hostward doctor` says what to do", path = PATH.to_string_lossy())]
    Map(MapError),
    #[error("cannot use `{path}`: {0}; `hostward apply` writes it anew", path = PATH.to_string_lossy())]
    Header(HeaderError),
    #[error("cannot use `{path}`: {0}; `hostward apply` writes it anew", path = PATH.to_string_lossy())]
    Damaged(Damaged),
    #[error("the clock says a time before 1970: nobody's validity can be judged")]
    Clock,
    #[error("cannot write the principals: {0}")]
    Write(io::Error),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let done = match (arguments.next(), arguments.next()) {
        (Some(user), None) => print(&user),
        _ => Err(PrincipalsError::Usage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // sshd shows it in its log. If even that cannot be written, the exit code has to do.
            let _ = writeln!(io::stderr(), "hostward-principals: {error}");
            ExitCode::from(if matches!(error, PrincipalsError::Usage) { 2 } else { 1 })
        }
    }
}

fn print(user: &OsString) -> Result<(), PrincipalsError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| PrincipalsError::Clock)?;
    let mapping = map_in_force()?;
    let database = mapping.database().map_err(PrincipalsError::Header)?;
    let lines = answer::lines(&database, user.as_bytes(), now.as_secs()).map_err(PrincipalsError::Damaged)?;
    io::stdout().write_all(&lines).map_err(PrincipalsError::Write)
}

/// The database in force, even if it is replaced at this very moment.
fn map_in_force() -> Result<Mapping, PrincipalsError> {
    let mut mapping = Mapping::open(PATH)?;
    for _ in 0..3 {
        if !mapping.superseded() {
            break;
        }
        mapping = Mapping::open(PATH)?;
    }
    Ok(mapping)
}

impl From<MapError> for PrincipalsError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Os(errno) => Self::Open(io::Error::from_raw_os_error(errno)),
            other => Self::Map(other),
        }
    }
}
